//! What a relay decides, without a socket, a clock or a source of chance: who may be here, and what goes to whom.

pub(crate) mod bucket;
mod client;
mod clients;
mod ending;
mod limits;
mod login;
mod outbox;
mod queue;
mod roster;
mod stats;
mod stream;
mod timers;

use std::{collections::VecDeque, time::Instant};

use tidewire_derp::Frame;
use tidewire_keys::{Drbg, NodePublic, RelayPublic, RelaySecret, Seed};

use self::{client::Client, clients::Clients, login::Nonces, queue::Pool, roster::Roster, timers::Timers};
pub use self::{
    limits::{Admission, Limits, RateLimit},
    stats::{Closed, Discard, Stats},
    timers::Why,
};

/// A relay without its sockets.
///
/// The shell tells it of connections ([`connect`](Self::connect), [`receive`](Self::receive),
/// [`disconnect`](Self::disconnect)) and of time ([`process_events`](Self::process_events) at
/// [`next_event`](Self::next_event)). After each of these, and after [`set_admission`](Self::set_admission) and
/// [`shutdown`](Self::shutdown), it drains [`poll_event`](Self::poll_event) and [`poll_dirty`](Self::poll_dirty), and
/// sends what [`gather`](Self::gather) gives for each of the latter.
#[derive(Debug)]
pub struct Core {
    secret: RelaySecret,
    public: RelayPublic,
    /// The public key in hex, as HTTP responses have it.
    public_hex: String,
    limits: Limits,
    admission: Admission,
    clients: Clients,
    roster: Roster,
    timers: Timers,
    pool: Pool,
    drbg: Drbg,
    nonces: Nonces,
    /// Connections in the order in which they came; those that are not pending any more are taken out now and then.
    pending: VecDeque<ClientId>,
    pending_count: usize,
    dirty: VecDeque<ClientId>,
    events: VecDeque<Event>,
    /// What came out of WebSocket messages; kept to be used again.
    unwrapped: Vec<u8>,
    stats: Stats,
}

/// Names one connection of a [`Core`], and none that comes after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId {
    index: u32,
    generation: u32,
}

/// What a shell has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client logged in.
    LoggedIn {
        /// Its connection.
        id: ClientId,
        /// Its key.
        key: NodePublic,
    },
    /// A client asked to log in and was turned away; its end follows.
    Refused {
        /// Its connection.
        id: ClientId,
        /// The key that it named; nothing says that it holds it.
        key: NodePublic,
        /// Why.
        reason: Closed,
    },
    /// A connection is to be dropped; its id means nothing any more.
    Closed {
        /// The connection.
        id: ClientId,
        /// Its key, if it had logged in.
        key: Option<NodePublic>,
        /// Why.
        reason: Closed,
    },
    /// A connection that was not [readable](Core::is_readable) is so again.
    Resume(ClientId),
}

/// What [`Core::gather`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gathered {
    /// There is more for another call.
    pub more: bool,
    /// That was all for ever: close the sending direction, and go on reading until the other end closes too.
    pub end: bool,
}

impl ClientId {
    /// A small number that no two living connections share, for a table beside the core.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

impl Core {
    /// A relay with nobody on it.
    #[must_use]
    pub fn new(secret: RelaySecret, admission: Admission, limits: Limits, seed: &Seed) -> Self {
        let public = secret.public();
        Self {
            secret,
            public,
            public_hex: public.to_hex(),
            limits,
            admission,
            clients: Clients::default(),
            roster: Roster::default(),
            timers: Timers::default(),
            pool: Pool::default(),
            drbg: Drbg::new(seed, "relay"),
            nonces: Nonces::default(),
            pending: VecDeque::new(),
            pending_count: 0,
            dirty: VecDeque::new(),
            events: VecDeque::new(),
            unwrapped: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// The relay's public key.
    #[must_use]
    pub const fn public_key(&self) -> RelayPublic {
        self.public
    }

    /// A connection came: TCP, and TLS if there is any, is about to begin. Its time to log in runs from here.
    pub fn connect(&mut self, now: Instant) -> ClientId {
        self.stats.accepted += 1;
        if self.pending_count >= self.limits.pending {
            self.make_room();
        }
        let id = self.clients.insert(Client::new());
        self.pending_count += 1;
        self.pending.push_back(id);
        if self.pending.len() > 2 * self.pending_count + 64 {
            self.pending.retain(|&id| self.clients.get(id).is_some_and(Client::is_pending));
        }
        self.set_timer(id, Why::Setup, Some(now + self.limits.setup_time));
        id
    }

    /// A connection is gone. Nothing happens if it is not known.
    pub fn disconnect(&mut self, id: ClientId, reason: Closed) {
        self.close(id, reason);
    }

    /// Whether more may be read from a connection; if not, [`Event::Resume`] will say when.
    #[must_use]
    pub fn is_readable(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some_and(|client| client.is_readable)
    }

    /// How many bytes to read from a connection at once, at most; 0: none. Without a limit of its rate as many as there are.
    #[must_use]
    pub fn allowance(&self, id: ClientId) -> usize {
        self.clients.get(id).filter(|client| client.is_readable).map_or(0, |client| client.allowance)
    }

    /// Whether a connection will end as soon as what waits for it has been sent.
    #[must_use]
    pub fn is_ending(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some_and(|client| client.ending.is_some())
    }

    /// The next connection that has something to send. Each is named once, until it has been gathered from.
    pub fn poll_dirty(&mut self) -> Option<ClientId> {
        loop {
            let id = self.dirty.pop_front()?;
            if let Some(client) = self.clients.get_mut(id) {
                client.outbox.is_listed = false;
                return Some(id);
            }
        }
    }

    /// How many connections [`poll_dirty`](Self::poll_dirty) has at most.
    #[must_use]
    pub fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    /// Names a connection once more: it was gathered from, and there is more.
    pub fn again(&mut self, id: ClientId) {
        self.mark_dirty(id);
    }

    /// Puts into `out`, which is empty, what a connection is to be sent next: whole frames of at most `full` bytes
    /// together, or one that is longer. They count as sent.
    pub fn gather(&mut self, now: Instant, id: ClientId, full: usize, out: &mut Vec<u8>) -> Gathered {
        let Some(client) = self.clients.get_mut(id) else { return Gathered::default() };
        if client.outbox.is_empty() {
            return Gathered { more: false, end: client.ending.is_some() };
        }
        let popped = client.outbox.pop_into(now, out, full, &self.limits, &mut self.pool);
        self.stats.packets_out += popped.packets;
        self.stats.bytes_out += out.len() as u64;
        self.stats.discard(Discard::Aged, popped.aged);
        let more = !client.outbox.is_empty();
        Gathered { more, end: !more && client.ending.is_some() }
    }

    /// A write to a connection is blocked: unless [`unblocked`](Self::unblocked) says otherwise in time, it is closed.
    pub fn blocked(&mut self, now: Instant, id: ClientId) {
        if self.clients.get(id).is_some_and(|client| client.deadlines[Why::Write as usize].is_none()) {
            self.set_timer(id, Why::Write, Some(now + self.limits.write_time));
        }
    }

    /// What had blocked a write to a connection was sent, or a part of it: the next block has its full time.
    pub fn unblocked(&mut self, id: ClientId) {
        self.set_timer(id, Why::Write, None);
    }

    /// Memory in bytes that waits in the queues of all clients.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.pool.held()
    }

    /// When [`process_events`](Self::process_events) has something to do, and what. `None`: no connection at all.
    #[must_use]
    pub fn next_event(&self) -> Option<(Instant, Why)> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn process_events(&mut self, now: Instant) {
        while let Some((id, why)) = self.timers.due(now) {
            self.set_timer(id, why, None);
            match why {
                Why::Setup => self.close(id, Closed::SetupTimeout),
                Why::Write => self.close(id, Closed::SlowReader),
                Why::KeepAlive => self.keep_alive(now, id),
                Why::Resume => self.resume(id),
            }
        }
    }

    /// The next thing that the shell has to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What has happened, and how things stand.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.connections = self.clients.len() as u64;
        stats.keys = self.roster.len() as u64;
        stats.queued_bytes = self.pool.held() as u64;
        stats
    }

    fn set_timer(&mut self, id: ClientId, why: Why, at: Option<Instant>) {
        if let Some(client) = self.clients.get_mut(id) {
            self.timers.set(id, &mut client.deadlines, why, at);
        }
    }

    fn mark_dirty(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id).filter(|client| !client.outbox.is_listed) {
            client.outbox.is_listed = true;
            self.dirty.push_back(id);
        }
    }

    /// Queues a message of the relay's own. One that finds no room is counted; a client that does not read that many
    /// does not live long.
    fn tell(&mut self, id: ClientId, frame: Frame<'_>) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.ending.is_none()) else { return };
        if !client.outbox.push_control(frame) {
            self.stats.control_dropped += 1;
        } else if matches!(frame, Frame::PeerGone { .. }) {
            self.stats.peer_gone += 1;
        }
        self.mark_dirty(id);
    }

    fn keep_alive(&mut self, now: Instant, id: ClientId) {
        self.tell(id, Frame::KeepAlive);
        let period = self.clients.get(id).map(|client| client.keep_alive);
        self.set_timer(id, Why::KeepAlive, period.map(|period| now + period));
    }

    fn resume(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.is_readable = true;
            self.events.push_back(Event::Resume(id));
        }
    }
}
