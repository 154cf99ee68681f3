//! How the program of `bench/` that measures parts is built and run.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::{Outcome, cargo};

/// Builds it as a release with all optimisations and lets it print.
pub(super) fn run(sh: &Shell, json: bool) -> Result<Outcome> {
    let arguments = json.then_some("--json");
    let run = cmd!(
        sh,
        "cargo run --quiet --locked --release --manifest-path bench/Cargo.toml --bin micro -- {arguments...}"
    );
    cargo::clean(run).quiet().run()?;
    Ok(Outcome::Done)
}
