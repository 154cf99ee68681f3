//! What happens to a packet between an overlay and the network outside, and what is told about it.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod change;
mod core;
mod counters;
mod discard;
mod drain;
#[cfg(feature = "tokio")]
pub mod driver;
mod event;
mod filter;
mod floor;
mod inbound;
mod out;
mod outbound;
mod peers;
mod routes;
mod source;
#[cfg(test)]
mod test_time;

pub use tidewire_path::{Explanation, PingRefusal, Route};
pub use tidewire_tunnel::PeerStatus as TunnelStatus;

pub use crate::{
    change::{Change, MAX_PEERS, Peer, PeerUpdate, Refused},
    core::{DEFAULT_MTU, DataPlane, Identity, PeerReport},
    counters::{Counters, HopKind, MessageKind, Traffic},
    discard::{Discard, Reason},
    event::{Command, Event, Why},
    filter::Filter,
    floor::{FLOOR, wake_up},
    out::Out,
};
