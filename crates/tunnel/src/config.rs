//! What a tunnel and a peer are made of, and what can be asked about a peer.

use std::time::{Duration, Instant};

use tidewire_keys::{Epoch, NodePublic, NodeSecret, PresharedKey, Tai64N};
use tidewire_packet::Pool;

use crate::index::Shard;

/// What a tunnel is made of.
#[derive(Debug)]
pub struct Config {
    /// The own static key.
    pub secret: NodeSecret,
    /// Makes the time stamps of initiations; its base is the `now` that the tunnel is made with.
    pub epoch: Epoch,
    /// Where handshake messages, keepalives and packets that waited get their slabs.
    pub pool: Pool,
    /// Which receiver indexes this tunnel may use.
    pub shard: Shard,
    /// The overlay's MTU: padding does not go beyond it.
    pub mtu: usize,
}

/// What a peer is, apart from its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// The peer's static key: who it is.
    pub key: NodePublic,
    /// The pre-shared key; all zeros where there is none.
    pub psk: PresharedKey,
    /// After how long without any packet either way a keepalive is sent. Between a second and
    /// 65,535 of them; `None` and zero for never.
    pub keepalive: Option<Duration>,
}

impl PeerConfig {
    /// A peer without a pre-shared key and without persistent keepalives.
    #[must_use]
    pub fn new(key: NodePublic) -> Self {
        Self { key, psk: PresharedKey::from_bytes([0; 32]), keepalive: None }
    }
}

/// What a peer is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// The peer's static key.
    pub key: NodePublic,
    /// When the last handshake was completed, and confirmed if the peer began it.
    pub last_handshake: Option<Instant>,
    /// The session that packets are sealed with, if there is one.
    pub session: Option<SessionStatus>,
    /// Whether an initiation is unanswered, or about to be sent.
    pub is_shaking_hands: bool,
    /// Packets that wait for a session.
    pub waiting: usize,
    /// Bytes of genuine datagrams received, handshakes and overhead included.
    pub rx_bytes: u64,
    /// Bytes of datagrams sent, handshakes and overhead included.
    pub tx_bytes: u64,
    /// The newest time stamp that it began a handshake with: what a successor of this tunnel needs to know, see
    /// [`Tunnel::raise_newest_stamp`](crate::Tunnel::raise_newest_stamp).
    pub newest_stamp: Option<Tai64N>,
}

/// What the session in use is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionStatus {
    /// When it was derived. It is replaced at 120 s and unusable at 180 s.
    pub since: Instant,
    /// Whether this side began the handshake.
    pub is_initiator: bool,
}
