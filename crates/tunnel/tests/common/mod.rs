//! What the tests share: nodes that collect what they send, and a world of two in virtual time.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use std::time::{Duration, Instant};

use tidewire_keys::{Epoch, NodePublic, NodeSecret, PeerId, PresharedKey, Seed};
use tidewire_packet::{Batch, Class, Plain, Pool, Wire};
use tidewire_tunnel::{Config, Discard, Event, Opened, Out, PeerConfig, Shard, Source, To, Tunnel, Why};

pub(crate) const MTU: usize = 1420;
pub(crate) const PEER: PeerId = PeerId(7);

/// The base of all time in these tests.
#[allow(clippy::disallowed_methods)]
pub(crate) fn t0() -> Instant {
    use std::sync::OnceLock;
    static T0: OnceLock<Instant> = OnceLock::new();
    *T0.get_or_init(Instant::now)
}

pub(crate) fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

pub(crate) fn source(n: u8) -> Source {
    Source::new([n; 34], 32)
}

pub(crate) fn secret(n: u8) -> NodeSecret {
    NodeSecret::from_bytes([n; 32])
}

pub(crate) fn public(n: u8) -> NodePublic {
    secret(n).public()
}

pub(crate) fn psk(n: u8) -> PresharedKey {
    PresharedKey::from_bytes([n; 32])
}

/// A tunnel, with what it sent, received and said.
pub(crate) struct Node {
    pub(crate) tunnel: Tunnel,
    pub(crate) pool: Pool,
    pub(crate) key: NodePublic,
    pub(crate) out: Out,
    /// Datagrams sent and not taken yet.
    pub(crate) sent: Vec<(To, Vec<u8>)>,
    /// Packets opened, keepalives as empty ones.
    pub(crate) received: Vec<(PeerId, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    /// Each wake-up that was asked for and served.
    pub(crate) woken: Vec<(Instant, Why)>,
}

impl Node {
    pub(crate) fn new(n: u8) -> Self {
        Self::at(n, t0())
    }

    pub(crate) fn at(n: u8, now: Instant) -> Self {
        Self::with(n, now, Epoch::new(Duration::from_secs(1_700_000_000)), Shard::default())
    }

    pub(crate) fn with(n: u8, now: Instant, epoch: Epoch, shard: Shard) -> Self {
        let pool = Pool::default();
        let config = Config { secret: secret(n), epoch, pool: pool.clone(), shard, mtu: MTU };
        Self {
            tunnel: Tunnel::new(now, config, &Seed::new([n; 32])),
            pool,
            key: public(n),
            out: Out::default(),
            sent: Vec::new(),
            received: Vec::new(),
            events: Vec::new(),
            woken: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, now: Instant, id: PeerId, config: PeerConfig) {
        self.tunnel.set_peer(now, id, config, &mut self.out);
        self.collect();
    }

    pub(crate) fn batch(&self, packets: &[&[u8]]) -> Batch<Plain> {
        let mut batch = self.pool.batch(Class::Send);
        for packet in packets {
            let padded = tidewire_packet::padded_len(packet.len(), MTU);
            batch.reserve(packet.len(), padded).unwrap().copy_from_slice(packet);
        }
        batch
    }

    pub(crate) fn send(&mut self, now: Instant, id: PeerId, packet: &[u8]) {
        self.send_all(now, id, &[packet]);
    }

    pub(crate) fn send_all(&mut self, now: Instant, id: PeerId, packets: &[&[u8]]) {
        let mut to = vec![id; packets.len()];
        let sealed = self.tunnel.seal(now, self.batch(packets), &mut to, &mut self.out);
        assert_eq!(sealed.len(), to.len());
        self.collect();
        self.sent.extend(sealed.iter().zip(to).map(|(datagram, id)| (To::Peer(id), datagram.to_vec())));
    }

    pub(crate) fn hear(&mut self, now: Instant, source: Source, datagram: &[u8]) {
        if datagram.first() == Some(&4) {
            let mut opened: Vec<Opened> = Vec::new();
            let mut batch: Batch<Wire> = self.pool.batch(Class::Send);
            batch.push(datagram).unwrap();
            let plain = self.tunnel.open(now, batch, &mut opened, &mut self.out);
            assert_eq!(plain.len(), opened.len());
            self.received.extend(plain.iter().zip(&opened).map(|(packet, one)| (one.peer, packet.to_vec())));
        } else {
            self.tunnel.handshake(now, source, datagram, &mut self.out);
        }
        self.collect();
    }

    /// Serves what is due, as the driver would.
    pub(crate) fn run(&mut self, now: Instant) {
        while let Some((at, why)) = self.tunnel.next_event().filter(|&(at, _)| at <= now) {
            self.woken.push((at, why));
            self.tunnel.process_events(now, &mut self.out);
            self.collect();
        }
    }

    pub(crate) fn collect(&mut self) {
        for outgoing in self.out.datagrams.drain(..) {
            self.sent.extend(outgoing.batch.iter().map(|datagram| (outgoing.to, datagram.to_vec())));
        }
        self.events.append(&mut self.out.events);
    }

    pub(crate) fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).map(|(_, datagram)| datagram).collect()
    }

    /// Takes what was received, without keepalives.
    pub(crate) fn take_data(&mut self) -> Vec<Vec<u8>> {
        self.received.drain(..).map(|(_, packet)| packet).filter(|packet| !packet.is_empty()).collect()
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn discarded(&self, reason: Discard) -> u64 {
        self.tunnel.discards().get(reason)
    }
}

/// The type of a message.
pub(crate) fn kinds(datagrams: &[Vec<u8>]) -> Vec<u8> {
    datagrams.iter().map(|datagram| datagram[0]).collect()
}

/// Two nodes that know each other as [`PEER`], and a link without delay between them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) a: Node,
    pub(crate) b: Node,
    /// Whether the link loses everything from a to b, and from b to a.
    pub(crate) cut: (bool, bool),
    /// Everything that was sent: when, whether by a, and the datagram.
    pub(crate) log: Vec<(Instant, bool, Vec<u8>)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    pub(crate) fn with(change: impl Fn(&mut PeerConfig, &mut PeerConfig)) -> Self {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        let (mut of_a, mut of_b) = (PeerConfig::new(b.key), PeerConfig::new(a.key));
        change(&mut of_a, &mut of_b);
        a.add(t0(), PEER, of_a);
        b.add(t0(), PEER, of_b);
        Self { now: t0(), a, b, cut: (false, false), log: Vec::new() }
    }

    /// With a session, begun by a, and nothing under way.
    pub(crate) fn connected() -> Self {
        let mut world = Self::new();
        world.connect();
        world
    }

    pub(crate) fn connect(&mut self) {
        self.a.tunnel.initiate(self.now, PEER, &mut self.a.out);
        self.settle();
        for node in [&mut self.a, &mut self.b] {
            let established = |event: &Event| matches!(event, Event::Established { .. });
            assert!(node.take_events().iter().any(established));
            node.received.clear();
        }
        self.log.clear();
    }

    /// Carries datagrams to and fro until nothing moves.
    pub(crate) fn settle(&mut self) {
        loop {
            self.a.collect();
            self.b.collect();
            self.a.run(self.now);
            self.b.run(self.now);
            let (from_a, from_b) = (self.a.take_sent(), self.b.take_sent());
            if from_a.is_empty() && from_b.is_empty() {
                return;
            }
            for datagram in from_a {
                if !self.cut.0 {
                    self.b.hear(self.now, source(1), &datagram);
                }
                self.log.push((self.now, true, datagram));
            }
            for datagram in from_b {
                if !self.cut.1 {
                    self.a.hear(self.now, source(2), &datagram);
                }
                self.log.push((self.now, false, datagram));
            }
        }
    }

    /// Lets time go by from event to event.
    pub(crate) fn advance(&mut self, by: f64) {
        let end = self.now + secs(by);
        self.settle();
        loop {
            let next = [self.a.tunnel.next_event(), self.b.tunnel.next_event()];
            match next.into_iter().flatten().map(|(at, _)| at).min() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn send_a(&mut self, packet: &[u8]) {
        self.a.send(self.now, PEER, packet);
        self.settle();
    }

    pub(crate) fn send_b(&mut self, packet: &[u8]) {
        self.b.send(self.now, PEER, packet);
        self.settle();
    }

    /// When messages of this type were sent by a (or b), in seconds since `since`.
    pub(crate) fn times(&self, by_a: bool, kind: u8, since: Instant) -> Vec<f64> {
        let matching = self.log.iter().filter(|(_, from_a, datagram)| *from_a == by_a && datagram[0] == kind);
        matching.map(|(at, _, _)| at.duration_since(since).as_secs_f64()).collect()
    }

    /// When keepalives were sent by a (or b), in seconds since `since`.
    pub(crate) fn keepalives(&self, by_a: bool, since: Instant) -> Vec<f64> {
        let matching =
            self.log.iter().filter(|(_, from_a, datagram)| *from_a == by_a && is_keepalive(datagram));
        matching.map(|(at, _, _)| at.duration_since(since).as_secs_f64()).collect()
    }
}

pub(crate) fn is_keepalive(datagram: &[u8]) -> bool {
    datagram[0] == 4 && datagram.len() == 32
}
