//! What has to pass between two ends: UDP of every size and TCP, IPv4 and IPv6, both ways, and whole.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::device::{End, full_payload};
use crate::interop::kit::eventually;
use crate::interop::kit::http::Fetched;
use crate::interop::kit::process::Process;
use crate::interop::kit::udp::Probed;

const ECHO: u16 = 7;
const HTTP: u16 = 80;
/// Five initiations, should four get lost; or a peer that first has to notice that the other has forgotten it.
const CONNECT: Duration = Duration::from_secs(90);
const PACKETS: u64 = 80;
const TRANSFER: u64 = 2 * 1024 * 1024;

/// The servers of one end.
pub(super) struct Servers([Process; 2]);

impl Servers {
    pub(super) fn start(end: &End<'_>, this: &Path) -> Result<Self> {
        let udp = format!("[::]:{ECHO}");
        let tcp = format!("[::]:{HTTP}");
        Ok(Self([
            end.host.spawn("udp", this, &["udp-echo", "--listen", &udp])?,
            end.host.spawn("http", this, &["http-serve", "--listen", &tcp])?,
        ]))
    }

    pub(super) fn check(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(Process::check)
    }
}

/// Sends until there is an answer.
pub(super) fn connect(from: &End<'_>, to: &End<'_>, this: &Path) -> Result<()> {
    let [four, _] = to.inner;
    eventually(CONNECT, &format!("an answer to {} from {}", from.kind.name(), to.kind.name()), || {
        let probed = probe(from, four, this, &[64], 1, 0, 1000)?;
        Ok(if probed.lost == 0 { Ok(()) } else { Err(anyhow::anyhow!("none in a second")) })
    })
}

/// Everything, both ways, nothing changed, and next to nothing lost: just after a move a network may lose something.
pub(super) fn everything(a: &End<'_>, b: &End<'_>, this: &Path) -> Result<()> {
    for (from, to) in [(a, b), (b, a)] {
        for address in to.inner {
            let what = || format!("from {} to {} at {address}", from.kind.name(), to.kind.name());
            // Tiny, odd, as large as the tunnel carries, and in fragments.
            let sizes = [0, 1, 15, 16, 500, full_payload(address) - 1, full_payload(address), 4000];
            let probed = probe(from, address, this, &sizes, PACKETS, 0, 2000).with_context(what)?;
            ensure!(probed.lost <= PACKETS / 20 && probed.strange == 0, "{}: {probed:?}", what());
            fetch(from, address, this, TRANSFER, None).with_context(what)?;
        }
    }
    Ok(())
}

/// Sends datagrams that are answered.
pub(super) fn probe(
    from: &End<'_>,
    to: IpAddr,
    this: &Path,
    sizes: &[u16],
    count: u64,
    every_millis: u64,
    patience_millis: u64,
) -> Result<Probed> {
    let sizes: Vec<String> = sizes.iter().map(u16::to_string).collect();
    let (to, sizes, count) = (SocketAddr::new(to, ECHO).to_string(), sizes.join(","), count.to_string());
    let (every, patience) = (every_millis.to_string(), patience_millis.to_string());
    let numbers = ["--count", &count, "--every-millis", &every, "--patience-millis", &patience];
    let json =
        from.host.run(this, &[&["udp-probe", "--to", &to, "--sizes", &sizes], &numbers[..]].concat())?;
    Ok(serde_json::from_str(&json)?)
}

/// Fetches a file by TCP, checked by its hash.
pub(super) fn fetch(
    by: &End<'_>,
    from: IpAddr,
    this: &Path,
    bytes: u64,
    rate: Option<u64>,
) -> Result<Fetched> {
    let (from, bytes) = (SocketAddr::new(from, HTTP).to_string(), bytes.to_string());
    let rate = rate.map(|rate| rate.to_string());
    let rate: Vec<&str> = rate.iter().flat_map(|rate| ["--rate", rate]).collect();
    let arguments = ["http-fetch", "--from", &from, "--bytes", &bytes, "--seed", &bytes];
    Ok(serde_json::from_str(&by.host.run(this, &[&arguments, &rate[..]].concat())?)?)
}
