//! What a node tells its owner, and what it answers when asked.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use tidewire_dataplane::{Counters, Route};
use tidewire_derp::RegionId;
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
    /// The relay sites that are connected.
    pub relays: Vec<RegionId>,
    /// Where it can be reached by UDP, as far as it knows.
    pub own_addresses: Vec<SocketAddr>,
    /// Its peers, in the order of their keys.
    pub peers: Vec<PeerStatus>,
    /// What was counted.
    pub counters: Counters,
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
