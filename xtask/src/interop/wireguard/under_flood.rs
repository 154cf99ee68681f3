//! A flood of handshakes from nowhere: who is flooded asks for cookies, and its peers hardly notice.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Stand;
use super::device::{End, Kind, PORT, hex_of, v4};
use super::talk::{Servers, connect, everything, fetch};
use crate::interop::kit::eventually;
use crate::interop::kit::flood::PACKET;
use crate::interop::kit::lab::Host;
use crate::interop::kit::process::Process;
use crate::report::now;

/// Where nobody listens.
const CLOSED: u16 = 9;
const RATE: u32 = 50_000;
const STRANGER: u8 = 250;
/// The network that the stranger says it is, all 65,536 addresses of it.
const CROWD: &str = "10.99.0.0";
const FRIEND: u8 = 241;
/// The second one to be flooded; the next address is its peer's.
const VICTIM: u8 = 230;
const NEWCOMERS: [Kind; 4] = [Kind::Tidewire, Kind::WireguardGo, Kind::Boringtun, Kind::Gotatun];
const NET: u8 = 99;
/// How long the unloaded transfer takes about, and the one at half its rate twice as long.
const TRANSFER: Duration = Duration::from_secs(3);
const SAMPLE: u64 = 64 * 1024 * 1024;
/// Three times what it has elsewhere.
const MOST_RESIDENT_KB: u64 = 24 * 1024;
/// A cookie reply with its headers, as the stranger's firewall counts it.
const COOKIE: u64 = 28 + 64;

/// Floods Tidewire, and then wireguard-go, whose cookies Tidewire has to use.
pub(super) fn play(stand: &Stand<'_>) -> Result<()> {
    our_cookies(stand).context("Tidewire flooded")?;
    their_cookies(stand).context("wireguard-go flooded")
}

fn our_cookies(stand: &Stand<'_>) -> Result<()> {
    let Stand { lab, programs } = *stand;
    let this = &programs.this;
    let victim = End::new(lab, programs, Kind::Tidewire, 240, (NET, 1))?;
    let friend = End::new(lab, programs, Kind::Tidewire, FRIEND, (NET, 2))?;
    let newcomers =
        (0..).zip(NEWCOMERS).map(|(n, kind)| End::new(lab, programs, kind, FRIEND + 1 + n, (NET, 3 + n)));
    let newcomers: Vec<End<'_>> = newcomers.collect::<Result<_>>()?;
    let psk = victim.host.run("wg", &["genpsk"])?.trim().to_owned();
    let mut peers = vec![friend.peer(&psk, None)];
    peers.extend(newcomers.iter().map(|newcomer| newcomer.peer(&psk, None)));
    let mut device = victim.start(&peers)?;
    let endpoint = Some((v4(240), PORT).into());
    let _friend_device = friend.start(&[victim.peer(&psk, endpoint)])?;
    let started = newcomers.iter().map(|newcomer| newcomer.start(&[victim.peer(&psk, endpoint)]));
    let _devices: Vec<Process> = started.collect::<Result<_>>()?;
    let _servers = [Servers::start(&victim, this)?, Servers::start(&friend, this)?];
    connect(&friend, &victim, this)?;

    let stranger = Stranger::arrive(stand, &victim, ("stranger", STRANGER), v4(240))?;
    let load = Load::measure(&victim, &friend, stand)?;
    let closed = stranger.while_flooding(CLOSED, || load.run(&victim, &friend, stand))?;
    ensure!(closed.cookies == 0, "{} cookies from a closed port", closed.cookies);
    let open = stranger.while_flooding(PORT, || {
        let millis = load.run(&victim, &friend, stand)?;
        for newcomer in &newcomers {
            connect(newcomer, &victim, this).context("under the flood")?;
        }
        Ok(millis)
    })?;
    device.check()?;
    judge(&load, &closed, &open, resident_kb(&device)?)?;
    everything(&friend, &victim, this).context("after the flood")?;
    device.terminate()
}

/// Tidewire gets through to a peer that is flooded.
fn their_cookies(stand: &Stand<'_>) -> Result<()> {
    let Stand { lab, programs } = *stand;
    let victim = End::new(lab, programs, Kind::WireguardGo, VICTIM, (NET, 1))?;
    let newcomer = End::new(lab, programs, Kind::Tidewire, VICTIM + 1, (NET, 2))?;
    let psk = victim.host.run("wg", &["genpsk"])?.trim().to_owned();
    let _device = victim.start(&[newcomer.peer(&psk, None)])?;
    let device = newcomer.start(&[victim.peer(&psk, Some((v4(VICTIM), PORT).into()))])?;
    let _servers = Servers::start(&victim, &programs.this)?;
    let stranger = Stranger::arrive(stand, &victim, ("stranger2", STRANGER + 1), v4(VICTIM))?;
    let flooded = stranger.while_flooding(PORT, || connect(&newcomer, &victim, &programs.this))?;
    println!("  flood: {} packets/s to wireguard-go, {} cookies", flooded.per_second, flooded.cookies);
    ensure!(flooded.cookies > 0, "wireguard-go asked for no cookie");
    device.terminate()
}

/// How much longer than beside a closed port the data may take: how fast it is depends on what else the machine does. That it keeps
/// flowing is what the transfer itself demands, which ends when nothing comes for a while.
const CEILING: (u64, u64) = (4, 20_000);

fn judge(load: &Load, closed: &Flooded<u64>, open: &Flooded<u64>, resident_kb: u64) -> Result<()> {
    println!(
        "  flood: {} packets/s to a closed port, {} to Tidewire, {} cookies",
        closed.per_second, open.per_second, open.cookies
    );
    println!(
        "  flood: {} MB at half of {} Mbit/s took {} ms beside the closed port, {} ms through the flood; {} kB resident",
        load.bytes / 1_000_000,
        load.rate * 8 * 2 / 1_000_000,
        closed.result,
        open.result,
        resident_kb
    );
    ensure!(open.per_second >= u64::from(RATE) / 2, "that was no flood: {} packets/s", open.per_second);
    ensure!(open.cookies >= 1000, "only {} cookies were asked for", open.cookies);
    ensure!(
        open.result <= closed.result * CEILING.0 + CEILING.1,
        "{} ms through the flood, {} ms beside it",
        open.result,
        closed.result
    );
    ensure!(resident_kb <= MOST_RESIDENT_KB, "{resident_kb} kB are resident");
    Ok(())
}

/// A transfer to the victim at half the rate that it has when nothing else goes on.
struct Load {
    bytes: u64,
    /// Bytes per second.
    rate: u64,
}

impl Load {
    fn measure(victim: &End<'_>, friend: &End<'_>, stand: &Stand<'_>) -> Result<Self> {
        let fetched = fetch(victim, friend.inner[0], &stand.programs.this, SAMPLE, None)?;
        let whole = SAMPLE * 1000 / fetched.millis.max(1);
        Ok(Self { bytes: whole * TRANSFER.as_secs(), rate: whole / 2 })
    }

    /// In milliseconds.
    fn run(&self, victim: &End<'_>, friend: &End<'_>, stand: &Stand<'_>) -> Result<u64> {
        let fetched = fetch(victim, friend.inner[0], &stand.programs.this, self.bytes, Some(self.rate))?;
        Ok(fetched.millis)
    }
}

/// A host that knows the victim's public key.
struct Stranger<'a> {
    host: Host,
    key: String,
    stand: Stand<'a>,
    to: Ipv4Addr,
}

/// What went on during a flood.
struct Flooded<T> {
    result: T,
    cookies: u64,
    per_second: u64,
}

impl<'a> Stranger<'a> {
    fn arrive(stand: &Stand<'a>, victim: &End<'_>, (name, place): (&str, u8), to: Ipv4Addr) -> Result<Self> {
        let host = stand.lab.host(name, v4(place))?;
        // Answers come back, to be counted.
        let (crowd, via) = (format!("{CROWD}/16"), v4(place).to_string());
        victim.host.run("ip", &["route", "add", &crowd, "via", &via])?;
        host.nft(&firewall(&crowd))?;
        let key = hex_of(&host, &victim.public)?;
        Ok(Self { host, key, stand: *stand, to })
    }

    /// Does something while the flood goes on.
    fn while_flooding<T>(&self, port: u16, what: impl FnOnce() -> Result<T>) -> Result<Flooded<T>> {
        let before = self.counted()?;
        let to = format!("{}:{port}", self.to);
        let rate = RATE.to_string();
        let arguments = ["wg-flood", "--to", &to, "--key", &self.key, "--from", CROWD, "--rate", &rate];
        let mut flood = self.host.spawn("flood", &self.stand.programs.this, &arguments)?;
        eventually(Duration::from_secs(30), "the flood", || {
            flood.check()?;
            let begun = self.counted()?.0 > before.0 + 1000;
            Ok(begun.then_some(()).context("it has not begun"))
        })?;
        let (start, sent): (Instant, u64) = (now(), self.counted()?.0);
        let result = what()?;
        flood.check()?;
        let (sent_at_end, cookies) = self.counted()?;
        let millis = u64::try_from(start.elapsed().as_millis())?.max(1);
        Ok(Flooded { result, cookies: cookies - before.1, per_second: (sent_at_end - sent) * 1000 / millis })
    }

    /// Packets sent, and cookies received.
    fn counted(&self) -> Result<(u64, u64)> {
        let sent = self.host.counted_bytes("lab", "sent")? / PACKET as u64;
        Ok((sent, self.host.counted_bytes("lab", "cookies")? / COOKIE))
    }
}

/// A cookie reply is what begins with a 3 and is 64 bytes long.
fn firewall(crowd: &str) -> String {
    format!(
        "table inet lab {{
            counter sent {{ }}
            counter cookies {{ }}
            chain out {{
                type filter hook output priority 0;
                ip saddr {crowd} counter name sent
            }}
            chain in {{
                type filter hook prerouting priority 0;
                ip daddr {crowd} udp length 72 @th,64,32 0x03000000 counter name cookies
            }}
        }}\n"
    )
}

fn resident_kb(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
