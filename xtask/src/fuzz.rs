//! How the targets of `fuzz/` are run: by libFuzzer on nightly, or with the committed corpora on stable.

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::Outcome;
use crate::cargo;
use crate::report::{now, quietly, skipped};
use crate::tools::{self, CARGO_FUZZ};

const MANIFEST: &str = "fuzz/Cargo.toml";
/// The feature that brings libFuzzer in; what needs it is a target.
const LIBFUZZER: &str = "libfuzzer";

/// Fuzzes one target, or all in turn.
pub(crate) fn run(sh: &Shell, wanted: &str, secs: u32) -> Result<Outcome> {
    let known = targets(sh)?;
    let targets: Vec<&String> = known.iter().filter(|name| wanted == "all" || *name == wanted).collect();
    if targets.is_empty() {
        bail!("no target `{wanted}`; there are: {}", known.join(", "));
    }
    let Some(nightly) = tools::nightly(sh) else {
        return Ok(skipped("fuzz", "libFuzzer needs a nightly toolchain and none is installed"));
    };
    CARGO_FUZZ.ensure(sh)?;
    // cargo-fuzz has no `--locked`: ask beforehand whether the lock file would change.
    quietly(cmd!(sh, "cargo metadata --locked --format-version 1 --manifest-path {MANIFEST}"))?;
    for target in targets {
        fuzz_one(sh, &nightly, target, secs)?;
    }
    Ok(Outcome::Done)
}

fn fuzz_one(sh: &Shell, nightly: &str, target: &str, secs: u32) -> Result<()> {
    // libFuzzer writes what it finds interesting into its first folder only: the committed corpus stays as it is.
    let scratch = cargo::metadata(sh, MANIFEST)?.target_directory.join("corpus").join(target);
    sh.create_dir(&scratch)?;
    let committed = cargo::root().join("fuzz/corpus").join(target);
    let start = now();
    cargo::clean(cmd!(sh, "cargo +{nightly} fuzz run --features {LIBFUZZER} {target} {scratch} {committed}"))
        .args([
            "--",
            &format!("-max_total_time={secs}"),
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ])
        .run()?;
    println!("fuzz {target}: nothing found in {} s", start.elapsed().as_secs());
    Ok(())
}

/// The names of all targets, from the manifest: the programs that need libFuzzer.
fn targets(sh: &Shell) -> Result<Vec<String>> {
    let packages = cargo::metadata(sh, MANIFEST)?.packages;
    let targets = packages.into_iter().flat_map(|package| package.targets);
    Ok(targets
        .filter(|t| {
            t.kind.iter().any(|kind| kind == "bin") && t.required_features.iter().any(|f| f == LIBFUZZER)
        })
        .map(|t| t.name)
        .collect())
}

/// Runs the committed corpora, on stable and with nothing but a C compiler.
pub(crate) fn replay(sh: &Shell) -> Result<Outcome> {
    cargo::clean(cmd!(sh, "cargo run --quiet --locked --manifest-path {MANIFEST} --bin replay"))
        .quiet()
        .run()?;
    Ok(Outcome::Done)
}

/// Writes the seeds of all corpora.
pub(crate) fn seed(sh: &Shell) -> Result<Outcome> {
    cargo::clean(cmd!(sh, "cargo run --quiet --locked --manifest-path {MANIFEST} --bin seed"))
        .quiet()
        .run()?;
    Ok(Outcome::Done)
}
