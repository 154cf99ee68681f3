//! What is kept for a peer, and how its sessions follow each other.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use foldhash::fast::FixedState;
use tidewire_keys::{NodePublic, PeerId, PresharedKey, Tai64N};

use crate::{
    config::{PeerConfig, PeerStatus, SessionStatus},
    cookie::Cookie,
    index::Indexes,
    message::MAC_LEN,
    noise::Initiator,
    session::Session,
    timers::{Timer, Timers},
};

/// An initiation in flight.
pub(crate) struct Pending {
    pub(crate) index: u32,
    pub(crate) noise: Initiator,
}

/// A peer. What is rarely there, or large, is boxed: most peers of a big map are idle.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) key: NodePublic,
    pub(crate) psk: PresharedKey,
    pub(crate) keepalive: Option<Duration>,
    /// Whether of two handshakes that crossed on the way, ours is the one whose session is used. Both sides agree on that,
    /// or else each would go on with its own.
    wins_crossing: bool,
    /// Seals, and opens.
    pub(crate) current: Option<Box<Session>>,
    previous: Option<Box<Session>>,
    /// Made by answering, and silent until the peer has used it.
    next: Option<Box<Session>>,
    pub(crate) pending: Option<Box<Pending>>,
    pub(crate) timers: Timers,
    /// More data came while a keepalive was already due.
    pub(crate) wants_another_keepalive: bool,
    /// When the last initiation or response was sent.
    pub(crate) shook_at: Option<Instant>,
    /// Since when there is a reason for the handshake that is being tried.
    pub(crate) trying_since: Option<Instant>,
    pub(crate) last_handshake: Option<Instant>,
    pub(crate) newest_stamp: Option<Tai64N>,
    pub(crate) greeted_at: Option<Instant>,
    pub(crate) cookie: Option<Box<Cookie>>,
    pub(crate) last_mac1: Option<[u8; MAC_LEN]>,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
}

impl Peer {
    pub(crate) fn new(id: PeerId, config: PeerConfig, own: &NodePublic) -> Self {
        Self {
            id,
            key: config.key,
            psk: config.psk,
            keepalive: None,
            wins_crossing: *own < config.key,
            current: None,
            previous: None,
            next: None,
            pending: None,
            timers: Timers::default(),
            wants_another_keepalive: false,
            shook_at: None,
            trying_since: None,
            last_handshake: None,
            newest_stamp: None,
            greeted_at: None,
            cookie: None,
            last_mac1: None,
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }

    pub(crate) fn status(&self, now: Instant, waiting: usize) -> PeerStatus {
        let session = self.current.as_ref().filter(|session| session.can_send(now));
        PeerStatus {
            key: self.key,
            last_handshake: self.last_handshake,
            session: session.map(|session| SessionStatus {
                since: session.created(),
                is_initiator: session.is_initiator(),
            }),
            is_shaking_hands: self.timers.is_set(Timer::Retransmit),
            waiting,
            rx_bytes: self.rx_bytes,
            tx_bytes: self.tx_bytes,
            newest_stamp: self.newest_stamp,
        }
    }

    /// The session that receives under `index`.
    #[inline]
    pub(crate) fn receiver(&mut self, index: u32) -> Option<&mut Session> {
        let sessions = [&mut self.current, &mut self.next, &mut self.previous];
        sessions.into_iter().flatten().map(|session| &mut **session).find(|session| session.local() == index)
    }

    /// Takes a session that we began into use. One that we answered stays: the peer may have begun to use it.
    pub(crate) fn install_begun(&mut self, session: Session, indexes: &mut Indexes) {
        if let Some(old) = self.current.replace(Box::new(session)) {
            self.set_previous(old, indexes);
        }
    }

    /// Keeps a session that we answered, until the peer uses it.
    pub(crate) fn install_answered(&mut self, session: Session, indexes: &mut Indexes) {
        if let Some(unused) = self.next.replace(Box::new(session)) {
            indexes.retire(unused.local());
        }
    }

    /// The peer has used the session that receives under `index`. If that is the answered one, and it is newer than the one
    /// in use or wins against it, takes it into use and says so.
    pub(crate) fn promote(&mut self, index: u32, indexes: &mut Indexes) -> bool {
        let Self { next, current, wins_crossing, .. } = self;
        let supersedes = |next: &Session| match &*current {
            Some(current) if next.crosses(current) => !*wins_crossing,
            Some(current) => next.created() > current.created(),
            None => true,
        };
        let Some(next) = next.take_if(|next| next.local() == index && supersedes(next)) else { return false };
        match self.current.take() {
            // The peer never used that one, and may still be heard on the one before.
            Some(lost) if next.crosses(&lost) => indexes.retire(lost.local()),
            Some(old) => self.set_previous(old, indexes),
            None => {}
        }
        self.current = Some(next);
        true
    }

    fn set_previous(&mut self, session: Box<Session>, indexes: &mut Indexes) {
        if let Some(retired) = self.previous.replace(session) {
            indexes.retire(retired.local());
        }
    }

    /// Drops all sessions; says whether there was one.
    pub(crate) fn drop_sessions(&mut self, indexes: &mut Indexes) -> bool {
        let all = [self.current.take(), self.next.take(), self.previous.take()];
        let retired = all.into_iter().flatten().map(|session| indexes.retire(session.local())).count();
        retired > 0
    }

    pub(crate) fn drop_pending(&mut self, indexes: &mut Indexes) {
        if let Some(pending) = self.pending.take() {
            indexes.retire(pending.index);
        }
    }

    /// Any genuine message was sent.
    #[inline]
    pub(crate) fn note_sent(&mut self, now: Instant) {
        self.timers.stop(Timer::Keepalive);
        self.wants_another_keepalive = false;
        self.note_traffic(now);
    }

    /// Any genuine message was received.
    #[inline]
    pub(crate) fn note_received(&mut self, now: Instant) {
        self.timers.stop(Timer::NoAnswer);
        self.note_traffic(now);
    }

    /// There is a new session in use: a handshake in flight has no purpose left.
    pub(crate) fn note_established(&mut self, now: Instant, indexes: &mut Indexes) {
        self.last_handshake = Some(now);
        self.trying_since = None;
        self.timers.stop(Timer::Retransmit);
        self.drop_pending(indexes);
    }

    #[inline]
    fn note_traffic(&mut self, now: Instant) {
        if let Some(interval) = self.keepalive {
            self.timers.set(Timer::Persistent, now + interval);
        }
    }
}

/// All peers, in slots that do not move; a peer's number leads to its slot.
#[derive(Default)]
pub(crate) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    free: Vec<u32>,
    by_id: HashMap<PeerId, u32, FixedState>,
}

impl Peers {
    #[inline]
    pub(crate) fn slot(&self, id: PeerId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.slots.get(self.slot(id)? as usize)?.as_deref()
    }

    pub(crate) fn id(&self, slot: u32) -> Option<PeerId> {
        Some(self.slots.get(slot as usize)?.as_ref()?.id)
    }

    /// The peer in `slot`, which must be one that is in use.
    #[inline]
    pub(crate) fn at(&mut self, slot: u32) -> &mut Peer {
        let peer = self.slots.get_mut(slot as usize).and_then(Option::as_deref_mut);
        peer.expect("tables name only slots in use")
    }

    /// Adds a peer whose number is not in use, and returns its slot.
    pub(crate) fn insert(&mut self, peer: Peer) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer peers than peer numbers")
        });
        self.by_id.insert(peer.id, slot);
        self.slots[slot as usize] = Some(Box::new(peer));
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Box<Peer>> {
        let peer = self.slots.get_mut(slot as usize)?.take()?;
        self.by_id.remove(&peer.id);
        self.free.push(slot);
        Some(peer)
    }
}
