//! How two stacks meet in virtual time: a seeded link with delay, loss, reordering, a rate and outages.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "each test uses a part of this"
)]

#[cfg(feature = "tokio")]
pub mod pair;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tidewire_netstack::{Config, Event, Local, SocketId, Stack, Status};
use tidewire_packet::{Batch, Plain, Pool};

/// The one place where tests take the time.
#[allow(clippy::disallowed_methods)]
pub fn t0() -> Instant {
    Instant::now()
}

/// A small generator (SplitMix64), so that a seed is a history.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What the link does to packets, both ways.
#[derive(Clone, Copy)]
pub struct Link {
    pub delay: Duration,
    /// Extra delay, up to this, drawn for each packet: reorders.
    pub jitter: Duration,
    /// Lost, per mille.
    pub loss: u64,
    /// Bytes a second; zero is endless.
    pub rate: u64,
    /// Bytes that wait for the rate; more is lost.
    pub queue: u64,
}

impl Link {
    pub const fn of(delay: Duration) -> Self {
        Self { delay, jitter: Duration::ZERO, loss: 0, rate: 0, queue: 1 << 20 }
    }
}

struct Flying {
    at: Instant,
    order: u64,
    to: usize,
    packet: Vec<u8>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub const A: usize = 0;
pub const B: usize = 1;

pub fn address(side: usize, v6: bool) -> IpAddr {
    let text = match (side, v6) {
        (A, false) => "100.64.0.1",
        (_, false) => "100.64.0.2",
        (A, true) => "fd7a:115c:a1e0::1",
        (_, true) => "fd7a:115c:a1e0::2",
    };
    text.parse().unwrap()
}

pub fn config(side: usize) -> Config {
    Config::new(vec![address(side, false), address(side, true)], [side as u8 + 1; 32])
}

/// Two stacks and what lies between them.
pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub stacks: [Stack; 2],
    pub pool: Pool,
    pub link: Link,
    pub dice: Dice,
    /// While set, everything is lost.
    pub cut: bool,
    pub events: [Vec<Event>; 2],
    /// Packets that were sent, for those who want to look.
    pub sent: [u64; 2],
    pub watch: Option<Box<dyn FnMut(usize, &[u8])>>,
    /// Whether receivers gather segments: of acknowledgements in a row, only the last one is sent.
    pub gathers: bool,
    /// What it says yes to is lost.
    pub sieve: Option<Box<dyn FnMut(usize, &[u8]) -> bool>>,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    free_at: [Instant; 2],
}

impl World {
    pub fn new(link: Link) -> Self {
        Self::with([config(A), config(B)], link)
    }

    pub fn with(configs: [Config; 2], link: Link) -> Self {
        let now = t0();
        let pool = Pool::default();
        let stacks = configs.map(|config| Stack::new(now, &config, pool.clone()).unwrap());
        Self {
            start: now,
            now,
            stacks,
            pool,
            link,
            dice: Dice(1),
            cut: false,
            events: [Vec::new(), Vec::new()],
            sent: [0; 2],
            watch: None,
            gathers: false,
            sieve: None,
            flying: BinaryHeap::new(),
            order: 0,
            free_at: [now; 2],
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Takes what both stacks want to send and what happened to them.
    pub fn flush(&mut self) {
        for side in [A, B] {
            while let Some(batch) = self.stacks[side].poll_transmit(self.now) {
                let mut packets = batch.iter().peekable();
                while let Some(packet) = packets.next() {
                    let more = packets.peek().is_some_and(|next| acknowledges(next));
                    if !(self.gathers && more && acknowledges(packet)) {
                        self.launch(side, packet);
                    }
                }
            }
            while let Some(event) = self.stacks[side].poll_event() {
                self.events[side].push(event);
            }
        }
    }

    fn launch(&mut self, from: usize, packet: &[u8]) {
        self.sent[from] += 1;
        if let Some(watch) = &mut self.watch {
            watch(from, packet);
        }
        let sieved = self.sieve.as_mut().is_some_and(|sieve| sieve(from, packet));
        if self.cut || sieved || self.dice.chance(self.link.loss) {
            return;
        }
        let mut at = self.now;
        if self.link.rate > 0 {
            let begins = self.free_at[from].max(self.now);
            let waiting = (begins - self.now).as_secs_f64() * self.link.rate as f64;
            if waiting as u64 > self.link.queue {
                return;
            }
            at = begins + Duration::from_secs_f64(packet.len() as f64 / self.link.rate as f64);
            self.free_at[from] = at;
        }
        let jitter = self.link.jitter.as_micros() as u64;
        at += self.link.delay + Duration::from_micros(if jitter > 0 { self.dice.below(jitter) } else { 0 });
        self.order += 1;
        self.flying.push(Reverse(Flying { at, order: self.order, to: 1 - from, packet: packet.to_vec() }));
    }

    /// Moves the time to the next thing that happens, at most to `until`, and lets it happen.
    pub fn step(&mut self, until: Instant) {
        self.flush();
        let arrival = self.flying.peek().map(|f| f.0.at);
        let timers = self.stacks.iter().filter_map(|stack| stack.next_event().map(|(at, _)| at));
        let next = timers.chain(arrival).min().unwrap_or(until).min(until);
        self.now = self.now.max(next);
        let mut arrived: [Option<Batch<Plain>>; 2] = [None, None];
        while self.flying.peek().is_some_and(|f| f.0.at <= self.now) {
            let Some(Reverse(flying)) = self.flying.pop() else { break };
            let pool = &self.pool;
            let batch = arrived[flying.to].get_or_insert_with(|| pool.batch(tidewire_packet::Class::Receive));
            batch.push(&flying.packet).unwrap();
        }
        for (side, batch) in arrived.into_iter().enumerate() {
            if let Some(batch) = batch {
                self.stacks[side].process_inbound(self.now, batch);
            }
        }
        self.flush();
    }

    /// Runs until `done` says so; panics after `most` of virtual time.
    pub fn run(&mut self, most: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let until = self.now + most;
        self.flush();
        while !done(self) {
            assert!(self.now < until, "not done after {most:?}");
            self.step(until);
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.flush();
        while self.now < until {
            self.step(until);
        }
    }

    pub fn status(&self, side: usize, id: SocketId) -> Status {
        self.stacks[side].status(id).unwrap()
    }

    pub fn inject(&mut self, side: usize, packet: &[u8]) {
        let batch = Batch::copy_of(&self.pool, packet).unwrap();
        self.stacks[side].process_inbound(self.now, batch);
        self.flush();
    }

    /// Everything on its way is lost.
    pub fn lose_all(&mut self) {
        self.flying.clear();
    }

    /// How many sockets a stack has.
    pub fn sockets(&self, side: usize) -> usize {
        self.stacks[side].tally().sockets()
    }

    /// A connection from A to B's port.
    pub fn connect(&mut self, port: u16) -> (SocketId, SocketId) {
        self.connect_by(port, false)
    }

    pub fn connect_by(&mut self, port: u16, v6: bool) -> (SocketId, SocketId) {
        let _ = self.stacks[B].listen(port);
        let a = self.stacks[A].dial(self.now, SocketAddr::new(address(B, v6), port)).unwrap();
        let mut b = None;
        self.run(Duration::from_secs(30), |world| {
            b = b.or_else(|| world.stacks[B].accept(Local::from(port)));
            b.is_some() && world.status(A, a).established
        });
        (a, b.unwrap())
    }
}

/// A stream of bytes that is known at every place, and its end.
pub struct Stream {
    pub from: (usize, SocketId),
    pub to: (usize, SocketId),
    pub len: u64,
    pub written: u64,
    pub read: u64,
    pattern: Pattern,
    /// At most so many bytes are read at a time.
    pub appetite: usize,
    pub shut: bool,
}

impl Stream {
    pub fn new(from: (usize, SocketId), to: (usize, SocketId), len: u64) -> Self {
        let pattern = Pattern::new(len ^ from.0 as u64);
        Self { from, to, len, written: 0, read: 0, pattern, appetite: usize::MAX, shut: true }
    }

    /// Writes and reads what is possible. Returns whether all has arrived, the end included.
    pub fn pump(&mut self, world: &mut World) -> bool {
        while self.written < self.len {
            let count = (self.len - self.written).min(16_384);
            let taken =
                world.stacks[self.from.0].send(self.from.1, &self.pattern.at(self.written)[..count as usize]);
            self.written += taken as u64;
            if (taken as u64) < count {
                break;
            }
        }
        if self.written == self.len && self.shut {
            self.shut = false;
            world.stacks[self.from.0].shutdown(self.from.1);
        }
        let mut bytes = Vec::new();
        world.stacks[self.to.0].recv(self.to.1, self.appetite, &mut bytes);
        for piece in bytes.chunks(16_384) {
            assert!(piece == &self.pattern.at(self.read)[..piece.len()], "other bytes from {} on", self.read);
            self.read += piece.len() as u64;
        }
        world.flush();
        self.read == self.len && world.stacks[self.to.0].status(self.to.1).is_none_or(|status| status.eof)
    }
}

/// Bytes that repeat after a prime number of them, so that no two segments are alike.
struct Pattern(Vec<u8>);

impl Pattern {
    const PERIOD: usize = 65_521;

    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut bytes: Vec<u8> = (0..Self::PERIOD).map(|_| dice.roll() as u8).collect();
        bytes.extend_from_within(..16_384);
        Self(bytes)
    }

    fn at(&self, at: u64) -> &[u8] {
        &self.0[(at % Self::PERIOD as u64) as usize..]
    }
}

/// What a TCP segment in an IPv4 or IPv6 packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub seq: u32,
    pub ack_number: u32,
    pub payload: usize,
    pub ports: (u16, u16),
}

pub fn look(packet: &[u8]) -> Option<Seen> {
    let header = tidewire_packet::IpHeader::parse(packet).ok()?;
    if header.protocol() != 6 {
        return None;
    }
    let t = &packet[header.header_len()..header.total_len()];
    let word = |at: usize| u32::from_be_bytes(t[at..at + 4].try_into().unwrap());
    Some(Seen {
        syn: t[13] & 2 != 0,
        ack: t[13] & 16 != 0,
        fin: t[13] & 1 != 0,
        rst: t[13] & 4 != 0,
        seq: word(4),
        ack_number: word(8),
        payload: t.len() - usize::from(t[12] >> 4) * 4,
        ports: header.ports(packet)?,
    })
}

fn acknowledges(packet: &[u8]) -> bool {
    look(packet).is_some_and(|seen| seen.ack && seen.payload == 0 && !(seen.syn || seen.fin || seen.rst))
}

/// Builds an IPv4 packet with right checksums around a transport header and payload whose checksum lies at `sum_at`.
pub fn ipv4(from: IpAddr, to: IpAddr, protocol: u8, transport: &[u8], sum_at: Option<usize>) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { panic!("IPv4 is asked for") };
    let len = (20 + transport.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = internet_checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(transport);
    if let Some(at) = sum_at {
        let mut summed = Vec::new();
        if protocol != 1 {
            summed.extend(from.octets());
            summed.extend(to.octets());
            summed.extend([0, protocol]);
            summed.extend((transport.len() as u16).to_be_bytes());
        }
        summed.extend(transport);
        let sum = internet_checksum(&summed);
        packet[20 + at..22 + at].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
