//! How a WireGuard device of any of the four programs is started in a host, configured and asked, by `wg` and `ip` alone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Programs;
use crate::interop::kit::eventually;
use crate::interop::kit::lab::{Host, Lab};
use crate::interop::kit::process::Process;

/// Every device listens here, where tshark looks for WireGuard.
pub(super) const PORT: u16 = 51820;
pub(super) const MTU: u16 = 1420;

/// Where all of them serve `wg`. It is not part of a network namespace, so interfaces have names of their own.
const SOCKETS: &str = "/var/run/wireguard";
/// All interfaces begin so; then comes the process that made them.
const PREFIX: &str = "tw";
const START: Duration = Duration::from_secs(60);

/// A program that makes WireGuard devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tidewire,
    WireguardGo,
    Boringtun,
    Gotatun,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tidewire => "tidewire",
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun",
            Self::Gotatun => "gotatun",
        }
    }

    /// What starts it in the foreground, before the interface's name.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Tidewire => &["wg"],
            Self::WireguardGo => &["-f"],
            Self::Boringtun | Self::Gotatun => &["-f", "--disable-drop-privileges"],
        }
    }
}

/// One end of a tunnel: where it stands and who it is, whether or not it runs.
pub(super) struct End<'a> {
    pub(super) kind: Kind,
    pub(super) host: Host,
    pub(super) inner: [IpAddr; 2],
    pub(super) secret: String,
    pub(super) public: String,
    interface: String,
    lab: &'a Lab,
    programs: &'a Programs,
}

/// What an end is told of another.
pub(super) struct Peer<'a> {
    pub(super) public: &'a str,
    pub(super) psk: &'a str,
    pub(super) allowed: [IpAddr; 2],
    pub(super) endpoint: Option<SocketAddr>,
}

impl<'a> End<'a> {
    /// A host with outer addresses that end in `outer`, and inner addresses that end in `inner`, of network `net`.
    pub(super) fn new(
        lab: &'a Lab,
        programs: &'a Programs,
        kind: Kind,
        outer: u8,
        (net, inner): (u8, u8),
    ) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let host = lab.host(&format!("{}{number}", &kind.name()[..4]), v4(outer))?;
        host.run("ip", &["address", "add", &format!("{}/64", v6(outer)), "dev", "eth0", "nodad"])?;
        // So that what leaves is seen in the pieces that the network sees.
        host.run("ethtool", &["--offload", "eth0", "tx-udp-segmentation", "off"])?;
        let secret = host.run("wg", &["genkey"])?.trim().to_owned();
        let public = host.run("sh", &["-c", "echo \"$0\" | wg pubkey", &secret])?.trim().to_owned();
        Ok(Self {
            kind,
            host,
            inner: [Ipv4Addr::new(10, 66, net, inner).into(), inner_v6(net, inner).into()],
            secret,
            public,
            interface: format!("{PREFIX}{}x{number}", process::id()),
            lab,
            programs,
        })
    }

    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    /// How this end is told to another.
    pub(super) fn peer<'p>(&'p self, psk: &'p str, endpoint: Option<SocketAddr>) -> Peer<'p> {
        Peer { public: &self.public, psk, allowed: self.inner, endpoint }
    }

    /// Starts the program and configures the device.
    pub(super) fn start(&self, peers: &[Peer<'_>]) -> Result<Process> {
        let path = self.programs.path(self.kind);
        let arguments = [self.kind.arguments(), &[&self.interface]].concat();
        let mut process = self.host.spawn("wg", path, &arguments)?;
        eventually(START, "a device that answers", || {
            process.check()?;
            Ok(self.host.run("wg", &["show", &self.interface]))
        })?;
        self.configure(peers)?;
        let [four, six] = self.inner;
        let device = ["dev", &self.interface];
        self.ip(&[&["address", "add", &format!("{four}/24")], &device[..]].concat())?;
        self.ip(&[&["address", "add", &format!("{six}/64")], &device[..], &["nodad"]].concat())?;
        self.ip(&["link", "set", &self.interface, "mtu", &MTU.to_string(), "up"])?;
        Ok(process)
    }

    fn configure(&self, peers: &[Peer<'_>]) -> Result<()> {
        let mut text = format!("[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n", self.secret);
        for peer in peers {
            let [four, six] = peer.allowed;
            text += &format!("[Peer]\nPublicKey = {}\nPresharedKey = {}\n", peer.public, peer.psk);
            text += &format!("AllowedIPs = {four}/32, {six}/128\n");
            text += &peer.endpoint.map_or(String::new(), |endpoint| format!("Endpoint = {endpoint}\n"));
        }
        let file = self.lab.file(&format!("{}.conf", self.interface), &text)?;
        self.host.run("wg", &["setconf", &self.interface, text_of(&file)?])?;
        Ok(())
    }

    /// Changes something of one peer while the device runs.
    pub(super) fn set_peer(&self, public: &str, what: &[&str]) -> Result<()> {
        self.host.run("wg", &[&["set", &self.interface, "peer", public], what].concat())?;
        Ok(())
    }

    /// What `wg show` says of the only peer under this word.
    pub(super) fn shown(&self, word: &str) -> Result<String> {
        let shown = self.host.run("wg", &["show", &self.interface, word])?;
        let (_, value) = shown.trim().split_once('\t').with_context(|| format!("no peer in `{shown}`"))?;
        Ok(value.to_owned())
    }

    /// How many seconds ago the last handshake was.
    pub(super) fn last_handshake(&self) -> Result<u64> {
        let told: u64 = self.shown("latest-handshakes")?.parse()?;
        // boringtun 0.7.1 tells how long ago it was where the protocol wants the time.
        if self.kind == Kind::Boringtun {
            return Ok(told);
        }
        let now: u64 = self.host.run("date", &["+%s"])?.trim().parse()?;
        now.checked_sub(told).context("a handshake in the future")
    }

    /// Takes the other outer address in place of the one that it has.
    pub(super) fn move_to(&self, from: u8, to: u8) -> Result<()> {
        self.ip(&["address", "delete", &format!("{}/24", v4(from)), "dev", "eth0"])?;
        self.ip(&["address", "add", &format!("{}/24", v4(to)), "dev", "eth0"])
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        self.host.run("ip", arguments)?;
        Ok(())
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        // Who was killed leaves its socket; who was not has removed it.
        let _ = fs::remove_file(socket(&self.interface));
    }
}

/// Removes the sockets that a killed scenario left.
pub(super) fn remove_orphans() -> Result<()> {
    fs::create_dir_all(SOCKETS)?;
    for entry in fs::read_dir(SOCKETS)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
        if maker.and_then(|pid| pid.parse::<u32>().ok()).is_some_and(|pid| !is_alive(pid)) {
            fs::remove_file(Path::new(SOCKETS).join(name))?;
        }
    }
    Ok(())
}

fn is_alive(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

fn socket(interface: &str) -> PathBuf {
    Path::new(SOCKETS).join(format!("{interface}.sock"))
}

/// The outer addresses.
pub(super) fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

pub(super) fn v6(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into())
}

fn inner_v6(net: u8, last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd66, net.into(), 0, 0, 0, 0, 0, last.into())
}

/// The largest UDP payload of one packet in the tunnel.
pub(super) fn full_payload(inner: IpAddr) -> u16 {
    MTU - 8 - if inner.is_ipv4() { 20 } else { 40 }
}

fn text_of(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// A public key as the 64 digits that the flooder takes.
pub(super) fn hex_of(host: &Host, base64: &str) -> Result<String> {
    let hex = host.run("sh", &["-c", "echo \"$0\" | base64 -d | od -An -v -tx1 | tr -d ' \\n'", base64])?;
    ensure!(hex.len() == 64, "`{base64}` is no key");
    Ok(hex)
}
