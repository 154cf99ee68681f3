//! What a relay allows: how many, how much, how long. Each limit with its default.

use std::{collections::BTreeSet, time::Duration};

use tidewire_derp::frame::MAX_PACKET;
use tidewire_keys::NodePublic;

/// Most bytes that one connection takes beside what all queues share: a frame that is not whole, messages of the relay's
/// own, who has heard from it, and what may wait although the queues are full. Buffers that grow may have twice the room
/// they need.
const CONNECTION: usize = 512 * 1024;
/// Free segments of queues, and what does not depend on how many are here.
const BASE: usize = 5 << 20;

/// What a relay allows. `Limits::default()` is fit for a public relay; change single fields.
///
/// Memory is bounded by them: see [`most_memory`](Self::most_memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most clients that are logged in; further logins are refused. 65,536.
    pub clients: usize,
    /// Most connections that are not logged in; for a further one the oldest is closed. 4,096.
    pub pending: usize,
    /// How long a connection may take from its first byte until it is logged in. 10 s, as in the original.
    pub setup_time: Duration,
    /// How long a write may be blocked before the client is disconnected. 2 s, as in the original.
    pub write_time: Duration,
    /// Longest packet in bytes; longer ones are dropped. 65,536, which is what the protocol allows.
    pub packet_bytes: usize,
    /// Memory for packets that wait for one client. 4 MiB: more than the window that Linux gives one TCP connection by default.
    pub data_queue_bytes: usize,
    /// How long a packet may wait for a slow client before it is dropped. 1 s.
    pub data_age: Duration,
    /// Memory for disco messages that wait for one client. 32 KiB: some 200 messages.
    pub disco_queue_bytes: usize,
    /// Memory for all that waits for all clients. Above it each client's queue may hold 32 KiB. 512 MiB.
    pub queues_bytes: usize,
    /// How fast a client may send; a faster one is read from more slowly. `None` (the default): as fast as it likes.
    pub rate: Option<RateLimit>,
}

/// A token bucket over the bytes that a client sends, frames and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Bytes that a client may send in a second on average; at least [`LEAST`](Self::LEAST).
    pub bytes_per_second: u64,
    /// Bytes that it may send at once after a pause.
    pub burst: u64,
}

impl RateLimit {
    /// Less in a second than this is taken for this: it would be too little to stay logged in.
    pub const LEAST: u64 = 1024;
}

impl Limits {
    /// What [`Limits::default`] gives.
    pub const DEFAULT: Self = Self {
        clients: 65_536,
        pending: 4096,
        setup_time: Duration::from_secs(10),
        write_time: Duration::from_secs(2),
        packet_bytes: MAX_PACKET,
        data_queue_bytes: 4 << 20,
        data_age: Duration::from_secs(1),
        disco_queue_bytes: 32 << 10,
        queues_bytes: 512 << 20,
        rate: None,
    };

    /// Memory in bytes that the [`Core`](super::Core) uses at most while that many connections do their worst. An idle one
    /// takes some 1 KiB of it, and TLS and the socket beside it some 3 KiB.
    ///
    /// The sockets' side comes on top: for each connection at most 32 KiB of a TLS record that is not whole, and 512 KiB that
    /// the socket did not take; a connection for which more would wait is closed.
    #[must_use]
    pub const fn most_memory(&self, connections: usize) -> usize {
        BASE + self.queues_bytes + connections * CONNECTION
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Who may log in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Admission {
    /// Whoever holds a key, whichever.
    #[default]
    Everyone,
    /// These keys alone.
    Keys(BTreeSet<NodePublic>),
}

impl Admission {
    /// Whether that key may log in.
    #[must_use]
    pub fn allows(&self, key: &NodePublic) -> bool {
        match self {
            Self::Everyone => true,
            Self::Keys(keys) => keys.contains(key),
        }
    }
}
