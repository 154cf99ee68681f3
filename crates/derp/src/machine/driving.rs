//! What passes between the machine and whoever drives it: what is to be done, what was seen, and why to wake.

use std::time::Duration;

use tidewire_keys::RelayPublic;
use tidewire_transport::RegionId;

use super::ladder::Network;
use crate::{proxy::Proxy, region::RegionNode};

/// An attempt at a connection and, if it succeeds, the connection. Never used twice, so what is late is known as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId {
    pub(super) region: RegionId,
    pub(super) number: u64,
}

/// What is to be done by whoever has sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a stream, and report [`opened`](super::Machine::opened) or [`failed`](super::Machine::failed).
    Dial(Dial),
    /// Agree on WebSocket over the open stream (path [`DERP_PATH`](super::DERP_PATH), subprotocol `derp`), and report
    /// [`websocket_opened`](super::Machine::websocket_opened) or [`failed`](super::Machine::failed). Bytes are then the content of messages.
    WebSocket {
        /// On which stream.
        link: LinkId,
        /// For the host name.
        node: RegionNode,
    },
    /// Drop the stream, or stop opening it. Nothing that is reported of it counts any more.
    Close(LinkId),
}

/// How to open a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dial {
    /// What to report it as.
    pub link: LinkId,
    /// Which relay: address or name, port, and whether there is TLS and with which certificate.
    pub node: RegionNode,
    /// Through this proxy, which is given the host name and looks it up itself.
    pub proxy: Option<Proxy>,
    /// How much earlier IPv6 tries.
    pub ipv6_head_start: Duration,
}

/// What was seen while a stream was opened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Opened {
    /// The relay's key out of a `derpkey` certificate, if the handshake was TLS 1.3 and brought one.
    pub relay_key: Option<RelayPublic>,
    /// The protocol that the server chose in TLS; we offer none.
    pub alpn: Option<Vec<u8>>,
    /// The local network.
    pub network: Network,
    /// Whether by IPv6.
    pub ipv6: bool,
}

/// Why the machine wants to wake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// A wait before another round is over.
    Reconnect,
    /// A step of an attempt has taken too long.
    Connecting,
    /// A relay is to be asked whether it is there, or has not answered.
    Liveness,
    /// A packet has waited too long.
    Age,
    /// The relay's limit lets another packet pass.
    Allowance,
    /// A connection was not used for a minute.
    Idle,
}

impl LinkId {
    /// Which region it leads to.
    #[must_use]
    pub const fn region(self) -> RegionId {
        self.region
    }
}
