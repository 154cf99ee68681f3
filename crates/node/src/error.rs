//! What can go wrong with a node, one type for each thing that is asked of it.

use std::io;

use tidewire_dataplane::Refused;
use tidewire_derp::region::RegionError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system did not give a thread, a socket or randomness.
    #[error("{what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The interface cannot be made: the process may not, the name is taken, the MTU or an address is impossible.
    #[error("the interface {name}: {source}")]
    Interface {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The map or the addresses cannot be.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The overlay addresses or the MTU do not fit user space, which needs one to eight addresses.
    #[error(transparent)]
    Stack(#[from] tidewire_netstack::ConfigError),
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] tidewire_derp::proxy::ProxyError),
    /// The relay client cannot be made.
    #[error(transparent)]
    Relays(#[from] tidewire_derp::client::BadRoot),
}

/// Why a network map was refused. The node goes on with the one it had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MapError {
    /// Something about the peers.
    #[error(transparent)]
    Peers(#[from] Refused),
    /// Something about the regions.
    #[error(transparent)]
    Regions(#[from] RegionError),
    /// The pinned home region is in no map.
    #[error("the home region {0} is not in the map")]
    Home(tidewire_derp::RegionId),
    /// The node stopped.
    #[error("the node is stopped")]
    Stopped,
}

/// The node is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the node is stopped")]
pub struct Stopped;

/// Why a ping had no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PingError {
    /// No answer in time, by any way.
    #[error("no answer within 5 s")]
    Timeout,
    /// Too many pings are waited for.
    #[error("too many pings at a time")]
    Busy,
    /// The peer cannot be asked: it is plain WireGuard, or there is no way to it.
    #[error("the peer cannot be asked: {0}")]
    Refused(&'static str),
    /// No peer has this key.
    #[error("no such peer")]
    NoPeer,
    /// The node stopped.
    #[error("the node is stopped")]
    Stopped,
}
