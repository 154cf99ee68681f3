//! Two nodes with interfaces: the system's own programs talk through the mesh, and nothing is left of it at the end.

use std::env;

use anyhow::{Context as _, Result, ensure};

use super::kit::eventually;
use super::kit::http::Fetched;
use super::kit::lab::Host;
use super::kit::mesh::{A, B, Member, RELAY, START, configs, start_relay, text};
use super::kit::process::Process;
use super::{Scenario, Stage};
use crate::tools::PING;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "up-tun",
    about: "ping and HTTP between two `tidewire up --tun`: addresses, MTU and routes are made, followed and removed",
    programs: &[PING],
    run,
};

const INTERFACE: &str = "mesh0";
const BYTES: u64 = 32 * 1024 * 1024;
/// Too small for IPv6, so that nothing but the wish for it can be the reason.
const OTHER_MTU: &str = "1200";

fn run(stage: &Stage<'_>) -> Result<()> {
    let relay_host = stage.lab.host("relay", *RELAY.ip())?;
    let (a_host, b_host) = (stage.lab.host(A.name, A.underlay)?, stage.lab.host(B.name, B.underlay)?);
    let (mut relay, region) = start_relay(stage, &relay_host, &[])?;
    let [a_config, b_config] = configs(stage, (&a_host, &b_host), &region)?;
    let up = |host: &Host, config| {
        host.spawn("up", stage.tidewire, &["up", "--config", text(config)?, "--tun", INTERFACE])
    };
    let (mut a, mut b) = (up(&a_host, &a_config)?, up(&b_host, &b_config)?);
    let b_overlay = B.overlay.to_string();
    eventually(START, "an answer to ping through the mesh", || {
        [&mut a, &mut b, &mut relay].into_iter().try_for_each(Process::check)?;
        Ok(a_host.run("ping", &["-c1", "-W1", &b_overlay]))
    })?;
    is_set_up(&a_host, &A, &B)?;
    is_set_up(&b_host, &B, &A)?;
    fetch(&a_host, &b_host)?;
    // Twice: the second time with another MTU.
    for host in [&a_host, &b_host] {
        host.run("ip", &["link", "set", INTERFACE, "mtu", OTHER_MTU])?;
    }
    fetch(&a_host, &b_host)?;
    for (node, host) in [(a, &a_host), (b, &b_host)] {
        node.terminate()?;
        ensure!(host.run("ip", &["link", "show", INTERFACE]).is_err(), "the interface is still there");
        let routes = host.run("ip", &["route", "show"])?;
        ensure!(!routes.contains("100.64."), "routes are left: {routes}");
    }
    relay.terminate()
}

fn is_set_up(host: &Host, own: &Member, peer: &Member) -> Result<()> {
    let shown = host.run("ip", &["address", "show", "dev", INTERFACE])?;
    ensure!(shown.contains("mtu 1280"), "another MTU: {shown}");
    ensure!(shown.contains(&format!("inet {}/32", own.overlay)), "no address: {shown}");
    let route = host.run("ip", &["route", "get", &peer.overlay.to_string()])?;
    ensure!(route.contains(&format!("dev {INTERFACE}")), "the peer is elsewhere: {route}");
    Ok(())
}

/// A gets a file from B through the systems' own TCP.
fn fetch(a: &Host, b: &Host) -> Result<()> {
    let this = env::current_exe()?;
    let served = format!("{}:8080", B.overlay);
    let mut server = b.spawn("http", &this, &["http-serve", "--listen", &served])?;
    let (bytes, seed) = (BYTES.to_string(), "7");
    let arguments = ["http-fetch", "--from", &served, "--bytes", &bytes, "--seed", seed];
    let json = eventually(START, "the file", || {
        server.check()?;
        Ok(a.run(&this, &arguments))
    })?;
    let fetched: Fetched = serde_json::from_str(&json).context("what http-fetch printed")?;
    println!("  {} bytes in {} ms, hash verified", fetched.bytes, fetched.millis);
    Ok(())
}
