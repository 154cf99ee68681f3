//! A relay connection that is dead and does not say so: found and replaced in time, and what ran over it goes on.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::kit::eventually;
use super::kit::lab::Host;
use super::kit::mesh::{A, B, Pair, RELAY, START, cut_udp, start_relay};
use super::kit::process::Process;
use super::{Scenario, Stage};
use crate::report::now;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "half-open",
    about: "a firewall swallows an established relay connection: noticed and replaced while traffic waits",
    programs: &[],
    run,
};

/// With something to say, a client finds a dead connection after at most 15 s: 5 s without an answer, and two pings of 5 s. It is
/// replaced in a few round trips; then TCP inside the mesh has to repeat what was lost, and its waits have doubled meanwhile.
const FOUND: Duration = Duration::from_secs(15);
/// Until the first packet waits after the cut, and until the log is read, on a machine that has much else to do.
const SLACK: Duration = Duration::from_secs(4);
/// Until traffic flows again: three times as long.
const CEILING: Duration = Duration::from_secs(45);
const BYTES: u64 = 256 * 1024;

fn run(stage: &Stage<'_>) -> Result<()> {
    let relay_host = stage.lab.host("relay", *RELAY.ip())?;
    let (a, b) = (stage.lab.host(A.name, A.underlay)?, stage.lab.host(B.name, B.underlay)?);
    cut_udp(&[&a, &b])?;
    let (relay, region) = start_relay(stage, &relay_host, &[])?;
    let mut pair = Pair::start(stage, (&a, &b), &region, &[])?;
    pair.wait()?;
    for round in 1..=2 {
        swallow(&a, &relay_host)?;
        let cut = now();
        let (found, fetched) = thread::scope(|scope| {
            let found = scope.spawn(|| found(&pair, round, cut));
            // It waits inside the mesh until the relay connection is another one.
            let fetched = eventually(CEILING, "traffic after the cut", || Ok(pair.fetch(BYTES)));
            (found.join(), fetched.map(|fetched| (fetched, cut.elapsed())))
        });
        pair.check()?;
        let (fetched, took) = fetched?;
        let found = found.map_err(|_| anyhow!("the thread that reads the log panicked"))??;
        ensure!(found <= FOUND + SLACK, "{:.1} s until the cut was found", found.as_secs_f64());
        ensure!(took <= CEILING, "{:.1} s until traffic flowed again", took.as_secs_f64());
        println!(
            "  cut {round}: found {:.1} s later (bound {} s), {} bytes were there after {:.1} s",
            found.as_secs_f64(),
            FOUND.as_secs(),
            fetched.bytes,
            took.as_secs_f64(),
        );
    }
    pair.stop()?;
    Process::terminate(relay)
}

/// How long after the cut A says for the `round`th time that it left its connection, and why.
fn found(pair: &Pair<'_>, round: usize, cut: Instant) -> Result<Duration> {
    eventually(CEILING, "the reason in the log", || {
        let log = pair.a_log()?;
        let said = log.lines().filter(|line| line.contains("no sign of life")).count();
        Ok((said >= round).then(|| cut.elapsed()).context("A does not say why it left the connection"))
    })
}

/// Loses all packets of the connection that A has to the relay on their way in at both ends, and of no other.
fn swallow(a: &Host, relay: &Host) -> Result<()> {
    let port = connected_port(a)?;
    a.nft(&dropping(&format!("ip saddr {} tcp dport {port}", RELAY.ip())))?;
    relay.nft(&dropping(&format!("ip saddr {} tcp sport {port}", A.underlay)))
}

fn dropping(what: &str) -> String {
    format!(
        "table inet half_open {{
            chain dead {{ type filter hook input priority -10; }}
        }}
        add rule inet half_open dead {what} drop\n"
    )
}

/// The local port of the one established connection to the relay. One that was cut and closed is none.
fn connected_port(a: &Host) -> Result<u16> {
    eventually(START, "the one connection to the relay", || {
        let listed = a.run("ss", &["-Htn", "state", "established", "dst", &RELAY.to_string()])?;
        Ok(only_port(&listed).with_context(|| format!("`ss` lists `{}`", listed.trim())))
    })
}

fn only_port(listed: &str) -> Option<u16> {
    let mut lines = listed.lines();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    line.split_whitespace().nth(2)?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_only_connection_is_found() {
        let one = "0      0          10.77.0.2:40404    10.77.0.1:3443\n";
        assert_eq!(only_port(one), Some(40_404));
        assert_eq!(only_port(&format!("{one}{one}")), None);
        assert_eq!(only_port(""), None);
    }
}
