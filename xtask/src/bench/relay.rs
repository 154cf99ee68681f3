//! Relays next to each other: ours and Tailscale's under the same load, and nodes that talk through ours.

mod mesh;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;
use xshell::{Shell, cmd};

use super::{
    Common, build,
    report::{Goal, OURS, Report, Wanted},
};
use crate::{
    Outcome, cargo,
    interop::{
        Stage, derper,
        kit::{
            self,
            lab::{Host, Lab},
            mesh::{RELAY, start_relay},
            process::Process,
        },
    },
    report::skipped,
    tools::{DERPER, GO, IPERF, PING},
};

/// How much.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Seconds of each load
    #[arg(long, default_value_t = 2)]
    secs: u32,
    /// Clients that do nothing, for the memory of each
    #[arg(long, value_delimiter = ',', default_value = "1000,5000")]
    idle: Vec<usize>,
}

/// Packets of one load, and how they are sent.
#[derive(Debug, Clone, Copy)]
struct Case {
    pairs: usize,
    size: usize,
    window: usize,
    is_batching: bool,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (window, is_batching) in [(32, true), (32, false), (256, true)] {
            for pairs in [1, 10, 100] {
                all.extend([100, 1400].map(|size| Self { pairs, size, window, is_batching }));
            }
        }
        all
    }

    fn name(self) -> String {
        let Self { pairs, size, window, is_batching } = self;
        format!("{}_w{window}_{pairs}x{size}", if is_batching { "batch" } else { "single" })
    }

    /// Of Tailscale's packets for each second of CPU time, so many times at least.
    fn factor(self) -> f64 {
        match self {
            Self { is_batching: true, .. } => 3.0,
            Self { pairs: 1, .. } => 2.0,
            _ => 1.3,
        }
    }
}

/// The two programs that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Ours,
    Derper,
}

impl Which {
    const BOTH: [Self; 2] = [Self::Ours, Self::Derper];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => OURS,
            Self::Derper => "derper",
        }
    }

    fn start(self, stage: &Stage<'_>, host: &Host, derper: &Path) -> Result<Process> {
        let (process, _) = match self {
            Self::Ours => start_relay(stage, host, &[])?,
            Self::Derper => derper::start(stage, host, derper)?,
        };
        Ok(process)
    }
}

/// Measures both relays and prints ratios of medians.
pub(super) fn run(sh: &Shell, options: &Options) -> Result<Outcome> {
    if let Some(reason) = super::missing(sh, &[kit::IP, kit::NFT, GO, DERPER, IPERF, PING]) {
        return Ok(skipped("bench relay", reason));
    }
    let tidewire = build(sh, options.common.tidewire.as_deref())?;
    let (loader, derper) = (build_loader(sh)?, DERPER.ensure(sh)?);
    let mut report = Report::new(goals(&options.idle));
    for repeat in 1..=options.common.repeats {
        for which in Which::BOTH {
            eprintln!("round {repeat} of {}: {}", options.common.repeats, which.name());
            let lab = Lab::new("bench")?;
            let stage = Stage { lab: &lab, tidewire: &tidewire };
            let host = lab.host("relay", *RELAY.ip())?;
            measure(&stage, &host, which, options, (&loader, &derper), &mut report)?;
            lab.forget_logs();
        }
        eprintln!("round {repeat} of {}: nodes through {OURS}", options.common.repeats);
        mesh::measure(&tidewire, options.secs, &mut report)?;
    }
    if options.common.json {
        println!("{}", report.json())
    } else {
        report.print()
    }
    Ok(Outcome::Done)
}

fn measure(
    stage: &Stage<'_>,
    host: &Host,
    which: Which,
    options: &Options,
    (loader, derper): (&Path, &Path),
    report: &mut Report,
) -> Result<()> {
    let relay = which.start(stage, host, derper)?;
    let (addr, pid) = (RELAY.to_string(), relay.pid().to_string());
    let common = ["--addr", &addr, "--pid", &pid];
    for case in Case::all() {
        let numbers = [case.pairs, case.size, case.window].map(|number| number.to_string());
        let secs = options.secs.to_string();
        #[rustfmt::skip]
        let mut arguments = [
            &common[..],
            &["--pairs", &numbers[0], "--size", &numbers[1], "--window", &numbers[2], "--secs", &secs],
        ].concat();
        arguments.extend(case.is_batching.then_some("--batch"));
        let printed: Value = serde_json::from_str(&host.run(loader, &arguments)?)?;
        let number = |name: &str| printed[name].as_f64().with_context(|| format!("the load has no {name}"));
        let name = case.name();
        report.add(which.name(), format!("{name}_kp_per_cpu_s"), number("packets_per_cpu_s")? / 1e3);
        report.add(which.name(), format!("{name}_kpps"), number("packets_per_s")? / 1e3);
        report.add(which.name(), format!("{name}_lost"), number("lost")?);
        report.add(which.name(), format!("{name}_p99_us"), number("p99_us")?);
    }
    drop(relay);
    for clients in &options.idle {
        // A relay that has carried nothing yet: what load left behind is not what a client costs.
        let relay = which.start(stage, host, derper)?;
        let (pid, number) = (relay.pid().to_string(), clients.to_string());
        let printed = host.run(loader, &["--addr", &addr, "--pid", &pid, "--idle", &number])?;
        let printed: Value = serde_json::from_str(&printed)?;
        let each = printed["kb_each"].as_f64().context("the load has no kb_each")?;
        report.add(which.name(), format!("idle_{clients}_kb_each"), each);
    }
    Ok(())
}

fn goals(idle: &[usize]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for case in Case::all() {
        let name = case.name();
        if case.window == 32 {
            let measure = format!("{name}_kp_per_cpu_s");
            goals.push(Goal::ratio(
                format!("{name}_vs_derper"),
                measure,
                "derper",
                Wanted::AtLeast(case.factor()),
            ));
        } else {
            goals.push(Goal::never_more(format!("{name}_lost"), 0.0));
        }
        let measure = format!("{name}_p99_us");
        goals.push(Goal::ratio(format!("{name}_p99_vs_derper"), measure, "derper", Wanted::AtMost(1.0)));
    }
    for clients in idle {
        let measure = format!("idle_{clients}_kb_each");
        goals.push(Goal::ratio(format!("idle_{clients}_vs_derper"), measure, "derper", Wanted::AtMost(0.2)));
    }
    goals.push(Goal::own("relayed_tcp_gbit", Wanted::AtLeast(1.0)));
    goals.push(Goal::own("relayed_tcp_cpu_s_per_gb", Wanted::AtMost(15.0)));
    goals.push(Goal::never_more("relayed_tcp_retransmits", 0.0));
    goals
}

fn build_loader(sh: &Shell) -> Result<PathBuf> {
    let manifest = "bench/Cargo.toml";
    let build =
        cmd!(sh, "cargo build --quiet --locked --release --manifest-path {manifest} --bin relay_load");
    cargo::clean(build).quiet().run()?;
    Ok(cargo::metadata(sh, manifest)?.target_directory.join("release").join("relay_load"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_and_two_goals() {
        let mut names: Vec<String> = Case::all().into_iter().map(Case::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 18);
        assert_eq!(goals(&[1000]).len(), 2 * 18 + 1 + 3);
    }
}
