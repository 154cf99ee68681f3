//! Ten thousand strangers at a relay: its memory stays bounded, its clients notice nothing, and the strangers are cut in time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::kit::eventually;
use super::kit::lab::Host;
use super::kit::mesh::{A, B, Pair, RELAY, START, cut_udp, start_relay};
use super::kit::process::Process;
use super::kit::strangers::Ended;
use super::{Scenario, Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "relay-flood",
    about: "10,000 connections that never log in at `tidewire relay`: bounded memory, clients log in meanwhile, all are cut",
    programs: &[],
    run,
};

const STRANGERS: usize = 10_000;
/// The strangers' own program needs one for each. The relay keeps 4,096 of them at a time; for a further one the oldest goes.
const DESCRIPTORS: usize = STRANGERS + 100;
/// How long the relay lets a stranger stay.
const LOGIN: Duration = Duration::from_secs(10);
/// Three times that, for a machine that has much else to do.
const CEILING: Duration = Duration::from_secs(30);
/// The most memory of the relay in KiB, program and two clients included: three times what is seen.
const MEMORY_KIB: u64 = 64 * 1024;
const BYTES: u64 = 1024 * 1024;

fn run(stage: &Stage<'_>) -> Result<()> {
    let relay = stage.lab.host("relay", *RELAY.ip())?;
    let crowd = stage.lab.host("crowd", "10.77.0.8".parse()?)?;
    let (a, b) = (stage.lab.host(A.name, A.underlay)?, stage.lab.host(B.name, B.underlay)?);
    cut_udp(&[&a, &b])?;
    siege(stage, "TLS", (&relay, &crowd, &a, &b), &[])?;
    siege(stage, "plain", (&relay, &crowd, &a, &b), &["--plain"])
}

fn siege(
    stage: &Stage<'_>,
    name: &str,
    (relay, crowd, a, b): (&Host, &Host, &Host, &Host),
    further: &[&str],
) -> Result<()> {
    let (mut process, region) = start_relay(stage, relay, further)?;
    let status = format!("/proc/{}/status", process.pid());
    let before = memory(Path::new(&status), "VmRSS")?;

    // Those who were cut come back, so there is always a crowd at the door.
    let mut strangers = start_strangers(crowd, &[further, &["--return"]].concat())?;
    eventually(START, "the strangers", || {
        strangers.check()?;
        Ok(strangers.printed()?.contains("all there").then_some(()).context("not all are there"))
    })?;
    let mut pair = Pair::start(stage, (a, b), &region, &[])?;
    pair.wait()?;
    pair.fetch(BYTES)?;
    strangers.check()?;
    drop(strangers);
    let losses_before = losses(&pair)?;
    println!("  {name}: two nodes logged in beside {STRANGERS} strangers and exchanged {BYTES} bytes");

    let mut strangers = start_strangers(crowd, further)?;
    let ended = eventually(START + CEILING, "the end of all strangers", || {
        process.check()?;
        pair.fetch(1024)?;
        let printed = strangers.printed()?;
        let json = printed.lines().find(|line| line.starts_with('{'));
        if json.is_none() {
            strangers.check()?;
        }
        Ok(json.map(serde_json::from_str::<Ended>).transpose()?.context("some are still there"))
    })?;
    ensure!(ended.cut == STRANGERS, "{} of {STRANGERS} strangers were cut", ended.cut);
    let longest = Duration::from_millis(ended.longest_millis);
    ensure!(longest <= CEILING, "a stranger stayed for {} s", longest.as_secs());
    let peak = memory(Path::new(&status), "VmHWM")?;
    println!(
        "  {name}: all strangers were cut after {:.1} s at most (login deadline {} s); memory of the relay {before} KiB, at most {peak} KiB",
        longest.as_secs_f64(),
        LOGIN.as_secs()
    );
    ensure!(peak <= MEMORY_KIB, "{peak} KiB is more than {MEMORY_KIB} KiB");
    ensure!(losses(&pair)? == losses_before, "the strangers cost A its connection");
    pair.stop()?;
    process.terminate()
}

/// How often A lost its relay.
fn losses(pair: &Pair<'_>) -> Result<usize> {
    Ok(pair.a_log()?.lines().filter(|line| line.contains("relay lost")).count())
}

/// Starts the strangers, whose process needs a descriptor for each.
fn start_strangers(crowd: &Host, further: &[&str]) -> Result<Process> {
    let this = std::env::current_exe()?;
    let this = this.to_str().context("the path of this program is not UTF-8")?;
    let (to, count) = (RELAY.to_string(), STRANGERS.to_string());
    let raise = format!("ulimit -n {DESCRIPTORS} && exec \"$@\"");
    let arguments = ["-c", &raise, "sh", this, "strangers", "--to", &to, "--count", &count];
    crowd.spawn("strangers", Path::new("sh"), &[&arguments, further].concat())
}

/// A value in KiB of a process, as Linux tells it.
fn memory(status: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(status).with_context(|| status.display().to_string())?;
    kib(&text, name).with_context(|| format!("{} has no {name}", status.display()))
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        let status = "Name:\tx\nVmHWM:\t   9040 kB\nVmRSS:\t   8040 kB\n";
        assert_eq!(kib(status, "VmRSS"), Some(8040));
        assert_eq!(kib(status, "Vm"), None);
    }
}
