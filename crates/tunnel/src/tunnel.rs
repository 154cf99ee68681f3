//! The state machine of all peers: who they are, and what may be asked of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidewire_keys::{Drbg, Epoch, NodePublic, PeerId, PresharedKey, Seed, Tai64N};
use tidewire_packet::Pool;

use crate::{
    config::{Config, PeerConfig, PeerStatus},
    cookie::Baker,
    discard::{Discard, Discards},
    index::Indexes,
    known::{Identity, Known},
    load::{Budget, Queue},
    mac,
    out::{Event, Out},
    peer::{Peer, Peers},
    schedule::Schedule,
    timers::Timer,
    waiting::Waiting,
};

mod answer;
mod begin;
mod events;
mod open;
mod seal;

/// Persistent keepalives do not come faster than this.
const LEAST_KEEPALIVE: Duration = Duration::from_secs(1);
/// The longest interval that WireGuard's own tools can set.
const MOST_KEEPALIVE: Duration = Duration::from_secs(u16::MAX as u64);

/// WireGuard for one own key and any number of peers, without sockets, clock or randomness of its own.
///
/// Every call that can expire something is told `now`, which must not go back. Call
/// [`process_events`](Self::process_events) at the time that [`next_event`](Self::next_event) says, and ask for that time
/// again after any other call.
pub struct Tunnel {
    known: Arc<Known>,
    peers: Peers,
    indexes: Indexes,
    schedule: Schedule,
    drbg: Drbg,
    epoch: Epoch,
    base: Instant,
    pool: Pool,
    mtu: usize,
    mac1_key: [u8; 32],
    baker: Baker,
    queue: Queue,
    budget: Budget,
    waiting: Waiting,
    discards: Discards,
    // How many handshake messages were made or read by public key cryptography.
    handshakes_run: u64,
    // Packets of the batch at hand that are not sealed; kept for its memory.
    unsealed: Vec<u32>,
}

impl Tunnel {
    /// A tunnel without peers. `now` is the base instant of the configured [`Epoch`].
    #[must_use]
    pub fn new(now: Instant, config: Config, seed: &Seed) -> Self {
        let identity = Identity::new(config.secret);
        Self {
            mac1_key: mac::mac1_key(identity.public()),
            baker: Baker::new(identity.public()),
            known: Arc::new(Known::new(identity)),
            peers: Peers::default(),
            indexes: Indexes::new(config.shard),
            schedule: Schedule::default(),
            drbg: Drbg::new(seed, "tunnel"),
            epoch: config.epoch,
            base: now,
            pool: config.pool,
            mtu: config.mtu,
            queue: Queue::default(),
            budget: Budget::default(),
            waiting: Waiting::default(),
            discards: Discards::default(),
            handshakes_run: 0,
            unsealed: Vec::new(),
        }
    }

    /// Mixes fresh randomness in: from time to time, and after a sleep.
    pub fn reseed(&mut self, seed: &Seed) {
        self.drbg.reseed(seed);
    }

    /// The own public key.
    #[must_use]
    pub fn public_key(&self) -> NodePublic {
        *self.known.identity().public()
    }

    /// Says that the overlay's MTU changed: padding does not go beyond it.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// Adds a peer, or changes one.
    ///
    /// With the key that it has, a peer keeps its sessions; another pre-shared key holds from the next handshake on (for one
    /// in flight too). Another key makes it another peer. A key that another peer has moves here, and that peer is removed.
    /// A peer with a persistent keepalive is sent one as soon as [`process_events`](Self::process_events) is called.
    pub fn set_peer(&mut self, now: Instant, id: PeerId, config: PeerConfig, out: &mut Out) {
        let keepalive = config.keepalive.filter(|every| !every.is_zero());
        let keepalive = keepalive.map(|every| every.clamp(LEAST_KEEPALIVE, MOST_KEEPALIVE));
        let slot = match (self.peers.slot(id), self.known.slot(&config.key)) {
            (Some(slot), Some(same)) if slot == same => {
                self.set_psk(slot, config.psk);
                slot
            }
            (slot, other) => {
                for gone in [slot, other].into_iter().flatten() {
                    self.remove_slot(gone, out);
                }
                let key = config.key;
                let slot = self.peers.insert(Peer::new(id, config, self.known.identity().public()));
                Arc::make_mut(&mut self.known).insert(key, slot);
                slot
            }
        };
        self.set_keepalive(now, slot, keepalive);
    }

    /// Removes a peer with all its keys and all that waits for it.
    pub fn remove_peer(&mut self, id: PeerId) {
        if let Some(slot) = self.peers.slot(id) {
            self.remove_slot(slot, &mut Out::default());
        }
    }

    /// Forgets all sessions and handshakes with a peer, as if it had just been added. What waits is dropped.
    pub fn expire_peer(&mut self, id: PeerId, out: &mut Out) {
        if let Some(slot) = self.peers.slot(id) {
            self.expire(slot, out);
        }
    }

    /// Begins a handshake because the caller knows a reason to. Like every initiation it is not sent less than 5 s after
    /// the one before (or after a response), but then.
    pub fn initiate(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        match self.peers.slot(peer) {
            Some(slot) => self.want_handshake(now, slot, out),
            None => self.discards.add(Discard::UnknownPeer),
        }
    }

    /// Refuses initiations of a peer that are not newer than `stamp`: one that a tunnel before this one has seen from it.
    /// Otherwise what was recorded then would be answered once more.
    pub fn raise_newest_stamp(&mut self, id: PeerId, stamp: Tai64N) {
        if let Some(slot) = self.peers.slot(id) {
            let newest = &mut self.peers.at(slot).newest_stamp;
            *newest = (*newest).max(Some(stamp));
        }
    }

    /// Says what the wall clock shows at `now`: if that is later than has been reckoned since the epoch, stamps follow.
    ///
    /// With a clock that was behind when the tunnel was made, peers that know a newer stamp refuse all initiations. See
    /// [`Epoch::raise`].
    pub fn raise_wall_time(&mut self, now: Instant, unix: Duration) {
        self.epoch.raise(unix, now.saturating_duration_since(self.base));
    }

    /// Which peer has this key.
    #[must_use]
    pub fn peer_by_key(&self, key: &NodePublic) -> Option<PeerId> {
        self.peers.id(self.known.slot(key)?)
    }

    /// What a peer is doing at `now`.
    #[must_use]
    pub fn status(&self, now: Instant, id: PeerId) -> Option<PeerStatus> {
        let slot = self.peers.slot(id)?;
        self.peers.get(id).map(|peer| peer.status(now, self.waiting.len(slot)))
    }

    /// Why packets and messages were dropped, since the start.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    /// The stamp of the last initiation sent: what to keep for the next start, see [`Epoch::with_floor`].
    #[must_use]
    pub fn last_stamp(&self) -> Option<Tai64N> {
        self.epoch.last()
    }

    fn set_psk(&mut self, slot: u32, psk: PresharedKey) {
        let peer = self.peers.at(slot);
        if let Some(pending) = &mut peer.pending {
            pending.noise.set_psk(&psk);
        }
        peer.psk = psk;
    }

    fn set_keepalive(&mut self, now: Instant, slot: u32, keepalive: Option<Duration>) {
        let peer = self.peers.at(slot);
        let before = std::mem::replace(&mut peer.keepalive, keepalive);
        match (before, keepalive) {
            (_, None) => peer.timers.stop(Timer::Persistent),
            (None, Some(_)) => peer.timers.set(Timer::Persistent, now),
            (Some(before), Some(every)) if every < before => {
                let due = peer.timers.at(Timer::Persistent).map_or(now, |due| due.min(now + every));
                peer.timers.set(Timer::Persistent, due);
            }
            (Some(_), Some(_)) => {}
        }
        self.schedule.note(slot, &peer.timers);
    }

    fn remove_slot(&mut self, slot: u32, out: &mut Out) {
        self.expire(slot, out);
        let Some(peer) = self.peers.remove(slot) else { return };
        self.schedule.remove(slot);
        Arc::make_mut(&mut self.known).remove(&peer.key);
    }

    fn expire(&mut self, slot: u32, out: &mut Out) {
        self.wipe(slot, out);
        let peer = self.peers.at(slot);
        peer.drop_pending(&mut self.indexes);
        self.waiting.drop_all(slot, Discard::PeerGone, &mut self.discards);
        peer.timers.stop(Timer::Retransmit);
        peer.trying_since = None;
    }

    /// Drops the sessions with the peer in `slot`, and what was to be done on them. A handshake in flight goes on: its keys
    /// are new, and packets wait for it.
    fn wipe(&mut self, slot: u32, out: &mut Out) {
        let peer = self.peers.at(slot);
        if peer.drop_sessions(&mut self.indexes) {
            out.events.push(Event::Expired { peer: peer.id });
        }
        for timer in [Timer::Keepalive, Timer::NoAnswer, Timer::Wipe] {
            peer.timers.stop(timer);
        }
        peer.wants_another_keepalive = false;
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidewire_keys::NodeSecret;
    use tidewire_packet::{Batch, Plain};

    use super::*;
    use crate::{
        index::Shard,
        message::Message,
        session::{REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES},
        source::Source,
        t0,
    };

    const PEER: PeerId = PeerId(3);

    fn tunnel(own: u8, peer: u8) -> Tunnel {
        let epoch = Epoch::new(Duration::from_secs(1_700_000_000));
        let secret = NodeSecret::from_bytes([own; 32]);
        let config = Config { secret, epoch, pool: Pool::default(), shard: Shard::default(), mtu: 1420 };
        let mut tunnel = Tunnel::new(t0(), config, &Seed::new([own; 32]));
        let key = NodeSecret::from_bytes([peer; 32]).public();
        tunnel.set_peer(t0(), PEER, PeerConfig::new(key), &mut Out::default());
        tunnel
    }

    /// Carries what is in `out` to `receiver`, whose answers are there afterwards.
    fn carry(now: Instant, receiver: &mut Tunnel, out: &mut Out) {
        for outgoing in std::mem::take(&mut out.datagrams) {
            match Message::parse(outgoing.batch.get(0).unwrap()) {
                Ok(Message::Transport { .. }) => {
                    drop(receiver.open(now, outgoing.batch, &mut Vec::new(), out))
                }
                _ => receiver.handshake(now, Source::new([0; 34], 32), outgoing.batch.get(0).unwrap(), out),
            }
            receiver.process_events(now, out);
        }
    }

    fn connected() -> (Tunnel, Tunnel) {
        let (mut a, mut b, mut out) = (tunnel(1, 2), tunnel(2, 1), Out::default());
        a.initiate(t0(), PEER, &mut out);
        carry(t0(), &mut b, &mut out);
        carry(t0(), &mut a, &mut out);
        carry(t0(), &mut b, &mut out);
        assert!(b.status(t0(), PEER).unwrap().session.is_some());
        (a, b)
    }

    /// Has `tunnel` seal a packet after its counter was set; says whether it was sealed, and what else was sent.
    fn seal_at(tunnel: &mut Tunnel, now: Instant, counter: u64) -> (bool, Out) {
        let slot = tunnel.peers.slot(PEER).unwrap();
        tunnel.peers.at(slot).current.as_mut().unwrap().skip_to(counter);
        let (mut out, mut to) = (Out::default(), vec![PEER]);
        let batch: Batch<Plain> = Batch::copy_of(&tunnel.pool, b"packet").unwrap();
        (!tunnel.seal(now, batch, &mut to, &mut out).is_empty(), out)
    }

    #[test]
    fn either_side_replaces_a_session_of_2_to_the_60_messages() {
        let (mut a, mut b) = connected();
        let later = t0() + Duration::from_secs(6);
        for tunnel in [&mut a, &mut b] {
            let (sealed, out) = seal_at(tunnel, later, REKEY_AFTER_MESSAGES - 1);
            assert!(sealed && out.datagrams.is_empty());
            let (sealed, out) = seal_at(tunnel, later, REKEY_AFTER_MESSAGES);
            assert!(sealed && out.datagrams.len() == 1);
        }
    }

    #[test]
    fn a_session_without_counters_ends_and_what_comes_then_waits_for_the_next() {
        let (mut a, mut b) = connected();
        let now = t0() + Duration::from_secs(6);
        assert!(seal_at(&mut a, now, REJECT_AFTER_MESSAGES - 1).0);
        let later = now + Duration::from_secs(6);
        let (sealed, mut out) = seal_at(&mut a, later, REJECT_AFTER_MESSAGES);
        assert!(!sealed);
        assert_eq!(a.status(later, PEER).unwrap().session, None);
        assert_eq!(a.status(later, PEER).unwrap().waiting, 1);
        carry(later, &mut b, &mut out);
        carry(later, &mut a, &mut out);
        assert_eq!(a.status(later, PEER).unwrap().waiting, 0);
        assert_eq!(a.discards().total(), 0);
    }

    #[test]
    fn a_tunnel_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Tunnel>();
        is_send::<Out>();
    }

    #[test]
    fn what_is_kept_for_an_idle_peer_is_small() {
        assert!(size_of::<Peer>() <= 640, "{}", size_of::<Peer>());
    }

    #[test]
    fn indexes_are_given_back() {
        let (mut a, mut b) = connected();
        let mut now = t0();
        for _ in 0..20 {
            now += Duration::from_secs(7);
            let mut out = Out::default();
            a.initiate(now, PEER, &mut out);
            for _ in 0..2 {
                carry(now, &mut b, &mut out);
                carry(now, &mut a, &mut out);
            }
        }
        for tunnel in [&mut a, &mut b] {
            assert!(tunnel.indexes.len() <= 3, "{}", tunnel.indexes.len());
            tunnel.remove_peer(PEER);
            assert_eq!(tunnel.indexes.len(), 0);
        }
    }
}
