//! Two nodes and a relay as a user starts them: traffic flows through the relay at first, then directly, seen from outside.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::kit::eventually;
use super::kit::http::Fetched;
use super::kit::lab::Host;
use super::kit::mesh::{A, B, Pair, RELAY, start_relay};
use super::kit::process::Process;
use super::{Scenario, Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-nodes",
    about: "HTTP between two `tidewire up` through `tidewire relay`, then directly once UDP is let through",
    programs: &[],
    run,
};

/// A node looks for a direct path again and again while it has none; its longest pause is far shorter.
const UPGRADE: Duration = Duration::from_secs(60);
const SMALL: u64 = 256 * 1024;
const MIDDLE: u64 = 4 * 1024 * 1024;
const LARGE: u64 = 32 * 1024 * 1024;

/// The bytes that reached A on each way, by its firewall.
#[derive(Debug, Clone, Copy)]
struct Seen {
    relayed: u64,
    direct: u64,
}

fn run(stage: &Stage<'_>) -> Result<()> {
    let relay_host = stage.lab.host("relay", *RELAY.ip())?;
    let (a, b) = (stage.lab.host(A.name, A.underlay)?, stage.lab.host(B.name, B.underlay)?);
    for host in [&a, &b] {
        host.nft(&firewall())?;
        host.nft("add rule inet lab cut iifname \"eth0\" meta l4proto udp drop\n")?;
    }
    let (mut relay, region) = start_relay(stage, &relay_host, &[])?;
    let mut pair = Pair::start(stage, (&a, &b), &region, &[])?;
    pair.wait()?;
    relayed(&pair, &a)?;
    for host in [&a, &b] {
        host.nft("flush chain inet lab cut\n")?;
    }
    direct(&pair, &a)?;
    relay.check()?;
    pair.stop()?;
    Process::terminate(relay)
}

/// While UDP between the nodes is cut, all comes from the relay.
fn relayed(pair: &Pair<'_>, a: &Host) -> Result<()> {
    let (fetched, seen) = fetch_and_see(pair, a, MIDDLE)?;
    ensure!(seen.direct == 0, "{} bytes came directly while UDP was cut", seen.direct);
    ensure!(seen.relayed >= MIDDLE, "only {} bytes came from the relay", seen.relayed);
    println!("  relayed: {} bytes in {} ms, hash verified", fetched.bytes, fetched.millis);
    Ok(())
}

/// Soon after it is let through, all comes directly, and the relay only hears that the nodes are alive.
fn direct(pair: &Pair<'_>, a: &Host) -> Result<()> {
    eventually(UPGRADE, "the direct path", || {
        let (_, seen) = fetch_and_see(pair, a, SMALL)?;
        Ok((seen.direct >= SMALL)
            .then_some(())
            .with_context(|| format!("of the last {SMALL} bytes {} came directly", seen.direct)))
    })?;
    let (fetched, seen) = fetch_and_see(pair, a, LARGE)?;
    ensure!(seen.direct >= LARGE, "only {} bytes came directly", seen.direct);
    ensure!(seen.relayed < LARGE / 100, "{} bytes still came from the relay", seen.relayed);
    println!("  direct:  {} bytes in {} ms, hash verified", fetched.bytes, fetched.millis);
    Ok(())
}

/// Counts what arrives behind the chain `cut`: from the relay by TCP, and from anywhere else by UDP.
fn firewall() -> String {
    let relay = RELAY.ip();
    format!(
        "table inet lab {{
            counter relayed {{ }}
            counter direct {{ }}
            chain cut {{
                type filter hook input priority 0;
                ip saddr {relay} accept
            }}
            chain count {{
                type filter hook input priority 10;
                ip saddr {relay} meta l4proto tcp counter name relayed
                ip saddr {relay} accept
                iifname \"eth0\" meta l4proto udp counter name direct
            }}
        }}\n"
    )
}

fn fetch_and_see(pair: &Pair<'_>, a: &Host, bytes: u64) -> Result<(Fetched, Seen)> {
    let see = || -> Result<Seen> {
        Ok(Seen { relayed: a.counted_bytes("lab", "relayed")?, direct: a.counted_bytes("lab", "direct")? })
    };
    let before = see()?;
    let fetched = pair.fetch(bytes)?;
    let after = see()?;
    Ok((fetched, Seen { relayed: after.relayed - before.relayed, direct: after.direct - before.direct }))
}
