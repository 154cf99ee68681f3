//! What tshark says of the datagrams that an end sends: which messages, how many, and whether anything about them is wrong.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::device::{End, PORT};
use crate::interop::kit::eventually;
use crate::interop::kit::lab::Lab;
use crate::interop::kit::process::Process;

const START: Duration = Duration::from_secs(60);

/// The least serious complaint of tshark; below it is chat, such as that a message is a keepalive.
const NOTE: &str = "0x00400000";

/// A capture that runs.
pub(super) struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Begins to write down what an end's host sends and receives.
    pub(super) fn start(lab: &Lab, end: &End<'_>) -> Result<Self> {
        let file = lab.folder().join(format!("{}.pcap", end.interface()));
        let path = file.to_str().context("a path that is not UTF-8")?;
        let filter = filter();
        let arguments = ["-q", "-i", "eth0", "-s", "2048", "-f", &filter, "-w", path];
        let mut process = end.host.spawn("tshark", "tshark".as_ref(), &arguments)?;
        eventually(START, "the start of a capture", || {
            process.check()?;
            // It writes the file's header when it listens.
            let length = std::fs::metadata(&file).map(|metadata| metadata.len());
            Ok(length.ok().filter(|length| *length > 0).context("nothing is written"))
        })?;
        Ok(Self { process, file })
    }

    /// Ends it.
    pub(super) fn stop(self) -> Result<Captured> {
        self.process.terminate()?;
        Ok(Captured(self.file))
    }
}

/// A capture that is complete.
pub(super) struct Captured(PathBuf);

/// How many messages of each type somebody sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Types {
    pub(super) initiations: usize,
    pub(super) responses: usize,
    pub(super) cookies: usize,
    pub(super) data: usize,
}

impl Captured {
    /// Whether tshark finds fault with nothing that `sender` sent, and with the receiver's private key finds in each of its
    /// initiations what belongs there. Says what was sent.
    pub(super) fn dissect(
        &self,
        sender: &End<'_>,
        addresses: &[IpAddr],
        receiver: &End<'_>,
    ) -> Result<Types> {
        let from = from(addresses);
        let bad = format!(
            "({from}) && (_ws.malformed || _ws.expert.severity >= {NOTE} || !wg || wg.reserved != 00:00:00)"
        );
        let complaints = self.read(sender, &["-Y", &bad])?;
        ensure!(complaints.is_empty(), "tshark complains of {}:\n{complaints}", sender.kind.name());
        let types = counted(&self.read(sender, &["-Y", &from, "-T", "fields", "-e", "wg.type"])?);
        let key = format!("uat:wg_keys:\"Private\",\"{}\"", receiver.secret);
        let right =
            format!("({from}) && wg.type == 1 && wg.static && wg.timestamp.value && wg.receiver_pubkey");
        let read = self.read(sender, &["-o", &key, "-Y", &right])?.lines().count();
        ensure!(
            read == types.initiations,
            "of {} initiations tshark could read {read} with the receiver's key",
            types.initiations
        );
        Ok(types)
    }

    fn read(&self, end: &End<'_>, arguments: &[&str]) -> Result<String> {
        let path = self.0.to_str().context("a path that is not UTF-8")?;
        end.host.run("tshark", &[&["-n", "-r", path], arguments].concat())
    }
}

/// Counts keepalives by who sent them, for so long: those from `ours`, and all others.
pub(super) fn keepalives(end: &End<'_>, ours: IpAddr, window: Duration) -> Result<(usize, usize)> {
    let (filter, duration) = (filter(), format!("duration:{}", window.as_secs()));
    // The shortest transport message is a keepalive: 32 bytes behind the 8 of UDP.
    let fields = ["-Y", "wg.type == 4 && udp.length == 40", "-T", "fields", "-e", "ip.src"];
    let arguments = ["-n", "-Q", "-l", "-i", "eth0", "-a", &duration, "-f", &filter];
    let seen = end.host.run("tshark", &[&arguments, &fields[..]].concat())?;
    let by_us = seen.lines().filter(|source| source.parse() == Ok(ours)).count();
    Ok((by_us, seen.lines().count() - by_us))
}

fn filter() -> String {
    format!("udp port {PORT}")
}

fn from(addresses: &[IpAddr]) -> String {
    let one = |address: &IpAddr| match address {
        IpAddr::V4(address) => format!("ip.src == {address}"),
        IpAddr::V6(address) => format!("ipv6.src == {address}"),
    };
    addresses.iter().map(one).collect::<Vec<_>>().join(" || ")
}

/// Each line is the number of a type.
fn counted(lines: &str) -> Types {
    let of = |number: &str| lines.lines().filter(|line| *line == number).count();
    Types { initiations: of("1"), responses: of("2"), cookies: of("3"), data: of("4") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_counted_and_senders_named() {
        let types = Types { initiations: 1, responses: 0, cookies: 1, data: 2 };
        assert_eq!(counted("1\n4\n\n4\n3\n"), types);
        let addresses: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(from(&addresses), "ip.src == 10.0.0.1 || ipv6.src == fd00::1");
    }
}
