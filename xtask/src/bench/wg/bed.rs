//! Two namespaces with a cable between, and the same WireGuard device in both.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use super::super::process::{cpu_seconds, resident_mb};
use crate::{
    interop::kit::{eventually, lab::Namespace, process::Process},
    report::now,
};

/// What the cable does with packets of many segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Link {
    /// Passes them whole.
    Veth,
    /// The sender's kernel cuts those of UDP.
    Sw,
    /// The sender's kernel cuts all, the receiver's gathers them again.
    Nic,
}

impl Link {
    pub(super) const ALL: [Self; 3] = [Self::Veth, Self::Sw, Self::Nic];
}

/// A program that serves `/var/run/wireguard/INTERFACE.sock`; the interface is its last argument.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<&'static str>,
}

/// MTU of the interfaces; the cable has 1500.
const MTU: &str = "1420";
/// The name under which `tidewire up --tun` is measured.
pub(super) const NODE: &str = "tidewire-up";
const PATIENCE: Duration = Duration::from_secs(10);

/// Inside the tunnel.
pub(super) const INNER: [&str; 2] = ["10.77.0.1", "10.77.0.2"];
const OUTER: [&str; 2] = ["192.168.77.1", "192.168.77.2"];
const PORTS: [&str; 2] = ["51821", "51822"];

/// Two connected devices. All is gone when this is.
pub(super) struct Bed {
    /// Of what is at work, for the report.
    pub(super) name: &'static str,
    pub(super) link: Link,
    // The programs go before the namespaces.
    daemons: [Process; 2],
    sides: [Namespace; 2],
    folder: Folder,
    /// How long `wg setconf` took on one side.
    pub(super) setconf: Duration,
}

impl Bed {
    /// Connected, as a packet each way has shown.
    pub(super) fn new(link: Link, device: &Device) -> Result<Self> {
        let bed = Self::with_peers(link, device, 0)?;
        bed.is_connected()?;
        Ok(bed)
    }

    /// Two mesh nodes with interfaces in the place of devices, on the same cable and with the same MTU; each knows where the other
    /// is.
    pub(super) fn of_nodes(ours: &Device) -> Result<Self> {
        let folder = Folder::new()?;
        let sides = [Namespace::create("bench-a")?, Namespace::create("bench-b")?];
        connect(Link::Veth, &sides)?;
        let keys = [node_keys(ours, &folder.0, 0)?, node_keys(ours, &folder.0, 1)?];
        let start = |side: usize| {
            let config = folder.0.join(format!("{side}.toml"));
            fs::write(&config, node_config(side, &keys[1 - side]))?;
            let mut command = sides[side].command(&ours.program);
            command.args(["up", "--tun", &interface(side), "--config"]).arg(&config);
            Process::spawn(&format!("node-{side}"), command, &folder.0)
        };
        let daemons = [start(0)?, start(1)?];
        let bed = Self { name: NODE, link: Link::Veth, daemons, sides, folder, setconf: Duration::ZERO };
        bed.is_connected()?;
        Ok(bed)
    }

    fn is_connected(&self) -> Result<()> {
        let ping = || Ok(self.run(0, "ping", &["-c1", "-W1", INNER[1]]));
        eventually(PATIENCE, &format!("{} to connect", self.name), ping)?;
        Ok(())
    }

    /// The same with `extra` further peers on each side, not waiting until it is connected.
    pub(super) fn with_peers(link: Link, device: &Device, extra: usize) -> Result<Self> {
        let folder = Folder::new()?;
        let sides = [Namespace::create("bench-a")?, Namespace::create("bench-b")?];
        connect(link, &sides)?;
        let start = |side: usize| start(device, &sides[side], &interface(side), &folder.0);
        let daemons = [start(0)?, start(1)?];
        let [wait, _] = configure(&sides, &folder.0, extra)?;
        for (side, namespace) in sides.iter().enumerate() {
            let interface = interface(side);
            namespace.ip(&["address", "add", &format!("{}/24", INNER[side]), "dev", &interface])?;
            namespace.ip(&["link", "set", &interface, "mtu", MTU, "up"])?;
        }
        Ok(Self { name: device.name, link, daemons, sides, folder, setconf: wait })
    }

    /// Runs a program on one side to its end and gives what it printed.
    pub(super) fn run(&self, side: usize, program: &str, arguments: &[&str]) -> Result<String> {
        self.sides[side].run(program, arguments)
    }

    /// Starts a program on one side.
    pub(super) fn spawn(&self, side: usize, program: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = self.sides[side].command(program);
        command.args(arguments);
        Process::spawn(program, command, &self.folder.0)
    }

    /// CPU seconds that both devices have used.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        self.daemons.iter().map(|daemon| cpu_seconds(daemon.pid())).sum()
    }

    /// Resident memory of the larger of the two devices, in megabytes (10^6 bytes).
    pub(super) fn resident_mb(&self) -> Result<f64> {
        let [a, b] = [resident_mb(self.daemons[0].pid())?, resident_mb(self.daemons[1].pid())?];
        Ok(a.max(b))
    }
}

/// Makes the keys of a node; gives its line for the other's file.
fn node_keys(ours: &Device, folder: &Path, side: usize) -> Result<String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = folder.join(format!("{side}.key"));
    let secret = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file)?;
    let made = Command::new(&ours.program).arg("keygen").stdout(secret).status()?;
    ensure!(made.success(), "keygen failed");
    let public = Command::new(&ours.program).arg("pubkey").stdin(fs::File::open(&file)?).output()?;
    let public = String::from_utf8(public.stdout)?;
    let line = |prefix: &str| public.lines().find(|line| line.starts_with(prefix)).context("no public key");
    Ok(format!("key = \"{}\"\ndisco = \"{}\"\n", line("nodekey:")?, line("discokey:")?))
}

fn node_config(side: usize, peer_keys: &str) -> String {
    let peer = 1 - side;
    format!(
        "key_file = \"{side}.key\"\naddresses = [\"{}/32\"]\nlisten = {}\nmtu = {MTU}\nfilter = \"allow-all\"\n\
         [[peer]]\n{peer_keys}name = \"peer\"\naddresses = [\"{}/32\"]\nendpoints = [\"{}:{}\"]\n",
        INNER[side], PORTS[side], INNER[peer], OUTER[peer], PORTS[peer],
    )
}

fn interface(side: usize) -> String {
    format!("twb{side}{}", process::id() % 10_000_000)
}

fn connect(link: Link, [a, b]: &[Namespace; 2]) -> Result<()> {
    a.ip(&["link", "add", "v0", "mtu", "1500", "type", "veth", "peer", "name", "v1", "mtu", "1500"])?;
    a.ip(&["link", "set", "v1", "netns", b.name()])?;
    for (side, namespace) in [a, b].into_iter().enumerate() {
        let cable = format!("v{side}");
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.ip(&["address", "add", &format!("{}/24", OUTER[side]), "dev", &cable])?;
        namespace.ip(&["link", "set", &cable, "up"])?;
        let features: &[&str] = match link {
            Link::Veth => continue,
            Link::Sw => &["tx-udp-segmentation", "off"],
            Link::Nic => &["tx-udp-segmentation", "off", "tso", "off", "gro", "on"],
        };
        namespace.run("ethtool", &[&["-K", &cable], features].concat())?;
    }
    Ok(())
}

fn start(device: &Device, side: &Namespace, interface: &str, folder: &Path) -> Result<Process> {
    use std::os::unix::net::UnixStream;
    let mut command = side.command(&device.program);
    command.args(&device.arguments).arg(interface);
    for level in ["WG_LOG_LEVEL", "LOG_LEVEL", "RUST_LOG"] {
        command.env(level, "error");
    }
    let mut daemon = Process::spawn(&format!("{}-{interface}", device.name), command, folder)?;
    let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
    eventually(PATIENCE, &format!("the socket of {}", device.name), || {
        daemon.check()?;
        // The file is there before anybody listens.
        Ok(UnixStream::connect(&socket).context("nobody listens"))
    })?;
    Ok(daemon)
}

/// Gives each side its key and peers; says how long each `wg setconf` took.
fn configure(sides: &[Namespace; 2], folder: &Path, extra: usize) -> Result<[Duration; 2]> {
    let key = |side: usize| Ok::<_, anyhow::Error>(sides[side].run("wg", &["genkey"])?.trim().to_owned());
    let secrets = [key(0)?, key(1)?];
    let mut took = [Duration::ZERO; 2];
    for side in 0..2 {
        let peer = 1 - side;
        let file = folder.join(format!("{peer}.key"));
        fs::write(&file, &secrets[peer])?;
        let public = sides[side].run("sh", &["-c", &format!("wg pubkey < {}", file.display())])?;
        let mut text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = {}/32\nEndpoint = {}:{}\n",
            secrets[side],
            PORTS[side],
            public.trim(),
            INNER[peer],
            OUTER[peer],
            PORTS[peer],
        );
        for at in 0..extra {
            // Any 32 bytes are a public key.
            let key = base64(&[&at.to_le_bytes()[..], &[side as u8 + 1; 24]].concat());
            write!(
                text,
                "[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{}.{}.1/32\n",
                100 + at / 256,
                at % 256
            )?;
        }
        let config = folder.join(format!("{side}.conf"));
        fs::write(&config, text)?;
        let start = now();
        sides[side].run("wg", &["setconf", &interface(side), &config.to_string_lossy()])?;
        took[side] = start.elapsed();
    }
    Ok(took)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let is_there = digit <= chunk.len();
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if is_there { DIGITS[value] as char } else { '=' });
        }
    }
    text
}

/// A temporary folder that goes with this value.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tidewire-bench-{}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is a temporary file.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
