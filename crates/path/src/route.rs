//! What path choice tells the data plane: where to send, what changed and why, and what it will wake for.

use std::{fmt, net::SocketAddr, time::Duration};

use tidewire_keys::PeerId;
use tidewire_transport::Hop;

/// Where to send a peer's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Nowhere: no path is proven, and there is no relay for this peer.
    None,
    /// By this hop.
    One(Hop),
    /// By both, each packet twice: the proof of the direct path has run out, and it may or may not still work.
    Both {
        /// The direct path, that worked last.
        direct: Hop,
        /// The floor.
        relay: Hop,
    },
}

/// What one call produced. Reused between calls: the caller takes what is in it, in order.
#[derive(Default, Debug)]
pub struct Out {
    /// Datagrams to send, each with its hop. For [`Hop::Relayed`] without the Geneve header.
    pub datagrams: Vec<(Hop, Vec<u8>)>,
    /// What happened.
    pub events: Vec<Event>,
}

/// What a caller may want to know. None of them needs an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A peer that is in use is reached in another way.
    Switched {
        /// Which peer.
        peer: PeerId,
        /// How it was reached.
        from: Route,
        /// How it is reached now.
        to: Route,
        /// Why.
        reason: Reason,
    },
    /// Under which addresses this node believes it can be reached: those that STUN saw, then those of its interfaces. The
    /// caller's coordinator may want to tell the other nodes.
    OwnAddresses(Vec<SocketAddr>),
    /// The first answer to [`Paths::ping`](crate::Paths::ping).
    Pong {
        /// What the caller called it.
        token: u64,
        /// Which peer.
        peer: PeerId,
        /// Where the ping was sent to.
        hop: Hop,
        /// How long the answer took.
        rtt: Duration,
    },
    /// No answer to [`Paths::ping`](crate::Paths::ping) within [`PING_TIMEOUT`](crate::limits::PING_TIMEOUT).
    PingTimeout {
        /// What the caller called it.
        token: u64,
        /// Which peer.
        peer: PeerId,
    },
    /// [`Paths::ping`](crate::Paths::ping) could not send anything.
    PingRefused {
        /// What the caller called it.
        token: u64,
        /// Which peer.
        peer: PeerId,
        /// Why.
        reason: PingRefusal,
    },
}

/// Why a route changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// A pong proved a direct path.
    Proven,
    /// Another direct path turned out better.
    Better,
    /// Several heartbeats in a row were not answered.
    Doubted,
    /// No pong for [`TRUST`](crate::limits::TRUST).
    Expired,
    /// And none while both ways were used.
    Lost,
    /// Traffic after a pause: the path of before is tried, and the relay with it.
    Resumed,
    /// Data went unanswered on a path whose probes were answered.
    Silent,
    /// The peer told its addresses, and the one in use is no longer among them.
    Withdrawn,
    /// The peer's authenticated packets come from elsewhere (WireGuard's roaming).
    Roamed,
    /// A relay was learned from a packet that came through it.
    RelayLearned,
    /// The network of this node changed.
    NetworkChanged,
    /// The map changed.
    Map,
}

/// Why a ping could not be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PingRefusal {
    /// There is no such peer.
    UnknownPeer,
    /// The peer has no disco key, and plain WireGuard knows no ping.
    NoDisco,
    /// Neither an address nor a relay is known for the peer.
    NoHop,
    /// Too many pings to this peer are still waited for.
    Busy,
}

/// Why path choice wants to be called again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// A path in use is to be pinged.
    Heartbeat,
    /// An address is to be tried.
    Discover,
    /// A path works, and all others are to be compared with it.
    Upgrade,
    /// A CallMeMaybe is to be sent.
    Call,
    /// The proof of a path runs out.
    TrustEnds,
    /// The time of using both ways ends.
    OverlapEnds,
    /// A peer ceases to be active.
    Idle,
    /// A caller's ping is given up.
    PingTimeout,
    /// A changed route is to be reported.
    Report,
    /// STUN servers are to be asked.
    Stun,
    /// The wait for their answers ends.
    StunEnds,
}

impl Route {
    /// The hop that is preferred, if there is any: of both, the direct one.
    #[must_use]
    pub const fn hop(&self) -> Option<Hop> {
        match self {
            Self::None => None,
            Self::One(hop) | Self::Both { direct: hop, .. } => Some(*hop),
        }
    }

    /// Whether packets go straight to the peer, be it on trial.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self.hop(), Some(Hop::Udp(_)))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nowhere"),
            Self::One(hop) => hop.fmt(f),
            Self::Both { direct, relay } => write!(f, "{direct} and {relay}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proven => "the path answers",
            Self::Better => "a better path answers",
            Self::Doubted => "several probes in a row were not answered",
            Self::Expired => "no probe was answered for 6.5 s",
            Self::Lost => "the path answers no more",
            Self::Resumed => "traffic after a pause",
            Self::Silent => "data went unanswered though probes were answered",
            Self::Withdrawn => "the peer no longer has that address",
            Self::Roamed => "the peer sends from there",
            Self::RelayLearned => "the peer sends through that relay",
            Self::NetworkChanged => "the local network changed",
            Self::Map => "the map changed",
        })
    }
}
