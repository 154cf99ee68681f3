//! Two nodes and a relay as a user starts them: traffic flows through the relay at first, then directly, seen from outside.

use std::env;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::kit::eventually;
use super::kit::http::Fetched;
use super::kit::lab::{Host, Lab};
use super::kit::process::Process;
use super::{Scenario, Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "two-nodes",
    about: "HTTP between two `tidewire up` through `tidewire relay`, then directly once UDP is let through",
    programs: &[],
    run,
};

const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 3443);
const RELAY_STUN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 3478);
const A: Node =
    Node { name: "a", underlay: Ipv4Addr::new(10, 77, 0, 2), overlay: Ipv4Addr::new(100, 64, 0, 1) };
const B: Node =
    Node { name: "b", underlay: Ipv4Addr::new(10, 77, 0, 3), overlay: Ipv4Addr::new(100, 64, 0, 2) };
/// Where the client in the namespace of A connects to, and where the server in that of B listens.
const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
/// The port of B in the overlay.
const SERVED: u16 = 80;

const START: Duration = Duration::from_secs(30);
/// A node looks for a direct path again and again while it has none; its longest pause is far shorter.
const UPGRADE: Duration = Duration::from_secs(60);
const SMALL: u64 = 256 * 1024;
const MIDDLE: u64 = 4 * 1024 * 1024;
const LARGE: u64 = 32 * 1024 * 1024;

struct Node {
    name: &'static str,
    underlay: Ipv4Addr,
    overlay: Ipv4Addr,
}

/// The bytes that reached A on each way, by its firewall.
#[derive(Debug, Clone, Copy)]
struct Seen {
    relayed: u64,
    direct: u64,
}

fn run(stage: &Stage<'_>) -> Result<()> {
    let Stage { lab, tidewire } = stage;
    let this = env::current_exe()?;
    let relay_host = lab.host("relay", *RELAY.ip())?;
    let (a_host, b_host) = (lab.host(A.name, A.underlay)?, lab.host(B.name, B.underlay)?);
    for host in [&a_host, &b_host] {
        host.nft(&firewall())?;
        host.nft("add rule inet lab cut iifname \"eth0\" meta l4proto udp drop\n")?;
    }
    let (mut relay, region) = start_relay(lab, &relay_host, tidewire)?;
    let (a_keys, b_keys) = (Keys::make(lab, &a_host, tidewire, &A)?, Keys::make(lab, &b_host, tidewire, &B)?);
    let a_config = lab.file("a.toml", &config(&A, &a_keys, &B, &b_keys, &region)?)?;
    let b_config = lab.file("b.toml", &config(&B, &b_keys, &A, &a_keys, &region)?)?;

    let mut server = b_host.spawn("http", &this, &["http-serve", "--listen", &LOCAL.to_string()])?;
    let serve = format!("{SERVED}={LOCAL}");
    let mut b = b_host.spawn("up", tidewire, &["up", "--config", text(&b_config)?, "--serve", &serve])?;
    let forward = format!("{LOCAL}={}:{SERVED}", B.overlay);
    let mut a = a_host.spawn("up", tidewire, &["up", "--config", text(&a_config)?, "--forward", &forward])?;
    let mut all_run = || [&mut relay, &mut server, &mut a, &mut b].into_iter().try_for_each(Process::check);

    eventually(START, "the first answer", || {
        all_run()?;
        Ok(fetch(&a_host, &this, 1024))
    })?;
    relayed(&a_host, &this)?;
    for host in [&a_host, &b_host] {
        host.nft("flush chain inet lab cut\n")?;
    }
    direct(&a_host, &this)?;
    all_run()?;
    [a, b, relay].into_iter().try_for_each(Process::terminate)
}

/// While UDP between the nodes is cut, all comes from the relay.
fn relayed(a: &Host, this: &Path) -> Result<()> {
    let (fetched, seen) = fetch_and_see(a, this, MIDDLE)?;
    ensure!(seen.direct == 0, "{} bytes came directly while UDP was cut", seen.direct);
    ensure!(seen.relayed >= MIDDLE, "only {} bytes came from the relay", seen.relayed);
    println!("  relayed: {} bytes in {} ms, hash verified", fetched.bytes, fetched.millis);
    Ok(())
}

/// Soon after it is let through, all comes directly, and the relay only hears that the nodes are alive.
fn direct(a: &Host, this: &Path) -> Result<()> {
    eventually(UPGRADE, "the direct path", || {
        let (_, seen) = fetch_and_see(a, this, SMALL)?;
        Ok((seen.direct >= SMALL)
            .then_some(())
            .with_context(|| format!("of the last {SMALL} bytes {} came directly", seen.direct)))
    })?;
    let (fetched, seen) = fetch_and_see(a, this, LARGE)?;
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

/// Starts the relay and waits for the region that it prints.
fn start_relay(lab: &Lab, host: &Host, tidewire: &Path) -> Result<(Process, String)> {
    let state = lab.folder().join("relay");
    let (listen, stun) = (RELAY.to_string(), RELAY_STUN.to_string());
    let arguments = ["relay", "--listen", &listen, "--stun", &stun, "--state", text(&state)?];
    let mut relay = host.spawn("relay", tidewire, &arguments)?;
    let region = eventually(START, "the region that the relay prints", || {
        relay.check()?;
        let printed = relay.printed()?;
        let block = printed.find("[[region]]").map(|from| printed[from..].to_owned());
        let whole = |block: &String| block.contains("cert_name") && block.ends_with('\n');
        Ok(block.filter(whole).with_context(|| format!("it printed `{}`", printed.trim())))
    })?;
    Ok((relay, region))
}

/// The keys of a node as `tidewire keygen` and `tidewire pubkey` made them.
struct Keys {
    file: PathBuf,
    node: String,
    disco: String,
}

impl Keys {
    fn make(lab: &Lab, host: &Host, tidewire: &Path, node: &Node) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = lab.file(&format!("{}.key", node.name), &host.run(tidewire, &["keygen"])?)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        let public = host.run("sh", &["-c", "exec \"$0\" pubkey < \"$1\"", text(tidewire)?, text(&file)?])?;
        let line = |prefix: &str| public.lines().find(|line| line.starts_with(prefix)).map(str::to_owned);
        Ok(Self {
            node: line("nodekey:").context("`tidewire pubkey` printed no nodekey")?,
            disco: line("discokey:").context("`tidewire pubkey` printed no discokey")?,
            file,
        })
    }
}

/// The file of one node, which knows the relay and the other node's keys and nothing of where it is.
fn config(own: &Node, keys: &Keys, peer: &Node, peer_keys: &Keys, region: &str) -> Result<String> {
    let home = region
        .lines()
        .find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == "id"))
        .map(|(_, id)| id.trim())
        .context("the printed region has no id")?;
    Ok(format!(
        "key_file = \"{}\"\naddresses = [\"{}/32\"]\nlisten = 41641\nmtu = 1280\nhome = {home}\nfilter = \"allow-all\"\n\n\
         {region}\n\
         [[peer]]\nkey = \"{}\"\ndisco = \"{}\"\nname = \"{}\"\naddresses = [\"{}/32\"]\nhome = {home}\n",
        text(&keys.file)?,
        own.overlay,
        peer_keys.node,
        peer_keys.disco,
        peer.name,
        peer.overlay,
    ))
}

fn fetch_and_see(a: &Host, this: &Path, bytes: u64) -> Result<(Fetched, Seen)> {
    let see = || -> Result<Seen> {
        Ok(Seen { relayed: a.counted_bytes("lab", "relayed")?, direct: a.counted_bytes("lab", "direct")? })
    };
    let before = see()?;
    let fetched = fetch(a, this, bytes)?;
    let after = see()?;
    Ok((fetched, Seen { relayed: after.relayed - before.relayed, direct: after.direct - before.direct }))
}

fn fetch(a: &Host, this: &Path, bytes: u64) -> Result<Fetched> {
    let (from, size) = (LOCAL.to_string(), bytes.to_string());
    let json = a.run(this, &["http-fetch", "--from", &from, "--bytes", &size, "--seed", &size])?;
    Ok(serde_json::from_str(&json)?)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
