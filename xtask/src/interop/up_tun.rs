//! Two nodes with interfaces: the system's own programs talk through the mesh, and nothing is left of it at the end.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::kit::eventually;
use super::kit::http::Fetched;
use super::kit::lab::Host;
use super::kit::mesh::{A, B, Member, RELAY, START, UDP_PORT, configs, start_relay, text};
use super::kit::process::Process;
use super::{Scenario, Stage};
use crate::tools::PING;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "up-tun",
    about: "ping and HTTP between two `tidewire up --tun`: addresses, MTU and routes are made, followed, restored and removed",
    programs: &[PING],
    run,
};

const INTERFACE: &str = "mesh0";
const BYTES: u64 = 32 * 1024 * 1024;
/// Too small for IPv6, so that nothing but the wish for it can be the reason.
const OTHER_MTU: &str = "1200";
/// What A believes to lie behind B: a network in which B itself has an address, and half of the one in which the relay is.
const BEHIND: (&str, &str) = ("10.88.0.1/24", "10.88.0.0/24");
const IMPOSSIBLE: &str = "10.77.0.0/25";
/// The packets that A's node sends into its own interface.
const LOOPED: &str = "looped";

fn run(stage: &Stage<'_>) -> Result<()> {
    let relay_host = stage.lab.host("relay", *RELAY.ip())?;
    let (a_host, b_host) = (stage.lab.host(A.name, A.underlay)?, stage.lab.host(B.name, B.underlay)?);
    let (mut relay, region) = start_relay(stage, &relay_host, &[])?;
    let [a_config, b_config] = configs(stage, (&a_host, &b_host), &region)?;
    give_access(&a_config)?;
    b_host.run("ip", &["address", "add", BEHIND.0, "dev", "eth0"])?;
    a_host.nft(&firewall())?;
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
    // Again with another MTU, and again after the system has forgotten the routes.
    for host in [&a_host, &b_host] {
        host.run("ip", &["link", "set", INTERFACE, "mtu", OTHER_MTU])?;
    }
    fetch(&a_host, &b_host)?;
    a_host.run("ip", &["link", "set", INTERFACE, "down"])?;
    ensure!(!routes(&a_host)?.contains(INTERFACE), "an interface that is down has routes");
    a_host.run("ip", &["link", "set", INTERFACE, "up"])?;
    fetch(&a_host, &b_host)?;
    let shown = routes(&a_host)?;
    ensure!(
        shown.contains(&format!("{} dev {INTERFACE}", BEHIND.1)),
        "no route to what is behind B: {shown}"
    );
    ensure!(!shown.contains(IMPOSSIBLE), "a route that holds the relay: {shown}");
    ensure!(a_host.counted_bytes("lab", LOOPED)? == 0, "sealed packets went into the tunnel");
    // Who deletes the interface ends the node; who ends the node, the interface and its routes.
    b_host.run("ip", &["link", "delete", INTERFACE])?;
    eventually(START, "the end of a node without its interface", || Ok(b.check().err().context("it runs")))?;
    ensure!(b.logged()?.contains("was deleted"), "it does not say why it ended");
    a.terminate()?;
    ensure!(a_host.run("ip", &["link", "show", INTERFACE]).is_err(), "the interface is still there");
    let left = routes(&a_host)?;
    ensure!(!left.contains("100.64.") && !left.contains(BEHIND.1), "routes are left: {left}");
    relay.terminate()
}

/// Adds what lies behind the only peer of a file.
fn give_access(config: &Path) -> Result<()> {
    let peer = fs::read_to_string(config)?;
    let routes = format!("allowed_ips = [\"{}\", \"{IMPOSSIBLE}\"]\n", BEHIND.1);
    Ok(fs::write(config, peer + &routes)?)
}

fn firewall() -> String {
    format!(
        "table inet lab {{
            counter {LOOPED} {{ }}
            chain out {{
                type filter hook output priority 0;
                oifname \"{INTERFACE}\" udp dport {UDP_PORT} counter name {LOOPED}
            }}
        }}\n"
    )
}

fn routes(host: &Host) -> Result<String> {
    host.run("ip", &["route", "show"])
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
