//! Which comparisons there are, and how each is started.

mod iperf;
mod micro;
mod process;
mod relay;
mod report;
mod wg;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use xshell::{Shell, cmd};

use crate::{
    Outcome, cargo,
    interop::kit::lab,
    tools::{self, Program},
};

/// A comparison with others, in one run on this machine.
#[derive(Debug, Subcommand)]
pub(crate) enum Comparison {
    /// Sealing, opening, handshakes, identifying and routing, in one thread
    Micro {
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// WireGuard devices between two network namespaces (needs root)
    Wg(wg::Options),
    /// Relays under load, and nodes that talk through ours (needs root and Go)
    Relay(relay::Options),
}

/// What every comparison of programs is told.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// How often everything is measured, the programs in turn
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// This `tidewire` instead of one built here
    #[arg(long, value_name = "FILE")]
    tidewire: Option<PathBuf>,
}

/// Runs one comparison; what cannot run here says so in one line.
pub(crate) fn run(sh: &Shell, comparison: &Comparison) -> Result<Outcome> {
    match comparison {
        Comparison::Micro { json } => micro::run(sh, *json),
        Comparison::Wg(options) => wg::run(sh, options),
        Comparison::Relay(options) => relay::run(sh, options),
    }
}

/// The first thing that a comparison in namespaces needs and that cannot be had here.
fn missing(sh: &Shell, programs: &[Program]) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("needs Linux".into());
    }
    if !tools::is_root(sh) {
        return Some("needs root, for network namespaces".into());
    }
    let lacking = programs.iter().find_map(|program| program.ensure(sh).err());
    lacking.or_else(|| lab::remove_orphans().err()).map(|error| format!("{error:#}"))
}

/// Our program, as it is released, unless there is one already.
fn build(sh: &Shell, ready: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = ready {
        return Ok(path.canonicalize()?);
    }
    let build = cmd!(sh, "cargo build --quiet --locked --release --package tidewire-cli --bin tidewire");
    cargo::clean(build).quiet().run()?;
    Ok(cargo::metadata(sh, "Cargo.toml")?.target_directory.join("release").join("tidewire"))
}
