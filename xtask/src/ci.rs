//! What a change must pass, and in which order: the cheapest failure comes first, the tests come last.

mod tests_run;

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

use crate::Outcome;
use crate::cargo;
use crate::layers::table::{FEATURE_SETS, FeatureSet};
use crate::report::{self, Steps, quietly};
use crate::tools::CARGO_DENY;
use crate::{fuzz, interop, layers, tidy};
use tests_run::Tests;

/// How much of the list is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) fast: bool,
    pub(crate) keep_going: bool,
    pub(crate) interop: bool,
}

/// Runs the steps; the last line of a run that reached its tests is how many passed and failed.
pub(crate) fn run(sh: &Shell, wanted: Wanted) -> Result<Outcome> {
    let mut steps = Steps::new(wanted.keep_going);
    let mut tests = Tests::default();
    let ended = all(sh, wanted, &mut steps, &mut tests).and_then(|()| steps.verdict());
    steps.summary();
    if let Some(line) = tests.closing_line() {
        println!("{line}");
    }
    ended.map(|()| Outcome::Done)
}

fn all(sh: &Shell, wanted: Wanted, steps: &mut Steps, tests: &mut Tests) -> Result<()> {
    steps.run("fmt", || fmt(sh))?;
    steps.run("locks", || locks(sh))?;
    steps.run("layers", || layers::run(sh))?;
    steps.run("tidy", || tidy::run(sh))?;
    if !wanted.fast {
        steps.run("deny", || deny(sh))?;
        steps.run("advisories", || advisories(sh))?;
    }
    steps.run("clippy (no unwrap)", || clippy_strict(sh))?;
    steps.run("clippy (all targets)", || clippy(sh))?;
    if wanted.fast {
        return steps.run("unit tests", || tests.run(&["--lib", "--bins"]));
    }
    for set in feature_sets(sh)? {
        steps.run(&format!("clippy {}", describe(set)), || clippy_alone(sh, set))?;
    }
    steps.run("docs", || docs(sh))?;
    for manifest in other_workspaces(sh) {
        steps.run(&format!("clippy {manifest}"), || clippy_workspace(sh, manifest))?;
    }
    steps.run("replay", || fuzz::replay(sh))?;
    steps.run("tests and doc tests", || tests.run(&[]))?;
    if wanted.interop {
        steps.run("interop", || interop::run(sh, Some("all"), None))?;
    }
    Ok(())
}

fn fmt(sh: &Shell) -> Result<Outcome> {
    for manifest in cargo::workspaces(sh) {
        quietly(cmd!(sh, "cargo fmt --all --check --manifest-path {manifest}"))?;
    }
    Ok(Outcome::Done)
}

/// Every later step uses `--locked`, and says less clearly what to do.
fn locks(sh: &Shell) -> Result<Outcome> {
    for manifest in cargo::workspaces(sh) {
        quietly(cmd!(sh, "cargo metadata --locked --format-version 1 --manifest-path {manifest}")).with_context(|| {
            format!("the lock file does not fit: `cargo update --workspace --manifest-path {manifest}`, and commit it")
        })?;
    }
    Ok(Outcome::Done)
}

/// Licences, banned crates and sources: all that needs no network beyond the registry.
fn deny(sh: &Shell) -> Result<Outcome> {
    let deny = CARGO_DENY.ensure(sh)?;
    for manifest in cargo::workspaces(sh) {
        // Each workspace is judged by the one file; what only the fuzzers link is an exception there by name.
        quietly(cmd!(
            sh,
            "{deny} --config deny.toml --manifest-path {manifest} --workspace --locked --all-features check --hide-inclusion-graph bans licenses sources"
        ))?;
    }
    Ok(Outcome::Done)
}

const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

/// Known vulnerabilities, told and not judged: the database changes without any change of ours.
fn advisories(sh: &Shell) -> Result<Outcome> {
    let reach =
        cmd!(sh, "timeout 20 git ls-remote --quiet {ADVISORIES} HEAD").env("GIT_TERMINAL_PROMPT", "0");
    if !reach.quiet().ignore_status().output().is_ok_and(|output| output.status.success()) {
        return Ok(report::skipped("advisories", "the database is not reached from here"));
    }
    let deny = CARGO_DENY.ensure(sh)?;
    if let Err(error) = quietly(cmd!(sh, "{deny} --locked check advisories")) {
        println!("advisories: {error:#}; decide soon, this step does not fail");
    }
    Ok(Outcome::Done)
}

/// What is not a test may not unwrap. No lint table can say that, so it is said here.
fn clippy_strict(sh: &Shell) -> Result<Outcome> {
    quietly(cmd!(
        sh,
        "cargo clippy --workspace --lib --bins --locked -- -D warnings -D clippy::unwrap_used"
    ))?;
    Ok(Outcome::Done)
}

fn clippy(sh: &Shell) -> Result<Outcome> {
    quietly(cmd!(sh, "cargo clippy --workspace --all-targets --locked -- -D warnings"))?;
    Ok(Outcome::Done)
}

fn clippy_alone(sh: &Shell, set: &FeatureSet) -> Result<Outcome> {
    let package = format!("tidewire-{}", set.name);
    let flags = match set.features {
        None => vec!["--all-features".to_owned()],
        Some(features) => {
            vec!["--no-default-features".to_owned(), format!("--features={}", features.join(","))]
        }
    };
    quietly(cmd!(sh, "cargo clippy --package {package} --locked {flags...} -- -D warnings"))?;
    Ok(Outcome::Done)
}

fn clippy_workspace(sh: &Shell, manifest: &str) -> Result<Outcome> {
    quietly(cmd!(
        sh,
        "cargo clippy --manifest-path {manifest} --workspace --all-targets --locked -- -D warnings"
    ))?;
    Ok(Outcome::Done)
}

fn docs(sh: &Shell) -> Result<Outcome> {
    quietly(cmd!(sh, "cargo doc --workspace --no-deps --locked").env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Outcome::Done)
}

/// The rows of the table that say something: the crate exists and has features to turn off or on.
fn feature_sets(sh: &Shell) -> Result<Vec<&'static FeatureSet>> {
    let packages = cargo::metadata(sh, "Cargo.toml")?.packages;
    let has_features = |set: &&FeatureSet| {
        packages.iter().any(|p| p.name.strip_prefix("tidewire-") == Some(set.name) && !p.features.is_empty())
    };
    Ok(FEATURE_SETS.iter().filter(has_features).collect())
}

fn describe(set: &FeatureSet) -> String {
    match set.features {
        None => format!("{} (all features)", set.name),
        Some([]) => format!("{} (no features)", set.name),
        Some(features) => format!("{} ({} alone)", set.name, features.join(", ")),
    }
}

/// The main workspace has been seen whole before.
fn other_workspaces(sh: &Shell) -> Vec<&'static str> {
    cargo::workspaces(sh).into_iter().filter(|manifest| *manifest != "Cargo.toml").collect()
}
