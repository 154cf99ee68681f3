//! Which scenarios between real programs there are, and what one needs before it can run.

pub(crate) mod derper;
mod half_open;
pub(crate) mod kit;
mod proxies;
mod relay_flood;
mod two_nodes;
mod up_tun;
mod wireguard;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

use crate::Outcome;
use crate::cargo;
use crate::report::{now, skipped};
use crate::tools::{self, Program};
use kit::lab::Lab;

/// Where the program under test comes from.
const PACKAGE: &str = "tidewire-cli";

/// All scenarios, in the order of `interop all`. One file each.
const SCENARIOS: &[Scenario] = &[
    two_nodes::SCENARIO,
    up_tun::SCENARIO,
    wireguard::SCENARIO,
    derper::SCENARIO,
    proxies::SCENARIO,
    half_open::SCENARIO,
    relay_flood::SCENARIO,
];

/// Something that real programs do together, and that can be seen from outside of them.
struct Scenario {
    name: &'static str,
    /// What it shows, in one line.
    about: &'static str,
    /// What it needs beside a Linux with network namespaces and root.
    programs: &'static [Program],
    run: fn(&Stage<'_>) -> Result<()>,
}

/// What a scenario plays on. All that it makes is gone when this is.
pub(crate) struct Stage<'a> {
    pub(crate) lab: &'a Lab,
    /// The program under test.
    pub(crate) tidewire: &'a Path,
}

/// Runs one scenario or all; lists them without a name. What cannot run here says so in one line.
pub(crate) fn run(sh: &Shell, wanted: Option<&str>, tidewire: Option<PathBuf>) -> Result<Outcome> {
    let Some(wanted) = wanted else {
        SCENARIOS.iter().for_each(|scenario| println!("{:<16}{}", scenario.name, scenario.about));
        return Ok(Outcome::Done);
    };
    let scenarios: Vec<&Scenario> =
        SCENARIOS.iter().filter(|s| wanted == "all" || s.name == wanted).collect();
    if scenarios.is_empty() {
        bail!("no scenario `{wanted}`; `cargo xtask interop` lists them");
    }
    let has_program =
        tidewire.is_some() || cargo::metadata(sh, "Cargo.toml")?.packages.iter().any(|p| p.name == PACKAGE);
    let mut runnable = Vec::new();
    for scenario in scenarios {
        let no_program = (!has_program).then(|| format!("the workspace has no package {PACKAGE}"));
        match no_program.or_else(|| missing(sh, scenario)) {
            None => runnable.push(scenario),
            Some(reason) => _ = skipped(scenario.name, reason),
        }
    }
    if runnable.is_empty() {
        return Ok(Outcome::Skipped);
    }
    let tidewire = match tidewire {
        Some(path) => path.canonicalize().with_context(|| path.display().to_string())?,
        None => build(sh)?,
    };
    let failed: Vec<&str> = runnable.iter().filter(|s| !play(s, &tidewire)).map(|s| s.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(Outcome::Done)
}

/// The first thing that a scenario needs and that cannot be had here.
fn missing(sh: &Shell, scenario: &Scenario) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("needs Linux".into());
    }
    if !tools::is_root(sh) {
        return Some("needs root, for network namespaces".into());
    }
    let programs = [kit::IP, kit::NFT];
    let lacking = programs.iter().chain(scenario.programs).find_map(|program| program.ensure(sh).err());
    lacking
        .map(|error| format!("{error:#}"))
        .or_else(|| Lab::possible().err().map(|error| format!("{error:#}")))
}

/// Runs one scenario and tells how it ended.
fn play(scenario: &Scenario, tidewire: &Path) -> bool {
    println!("interop {}: {}", scenario.name, scenario.about);
    let start = now();
    let result = Lab::new(scenario.name).and_then(|lab| {
        let result = (scenario.run)(&Stage { lab: &lab, tidewire });
        match &result {
            Ok(()) => lab.forget_logs(),
            Err(_) => lab.tell_logs(),
        }
        result
    });
    let took = start.elapsed().as_secs_f64();
    match &result {
        Ok(()) => println!("interop {}: ok, {took:.1} s", scenario.name),
        Err(error) => println!("interop {}: FAILED, {took:.1} s: {error:#}", scenario.name),
    }
    result.is_ok()
}

/// Builds the program at nearly release speed; rates are judged elsewhere.
fn build(sh: &Shell) -> Result<PathBuf> {
    cmd!(sh, "cargo build --quiet --locked --profile quick --package {PACKAGE} --bin tidewire")
        .quiet()
        .run()?;
    Ok(cargo::metadata(sh, "Cargo.toml")?.target_directory.join("quick").join("tidewire"))
}
