//! What a simulated network offers: hosts that run the real core, and a world that moves time and datagrams.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod host;
mod link;
mod nat;
mod packet;
mod world;

pub use crate::{
    host::HostId,
    link::Link,
    nat::{Mapping, Nat},
    world::World,
};
