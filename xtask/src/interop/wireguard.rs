//! Tidewire's WireGuard device and the three others of the field, as their users run them: everything that can pass, in both roles,
//! through two minutes, moves, restarts and a flood.

mod capture;
mod changes;
mod device;
mod pair;
mod talk;
mod under_flood;

use std::env;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::kit::lab::Lab;
use super::{Scenario, Stage};
use crate::tools::{self, BORINGTUN, ETHTOOL, GOTATUN, TSHARK, WG, WIREGUARD_GO};
use changes::Changes;
use device::Kind;
use pair::Pair;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "wireguard",
    about: "`tidewire wg` with wireguard-go, boringtun and gotatun: both roles, rekeying, roaming, restarts, a flood",
    programs: &[WG, TSHARK, ETHTOOL, WIREGUARD_GO, BORINGTUN, GOTATUN],
    run,
};

const OTHERS: [Kind; 3] = [Kind::WireguardGo, Kind::Boringtun, Kind::Gotatun];

/// Where the programs are.
struct Programs {
    /// This one, with its servers and clients.
    this: PathBuf,
    tidewire: PathBuf,
    others: [PathBuf; 3],
}

impl Programs {
    fn path(&self, kind: Kind) -> &Path {
        let [wireguard_go, boringtun, gotatun] = &self.others;
        match kind {
            Kind::Tidewire => &self.tidewire,
            Kind::WireguardGo => wireguard_go,
            Kind::Boringtun => boringtun,
            Kind::Gotatun => gotatun,
        }
    }
}

/// What every part plays on.
#[derive(Clone, Copy)]
struct Stand<'a> {
    lab: &'a Lab,
    programs: &'a Programs,
}

/// One thing that goes on beside others.
enum Part {
    Pair(Pair),
    Changes(Changes),
}

impl Part {
    fn play(&self, stand: &Stand<'_>) -> Result<()> {
        let (name, result) = match self {
            Self::Pair(pair) => (pair.name(), pair.play(stand)),
            Self::Changes(changes) => (changes.name(), changes.play(stand)),
        };
        match &result {
            Ok(()) => println!("  {name}: ok"),
            Err(error) => println!("  {name}: {error:#}"),
        }
        result.context(name)
    }
}

fn run(stage: &Stage<'_>) -> Result<()> {
    device::remove_orphans()?;
    let find = |program: &tools::Program| tools::find(program.name).context(program.name);
    let programs = Programs {
        this: env::current_exe()?,
        tidewire: stage.tidewire.to_owned(),
        others: [find(&WIREGUARD_GO)?, find(&BORINGTUN)?, find(&GOTATUN)?],
    };
    let stand = Stand { lab: stage.lab, programs: &programs };
    // Beside each other: each waits for minutes and computes for seconds.
    side_by_side(&stand, &parts())?;
    under_flood::play(&stand).context("under a flood")
}

fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    for other in OTHERS {
        parts.extend([true, false].map(|we_begin| Part::Pair(Pair { number: next(), other, we_begin })));
        parts.push(Part::Changes(Changes { number: next(), other }));
    }
    parts
}

fn side_by_side(stand: &Stand<'_>, parts: &[Part]) -> Result<()> {
    let failed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = parts.iter().map(|part| scope.spawn(|| part.play(stand))).collect();
        let results = threads.into_iter().map(|thread| thread.join().expect("a part returns its errors"));
        results.filter_map(|result| result.err().map(|error| format!("{error:#}"))).collect()
    });
    if !failed.is_empty() {
        bail!("{} of {} parts: {}", failed.len(), parts.len(), failed.join("; "));
    }
    Ok(())
}
