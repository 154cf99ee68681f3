//! The world of the attacked tunnel: the tunnel, a mad peer and a good one, and a link that remembers everything.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use blake2::digest::{FixedOutput as _, Mac as _, consts::U16};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use tidewire_keys::{Epoch, NodePublic, NodeSecret, PeerId, PresharedKey, Seed};
use tidewire_packet::{Batch, Class, Plain, Pool, Wire, padded_len};
use tidewire_tunnel::{
    Config, INITIATION_LEN, Out, PeerConfig, RESPONSE_LEN, Shard, Source, To, Tunnel, WAITING_PACKETS,
};

/// Who sends: the number is both the place and, for peers, the [`PeerId`].
pub(super) const MAD: u8 = 1;
pub(super) const GOOD: u8 = 2;
pub(super) const STRANGER: u8 = 3;
const US: PeerId = PeerId(0);
const MTU: usize = 1420;
/// More than any number of datagrams that one step may set in motion.
const MOST_ROUNDS: usize = 5000;
/// What is remembered of the link for sending it again.
const REMEMBERED: usize = 256;
/// With this age left, a session certainly works and needs no handshake.
const CERTAIN: Duration = Duration::from_secs(100);
/// After an attack of any kind a handshake is done within so long: silence is noticed, and its turn comes.
const RECOVERY: u64 = 40;

pub(super) struct World {
    now: Instant,
    tunnel: Node,
    peers: BTreeMap<u8, Node>,
    good_since: Instant,
    /// Datagrams that were on the link, those of handshakes and all others.
    remembered: Vec<(u8, Vec<u8>)>,
    /// Bytes from and to each place where no peer is.
    balance: BTreeMap<u8, (u64, u64)>,
    /// Whether the link loses what is sent to the mad peer.
    swallows: bool,
}

struct Node {
    tunnel: Tunnel,
    pool: Pool,
    out: Out,
    received: Vec<(PeerId, Vec<u8>)>,
    sent: Vec<(To, Vec<u8>)>,
}

impl World {
    /// All three, with sessions.
    pub(super) fn new() -> Self {
        let now = t0();
        let mut tunnel = Node::new(US.0 as u8);
        let mut peers = BTreeMap::new();
        for number in [MAD, GOOD] {
            let mut peer = Node::new(number);
            tunnel.set_peer(now, PeerId(number.into()), PeerConfig::new(public(number)));
            peer.set_peer(now, US, PeerConfig::new(public(US.0 as u8)));
            peers.insert(number, peer);
        }
        let mut world = Self {
            now,
            tunnel,
            peers,
            good_since: now,
            remembered: Vec::new(),
            balance: BTreeMap::new(),
            swallows: false,
        };
        for number in [MAD, GOOD] {
            world.initiate(number);
            world.settle();
        }
        world.check_good();
        world
    }

    pub(super) fn wait(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            self.settle();
            let next = self.nodes().filter_map(|node| node.tunnel.next_event().map(|(at, _)| at)).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = end;
    }

    /// A datagram from nobody.
    pub(super) fn strange(&mut self, from: u8, datagram: &[u8]) {
        self.balance.entry(from).or_default().0 += datagram.len() as u64;
        self.tunnel.hear(self.now, from, datagram);
    }

    /// A remembered datagram once more: where it comes from, what is changed and whether it is signed again follow from `change`.
    pub(super) fn again(&mut self, which: usize, change: &[u8]) {
        let Some((_, datagram)) = self.remembered.get(which % self.remembered.len().max(1)) else { return };
        let mut datagram = datagram.clone();
        let [how, changes @ ..] = change else { return self.strange(STRANGER, &datagram) };
        for pair in changes.chunks_exact(2) {
            let at = usize::from(pair[0]) % datagram.len();
            datagram[at] ^= pair[1];
        }
        if how & 1 == 1 {
            sign(&mut datagram);
        }
        self.strange(STRANGER + how % 4, &datagram);
    }

    /// A cookie reply to the initiation that the tunnel sent last, if there is one.
    pub(super) fn cookie(&mut self, content: &[u8]) {
        let is_ours = |(from, datagram): &&(u8, Vec<u8>)| *from == US.0 as u8 && datagram[0] == 1;
        let sender = self.remembered.iter().rev().find(is_ours).map(|(_, datagram)| &datagram[4..8]);
        let mut reply = [&[3, 0, 0, 0], sender.unwrap_or(&[0; 4]), content].concat();
        reply.resize(64, 0);
        self.strange(STRANGER, &reply);
    }

    /// Genuine packets from a peer.
    pub(super) fn send(&mut self, from: u8, packets: &[&[u8]]) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.seal(now, US, packets);
        }
    }

    pub(super) fn initiate(&mut self, from: u8) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.tunnel.initiate(self.now, US, &mut peer.out);
        }
    }

    /// A genuine initiation with another index, which no cipher covers.
    pub(super) fn initiate_as(&mut self, sender: &[u8]) {
        self.initiate(MAD);
        let Some(mad) = self.peers.get_mut(&MAD) else { return };
        mad.collect();
        for (_, datagram) in mad.sent.iter_mut().filter(|(_, datagram)| datagram[0] == 1) {
            datagram[4..8].iter_mut().zip(sender).for_each(|(byte, other)| *byte = *other);
            sign(datagram);
        }
    }

    pub(super) fn send_to_mad(&mut self, packet: &[u8], times: usize) {
        self.tunnel.seal(self.now, PeerId(MAD.into()), &vec![packet; times + 1]);
    }

    /// Removes the mad peer, adds it, or changes its keys and keepalive.
    pub(super) fn configure_mad(&mut self, how: u8) {
        let id = PeerId(MAD.into());
        match how % 4 {
            0 => self.tunnel.tunnel.remove_peer(id),
            1 => self.tunnel.tunnel.expire_peer(id, &mut self.tunnel.out),
            _ => {
                let keepalive = Some(Duration::from_secs(u64::from(how) / 8));
                let psk = PresharedKey::from_bytes([how & 4; 32]);
                let config = PeerConfig { psk, keepalive, ..PeerConfig::new(public(MAD)) };
                self.tunnel.set_peer(self.now, id, config);
            }
        }
    }

    pub(super) fn swallow(&mut self, yes: bool) {
        self.swallows = yes;
    }

    /// Carries what was sent until nothing moves.
    pub(super) fn settle(&mut self) {
        for round in 0.. {
            assert!(round < MOST_ROUNDS, "they never come to rest");
            let now = self.now;
            self.nodes().for_each(|node| node.run(now));
            let from_us = std::mem::take(&mut self.tunnel.sent);
            let mut to_us = Vec::new();
            for (number, peer) in &mut self.peers {
                to_us.extend(peer.sent.drain(..).map(|(_, datagram)| (*number, datagram)));
            }
            if from_us.is_empty() && to_us.is_empty() {
                return self.check_bounds();
            }
            for (to, datagram) in from_us {
                self.deliver(to, datagram);
            }
            for (from, datagram) in to_us {
                self.tunnel.hear(now, from, &datagram);
                self.remember(from, datagram);
            }
        }
    }

    fn deliver(&mut self, to: To, datagram: Vec<u8>) {
        let place = match to {
            To::Peer(id) => id.0 as u8,
            To::Source(source) => source.place()[0],
        };
        match self.peers.get_mut(&place) {
            Some(_) if place == MAD && self.swallows => {}
            Some(peer) => peer.hear(self.now, US.0 as u8, &datagram),
            None => self.balance.entry(place).or_default().1 += datagram.len() as u64,
        }
        self.remember(US.0 as u8, datagram);
    }

    fn remember(&mut self, from: u8, datagram: Vec<u8>) {
        if self.remembered.len() == REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push((from, datagram));
    }

    fn check_bounds(&mut self) {
        for (place, (got, sent)) in &self.balance {
            assert!(sent <= got, "{sent} bytes to place {place}, from which {got} came");
        }
        for number in [MAD, GOOD] {
            let status = self.tunnel.tunnel.status(self.now, PeerId(number.into()));
            assert!(status.is_none_or(|status| status.waiting <= WAITING_PACKETS));
        }
        let strange = self.tunnel.received.iter().find(|(id, _)| ![MAD, GOOD].contains(&(id.0 as u8)));
        assert_eq!(strange, None, "a packet from nobody");
        self.tunnel.received.retain(|(id, _)| *id == PeerId(GOOD.into()));
        for node in self.peers.values_mut() {
            node.received.retain(|(_, packet)| !packet.is_empty());
        }
    }

    /// What the good peer and the tunnel say to each other arrives, at once while their session is young.
    pub(super) fn check_good(&mut self) {
        if self.now.duration_since(self.good_since) <= CERTAIN {
            assert!(self.talk(), "the good peer's session is broken");
        }
    }

    /// With nothing more from attackers, the good peer is served soon, whatever was before.
    pub(super) fn recover(&mut self) {
        self.settle();
        for _ in 0..RECOVERY {
            self.talk();
            self.wait(Duration::from_secs(1));
        }
        assert!(self.talk(), "the good peer is not served {RECOVERY} s after the attack");
    }

    /// A packet each way; whether both arrive at once.
    fn talk(&mut self) -> bool {
        self.settle();
        self.tunnel.received.clear();
        self.peers.get_mut(&GOOD).expect("it is never removed").received.clear();
        self.send(GOOD, &[b"to the tunnel"]);
        self.tunnel.seal(self.now, PeerId(GOOD.into()), &[b"to the good peer"]);
        self.settle();
        let says = |(_, packet): &(PeerId, Vec<u8>), what: &[u8]| packet.starts_with(what);
        let heard = self.tunnel.received.iter().any(|one| says(one, b"to the tunnel"));
        heard && self.peers[&GOOD].received.iter().any(|one| says(one, b"to the good peer"))
    }

    fn nodes(&mut self) -> impl Iterator<Item = &mut Node> {
        std::iter::once(&mut self.tunnel).chain(self.peers.values_mut())
    }
}

impl Node {
    fn new(number: u8) -> Self {
        let pool = Pool::default();
        let epoch = Epoch::new(Duration::from_secs(1_700_000_000));
        let config =
            Config { secret: secret(number), epoch, pool: pool.clone(), shard: Shard::default(), mtu: MTU };
        let tunnel = Tunnel::new(t0(), config, &Seed::new([number; 32]));
        Self { tunnel, pool, out: Out::default(), received: Vec::new(), sent: Vec::new() }
    }

    fn set_peer(&mut self, now: Instant, id: PeerId, config: PeerConfig) {
        self.tunnel.set_peer(now, id, config, &mut self.out);
    }

    fn seal(&mut self, now: Instant, to: PeerId, packets: &[&[u8]]) {
        let mut batch: Batch<Plain> = self.pool.batch(Class::Send);
        for packet in packets {
            let Ok(room) = batch.reserve(packet.len(), padded_len(packet.len(), MTU)) else { break };
            room.copy_from_slice(packet);
        }
        let mut to = vec![to; batch.len()];
        let sealed = self.tunnel.seal(now, batch, &mut to, &mut self.out);
        assert_eq!(sealed.len(), to.len());
        self.collect();
        self.sent.extend(sealed.iter().zip(to).map(|(datagram, id)| (To::Peer(id), datagram.to_vec())));
    }

    fn hear(&mut self, now: Instant, from: u8, datagram: &[u8]) {
        if datagram.first() != Some(&4) {
            return self.tunnel.handshake(now, place(from), datagram, &mut self.out);
        }
        let mut batch: Batch<Wire> = self.pool.batch(Class::Send);
        batch.push(datagram).expect("a datagram fits into a slab");
        let mut opened = Vec::new();
        let plain = self.tunnel.open(now, batch, &mut opened, &mut self.out);
        assert_eq!(plain.len(), opened.len());
        self.received.extend(plain.iter().zip(opened).map(|(packet, one)| (one.peer, packet.to_vec())));
        self.collect();
    }

    /// Serves what is due.
    fn run(&mut self, now: Instant) {
        self.collect();
        for round in 0.. {
            assert!(round < MOST_ROUNDS, "there is always more to do");
            if self.tunnel.next_event().is_none_or(|(at, _)| at > now) {
                return;
            }
            self.tunnel.process_events(now, &mut self.out);
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.out.events.clear();
        for outgoing in self.out.datagrams.drain(..) {
            self.sent.extend(outgoing.batch.iter().map(|datagram| (outgoing.to, datagram.to_vec())));
        }
    }
}

/// A message of this type with a right first MAC for the tunnel.
pub(super) fn signed(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], content].concat();
    message.resize(if kind == 1 { INITIATION_LEN } else { RESPONSE_LEN }, 0);
    sign(&mut message);
    message
}

/// WireGuard paper, section 5.4.4, for messages to the tunnel.
fn sign(message: &mut [u8]) {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let receiver = public(US.0 as u8);
        Blake2s256::new().chain_update(b"mac1----").chain_update(receiver.as_bytes()).finalize().into()
    });
    let Some(at) = message.len().checked_sub(32) else { return };
    let mac = <Blake2sMac<U16> as blake2::digest::Mac>::new_from_slice(key).expect("32 bytes are a key");
    let mac1: [u8; 16] = mac.chain_update(&message[..at]).finalize_fixed().into();
    message[at..at + 16].copy_from_slice(&mac1);
}

fn place(number: u8) -> Source {
    let mut bytes = [0; 34];
    bytes[0] = number;
    Source::new(bytes, 1)
}

fn secret(number: u8) -> NodeSecret {
    NodeSecret::from_bytes([number + 1; 32])
}

fn public(number: u8) -> NodePublic {
    static KEYS: OnceLock<[NodePublic; 3]> = OnceLock::new();
    KEYS.get_or_init(|| [0, 1, 2].map(|number| secret(number).public()))[usize::from(number)]
}

/// The base of all time here.
#[allow(
    clippy::disallowed_methods,
    reason = "the only look at a clock; all that counts is what is added to it"
)]
fn t0() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    *T0.get_or_init(Instant::now)
}
