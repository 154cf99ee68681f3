//! Tailscale's relay and ours, each with the other's client: what one side promises, the other one finds.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use super::kit::eventually;
use super::kit::lab::Host;
use super::kit::mesh::{A, B, Pair, RELAY, START, UDP_PORT, cut_udp, text};
use super::kit::process::Process;
use super::{Scenario, Stage};
use crate::cargo;
use crate::tools::{DERPER, GO};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "derper",
    about: "our DERP client and two `tidewire up` with Tailscale's derper, and Tailscale's client with `tidewire relay`",
    programs: &[GO, DERPER],
    run,
};

/// The port of its STUN; ours would be another one.
const STUN_PORT: u16 = 3479;
/// What STUN sees of A, whose own port is another one.
const MAPPED_PORT: u16 = 50_000;
const BYTES: u64 = 4 * 1024 * 1024;

fn run(stage: &Stage<'_>) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(cargo::root());
    let derper = DERPER.ensure(&sh)?;
    client_tests(&sh, &derper)?;
    let relay = stage.lab.host("relay", *RELAY.ip())?;
    two_nodes(stage, &relay, &derper)?;
    tailscales_client(stage, &sh, &relay)
}

/// The tests of our client that need that relay: every rung, every size, pins, PeerGone, duplicates, a restart.
fn client_tests(sh: &Shell, derper: &Path) -> Result<()> {
    let test = cmd!(sh, "cargo test --quiet --locked -p tidewire-derp --features client --test derper");
    let output = cargo::clean(test).env("TIDEWIRE_DERPER", derper).quiet().ignore_status().output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        println!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    }
    ensure!(output.status.success(), "the client's tests against derper failed");
    let result = printed.lines().find(|line| line.starts_with("test result:")).context("no test ran")?;
    println!("  our client with derper: {result}");
    Ok(())
}

/// Two nodes whose only relay is Tailscale's, with UDP cut between them; it is restarted meanwhile.
fn two_nodes(stage: &Stage<'_>, relay: &Host, derper: &Path) -> Result<()> {
    let (a, b) = (stage.lab.host(A.name, A.underlay)?, stage.lab.host(B.name, B.underlay)?);
    cut_udp(&[&a, &b])?;
    a.nft(&mapping())?;
    let (process, region) = start(stage, relay, derper)?;
    let mut pair = Pair::start(stage, (&a, &b), &region, &[])?;
    pair.wait()?;
    pair.a_says(&["relay connected", "rung=fast start"])?;
    let fetched = pair.fetch(BYTES)?;
    println!("  two nodes: {} bytes through derper in {} ms, hash verified", fetched.bytes, fetched.millis);
    pair.a_says(&["reachable at", &format!("{}:{MAPPED_PORT}", A.underlay)])?;
    println!("  two nodes: derper's STUN told A its mapped port");

    Process::terminate(process)?;
    pair.a_says(&["relay lost"])?;
    let (process, again) = start(stage, relay, derper)?;
    ensure!(again == region, "after its restart derper says `{again}` and not `{region}`");
    pair.wait()?;
    println!("  two nodes: back after a restart of derper");
    pair.stop()?;
    Process::terminate(process)
}

/// A as behind a NAT: what it sends from its own port leaves from another one.
fn mapping() -> String {
    let (relay, own) = (RELAY.ip(), A.underlay);
    format!(
        "table ip nat {{
            chain out {{
                type nat hook postrouting priority 100;
                ip daddr {relay} udp sport {UDP_PORT} snat to {own}:{MAPPED_PORT}
            }}
        }}\n"
    )
}

/// Starts Tailscale's relay, and makes a region of the pin that it logs.
pub(crate) fn start(stage: &Stage<'_>, host: &Host, derper: &Path) -> Result<(Process, String)> {
    let folder = stage.lab.folder().join("derper");
    std::fs::create_dir_all(&folder)?;
    let (folder, key) = (text(&folder)?, folder.join("key"));
    let (name, listen, stun) = (RELAY.ip().to_string(), RELAY.to_string(), STUN_PORT.to_string());
    #[rustfmt::skip]
    let arguments = [
        "-certmode", "manual", "-hostname", &name, "-certdir", folder, "-c", text(&key)?,
        "-a", &listen, "-http-port", "-1", "-stun-port", &stun,
    ];
    let mut process = host.spawn("derper", derper, &arguments)?;
    let pin = eventually(START, "the pin that derper logs", || {
        process.check()?;
        Ok(pin(&process.logged()?).context("it logged none"))
    })?;
    let region = format!(
        "[[region]]\nid = 900\ncode = \"derper\"\n[[region.node]]\nname = \"900a\"\nhost_name = \"{name}\"\n\
         derp_port = {}\nstun_port = {STUN_PORT}\ncert_name = \"{pin}\"\n",
        RELAY.port()
    );
    Ok((process, region))
}

/// The pin in the snippet of a map that derper logs.
fn pin(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("\"CertName\":\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Tailscale's client packages, in a program of ours, with our relay.
fn tailscales_client(stage: &Stage<'_>, sh: &Shell, relay: &Host) -> Result<()> {
    let go = GO.ensure(sh)?;
    let program = stage.lab.folder().join("interop");
    {
        let _there = sh.push_dir("crates/derp/tests/interop");
        // The tag compiles the client's WebSocket in.
        cmd!(sh, "{go} build -tags ts_debug_websockets -o {program} .").quiet().run()?;
    }
    let state = stage.lab.folder().join("go");
    std::fs::create_dir_all(&state)?;
    let printed = relay.run(&program, &[text(stage.tidewire)?, text(&state)?])?;
    printed.lines().for_each(|line| println!("  Tailscale's client with our relay: {line}"));
    ensure!(printed.ends_with("all checks passed\n"), "it did not come to its end");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_found_in_the_log() {
        let log = "2026/01/01 using self-signed\n... {\"Name\":\"custom\",\"CertName\":\"sha256-raw:00ff\",\"x\":1}\n";
        assert_eq!(pin(log).as_deref(), Some("sha256-raw:00ff"));
        assert_eq!(pin("starting"), None);
    }
}
