//! What a node tells its owner, and what it answers when asked.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tidewire_dataplane::{Counters, Route};
use tidewire_derp::{
    RegionId,
    machine::{Failure, LinkState, RegionStatus, Rung},
};
use tidewire_keys::{DiscoPublic, NodePublic};
use tidewire_transport::Hop;
use tokio::sync::broadcast;

/// Something that happened to a node. Changes of state only.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Packets for a peer take another way from here on.
    PathChanged {
        /// Which peer.
        peer: NodePublic,
        /// Where they went.
        from: Route,
        /// Where they go.
        to: Route,
        /// Why, for a person.
        reason: String,
    },
    /// A handshake with a peer is done.
    Connected {
        /// Which peer.
        peer: NodePublic,
    },
    /// A peer does not answer handshakes.
    Unreachable {
        /// Which peer.
        peer: NodePublic,
    },
    /// A relay site is connected: it has let this node in.
    RelayUp {
        /// Which site.
        region: RegionId,
    },
    /// The connection to a relay site ended; the node tries again by itself.
    RelayDown {
        /// Which site.
        region: RegionId,
        /// Why, for a person.
        reason: String,
    },
    /// A relay site that is not connected could not be reached; the node tries again by itself. Told once for each way to fail,
    /// until the site is connected. [`Status::relays`] has the last failure as a value.
    RelayFailed {
        /// Which site.
        region: RegionId,
        /// Why, for a person.
        reason: String,
    },
    /// A relay says what is wrong with our connection, such as another node with our key. It ends with the connection.
    RelayHealth {
        /// Which site.
        region: RegionId,
        /// What is wrong, in the relay's words; `None`: nothing any more.
        problem: Option<String>,
    },
    /// A relay says that it restarts. The node comes back by itself.
    RelayRestarting {
        /// Which site.
        region: RegionId,
        /// It wants us back no sooner than this.
        reconnect_in: Duration,
    },
    /// The node chose its home region: tell the peers, for this is where they find it first.
    HomeChosen {
        /// Which site.
        region: RegionId,
    },
    /// Where this node can be reached by UDP, as far as it knows: worth telling the peers.
    OwnAddresses(Vec<SocketAddr>),
    /// A transport failed. The node goes on with the others.
    Fault {
        /// What failed, for a person.
        fault: String,
    },
    /// Somebody deleted the node's interface. The node runs on without one: whoever wants it back starts another node.
    InterfaceGone {
        /// Its name, as it was when it was made.
        interface: String,
    },
    /// The machine slept; paths are proven anew.
    Slept,
}

/// A stream of [`Event`]s from the moment of [`Node::events`](crate::Node::events) on.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` when the node stopped. A listener that falls far behind misses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events were missed")
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// The answer of a peer to [`Node::ping`](crate::Node::ping).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pong {
    /// By which way the first answer came.
    pub hop: Hop,
    /// The time there and back.
    pub rtt: Duration,
}

/// A node as it stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its node key.
    pub key: NodePublic,
    /// Its disco key.
    pub disco: DiscoPublic,
    /// Its overlay addresses.
    pub addresses: Vec<IpNet>,
    /// Its home region, if it has one.
    pub home: Option<RegionId>,
    /// The relay sites that are connected or wanted, or failed last time, in the order of their numbers.
    pub relays: Vec<RelayStatus>,
    /// Where it can be reached by UDP, as far as it knows.
    pub own_addresses: Vec<SocketAddr>,
    /// Its peers, in the order of their keys.
    pub peers: Vec<PeerStatus>,
    /// What was counted.
    pub counters: Counters,
}

/// A relay site as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayStatus {
    /// Which site.
    pub region: RegionId,
    /// Its short name.
    pub code: String,
    /// How far the connection is.
    pub state: RelayState,
    /// Name of the relay in it, while there is an attempt or a connection.
    pub node: Option<String>,
    /// How it is spoken to, once that is decided.
    pub rung: Option<Rung>,
    /// Whether through an HTTP proxy.
    pub proxied: bool,
    /// Round trip time to the relay.
    pub rtt: Option<Duration>,
    /// What the relay says is wrong.
    pub problem: Option<String>,
    /// The last failure, kept after a success.
    pub last_failure: Option<Failure>,
}

/// How far the connection to a relay site is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelayState {
    /// Not wanted.
    Idle,
    /// It failed; the next attempt is in this time.
    Waiting(Duration),
    /// Being made.
    Connecting,
    /// It has let us in this long ago.
    Up(Duration),
}

impl RelayStatus {
    /// Whether the relay has let this node in.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, RelayState::Up(_))
    }

    pub(crate) fn new(now: Instant, relay: RegionStatus) -> Self {
        let RegionStatus { region, code, state, node, rung, proxied, rtt, problem, last_failure } = relay;
        let state = match state {
            LinkState::Idle => RelayState::Idle,
            LinkState::Waiting(until) => RelayState::Waiting(until.saturating_duration_since(now)),
            LinkState::Connecting => RelayState::Connecting,
            LinkState::Up(since) => RelayState::Up(now.saturating_duration_since(since)),
        };
        Self { region, code, state, node, rung, proxied, rtt, problem, last_failure }
    }
}

/// A peer as it stands.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its node key.
    pub key: NodePublic,
    /// Its name in the map.
    pub name: String,
    /// Where packets for it go.
    pub route: Route,
    /// Time since the last handshake; `None` if there was none.
    pub last_handshake: Option<Duration>,
    /// Bytes of authenticated messages received.
    pub received: u64,
    /// Bytes of messages sent.
    pub sent: u64,
}

impl PeerStatus {
    /// Whether packets go by UDP alone: not through a DERP relay, and not both ways because the proof of a path ran out.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self.route, Route::One(hop) if !hop.is_derp())
    }
}
