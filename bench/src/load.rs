//! Load on a relay: pairs of clients in a closed loop, over TLS, and clients that do nothing.

mod client;
mod pair;

use std::{fs, io, net::SocketAddr, rc::Rc, time::Duration};

use serde::Serialize;
use tidewire_clock as clock;
use tidewire_keys::NodeSecret;
use tokio::task::LocalSet;

use client::{Client, Connector};
use pair::Pair;

/// One case of load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Where the relay serves.
    pub addr: SocketAddr,
    /// Its process, whose CPU time is read.
    pub pid: u32,
    /// Senders, each with a receiver of its own.
    pub pairs: usize,
    /// Bytes of a packet, at least 16.
    pub size: usize,
    /// Packets that a sender has on the way at most.
    pub window: u64,
    /// Whether a sender writes all that its window allows at once, or each packet alone, as Tailscale's clients do.
    pub is_batching: bool,
    /// How long to measure.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    /// Packets that arrived, for each second.
    pub packets_per_s: f64,
    /// The same for each second of the relay's CPU time.
    pub packets_per_cpu_s: f64,
    /// Of all packets that were sent, those that never arrived.
    pub lost: f64,
    /// Microseconds from sender to receiver, for one half of the packets and for all but a hundredth.
    pub p50_us: u64,
    /// See [`p50_us`](Self::p50_us).
    pub p99_us: u64,
}

/// Before this, the window is filled and the relay grows its buffers.
const WARM_UP: Duration = Duration::from_millis(500);

/// What has not arrived so long after the last packet was sent never will.
const LEFT: Duration = Duration::from_millis(500);

impl Load {
    /// Connects all clients and measures.
    ///
    /// # Errors
    /// What the system or the relay said.
    pub async fn run(&self) -> io::Result<Figures> {
        LocalSet::new().run_until(self.measure()).await
    }

    async fn measure(&self) -> io::Result<Figures> {
        let connector = Connector::new();
        let mut pairs = Vec::with_capacity(self.pairs);
        for _ in 0..self.pairs {
            let (from, to) = (fresh_key()?, fresh_key()?);
            let receiver = Client::connect(&connector, self.addr, &to).await?;
            let sender = Client::connect(&connector, self.addr, &from).await?;
            pairs.push(Pair::start(sender, receiver, to.public(), self));
        }
        clock::sleep(WARM_UP).await;
        pairs.iter().for_each(|pair| pair.forget_delays());
        let (start, cpu) = (clock::now(), cpu_seconds(self.pid)?);
        let before = received(&pairs);
        clock::sleep(self.time).await;
        let (took, cpu) = ((clock::now() - start).as_secs_f64(), cpu_seconds(self.pid)? - cpu);
        let packets = (received(&pairs) - before) as f64;
        let mut delays = Vec::new();
        pairs.iter().for_each(|pair| pair.take_delays(&mut delays));
        pairs.iter().for_each(|pair| pair.stop());
        clock::sleep(LEFT).await;
        let (mut sent, mut arrived) = (0, 0);
        for pair in &pairs {
            // A client that was cut off would count as one that loses nothing.
            if let Some(failure) = pair.failure() {
                return Err(failure);
            }
            sent += pair.sent();
            arrived += pair.received();
        }
        delays.sort_unstable();
        let at = |part: f64| delays.get((delays.len() as f64 * part) as usize).copied().unwrap_or(0);
        Ok(Figures {
            packets_per_s: packets / took,
            packets_per_cpu_s: packets / cpu.max(0.01),
            lost: (sent - arrived) as f64 / sent.max(1) as f64,
            p50_us: at(0.5),
            p99_us: at(0.99),
        })
    }
}

fn received(pairs: &[Rc<Pair>]) -> u64 {
    pairs.iter().map(|pair| pair.received()).sum()
}

/// Kilobytes (1024 bytes) by which the relay grows for each of `clients` that log in and then do nothing.
///
/// # Errors
/// What the system or the relay said.
pub async fn idle(addr: SocketAddr, pid: u32, clients: usize) -> io::Result<f64> {
    let connector = Connector::new();
    let before = resident_kb(pid)?;
    let mut idle = Vec::with_capacity(clients);
    for _ in 0..clients {
        idle.push(Client::connect(&connector, addr, &fresh_key()?).await?.into_idle());
    }
    // A collector of garbage, if the relay has one, is to have had its turn.
    clock::sleep(Duration::from_secs(2)).await;
    Ok((resident_kb(pid)? - before) / clients as f64)
}

fn fresh_key() -> io::Result<NodeSecret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(NodeSecret::from_bytes(bytes))
}

/// User and system time of a process, all its threads.
fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything. Ticks are hundredths of a second for every program.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / 100.0)
}

fn resident_kb(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kb.ok_or_else(|| io::Error::other("a process without memory"))
}
