//! What it takes to embed a mesh node: a configuration, a start, a map that may change, and streams.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod error;
mod event;
#[cfg(feature = "file")]
mod file;
mod home;
#[cfg(all(feature = "tun", unix))]
mod interface;
mod job;
mod keeper;
mod local;
mod node;
mod parts;
mod shared;
mod told;
mod tuning;

pub use tidewire_clock as clock;
pub use tidewire_dataplane::{Counters, Explanation, Filter, HopKind, Reason, Refused, Route};
pub use tidewire_derp::{
    Region, RegionId, RegionNode,
    machine::{Failure as RelayFailure, Rung, Seen, Step},
};
pub use tidewire_netstack::{TcpListener, TcpStream, UdpSocket};
pub use tidewire_transport::{
    Fault, FromOverlay, FromUnderlay, Hop, OverlayId, ToOverlay, ToUnderlay, Underlay,
};

#[cfg(feature = "file")]
pub use crate::file::{FileError, KeyFileError, read_keys, read_regions, write_keys};
pub use crate::{
    config::{Config, Keys, Map, Peer},
    error::{MapError, PingError, StartError, Stopped},
    event::{Event, Events, PeerStatus, Pong, RelayState, RelayStatus, Status},
    node::Node,
    tuning::Tuning,
};
