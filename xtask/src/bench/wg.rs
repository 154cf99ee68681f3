//! WireGuard devices next to each other: who is compared, in which order, and what comes out.

mod bed;
mod goals;
mod load;

use anyhow::{Result, bail};
use clap::Args;
use xshell::Shell;

use super::{
    Common, build,
    report::{OURS, Report},
};
use crate::{
    Outcome,
    interop::kit,
    report::skipped,
    tools::{self, ETHTOOL, IPERF, PING, Program, WG},
};
use bed::{Bed, Device, Link};

/// How much, and what of it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Seconds of each load
    #[arg(long, default_value_t = 4)]
    secs: u32,
    /// Only these devices; `tidewire` always takes part
    #[arg(long, value_delimiter = ',')]
    against: Option<Vec<String>>,
    /// Only these links: `veth` passes super-packets whole, with `sw` the sender's kernel cuts them, with `nic` the receiver's
    /// also gathers them again, which is nearest to a real network card
    #[arg(long, value_delimiter = ',', value_enum)]
    links: Option<Vec<Link>>,
}

/// Measures all devices on all links and prints ratios of medians.
pub(super) fn run(sh: &Shell, options: &Options) -> Result<Outcome> {
    if let Some(reason) = super::missing(sh, &[kit::IP, ETHTOOL, IPERF, PING, WG]) {
        return Ok(skipped("bench wg", reason));
    }
    let devices = devices(sh, options)?;
    let links = options.links.clone().unwrap_or_else(|| Link::ALL.to_vec());
    let mut report = Report::new(goals::goals());
    for repeat in 1..=options.common.repeats {
        for link in &links {
            for device in &devices {
                eprintln!("round {repeat} of {}: {} over {link:?}", options.common.repeats, device.name);
                let bed = Bed::new(*link, device)?;
                match link {
                    Link::Veth => load::all(&bed, options.secs, &mut report)?,
                    Link::Sw | Link::Nic => load::tcp_alone(&bed, options.secs, &mut report)?,
                }
            }
        }
        if links.contains(&Link::Veth) {
            eprintln!("round {repeat} of {}: {}", options.common.repeats, bed::NODE);
            let bed = Bed::of_nodes(&devices[0])?;
            load::tcp_alone(&bed, options.secs, &mut report)?;
        }
        for device in devices.iter().filter(|_| links.contains(&Link::Veth)) {
            eprintln!("round {repeat} of {}: {} with 1000 peers", options.common.repeats, device.name);
            load::many_peers(device, &mut report)?;
        }
    }
    if options.common.json {
        println!("{}", report.json())
    } else {
        report.print()
    }
    Ok(Outcome::Done)
}

/// Ours, and of the others those that are wanted and can be had.
fn devices(sh: &Shell, options: &Options) -> Result<Vec<Device>> {
    let tidewire = build(sh, options.common.tidewire.as_deref())?;
    let others: [(&'static str, Program, &[&str]); 3] = [
        ("wireguard-go", tools::WIREGUARD_GO, &["-f"]),
        ("gotatun", tools::GOTATUN, &["-f", "--disable-drop-privileges"]),
        ("boringtun", tools::BORINGTUN, &["-f", "--disable-drop-privileges"]),
    ];
    if let Some(name) =
        options.against.iter().flatten().find(|name| others.iter().all(|(other, ..)| other != name))
    {
        bail!("no device `{name}`: wireguard-go, gotatun and boringtun are known");
    }
    let mut devices = vec![Device { name: OURS, program: tidewire, arguments: vec!["wg"] }];
    for (name, program, arguments) in others {
        if options.against.as_ref().is_some_and(|names| names.iter().all(|wanted| wanted != name)) {
            continue;
        }
        match program.ensure(sh) {
            Ok(program) => devices.push(Device { name, program, arguments: arguments.to_vec() }),
            // Not on standard output: that is the report's.
            Err(error) => eprintln!("skipped: {name}: {error:#}"),
        }
    }
    Ok(devices)
}
