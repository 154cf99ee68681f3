//! What the tests stand on: a peer played by hand, and a small internet with NATs, a relay and a STUN server.

mod lone;
mod t0;
mod world;

use std::time::Duration;

use tidewire_keys::{DiscoSecret, Drbg, NodeSecret, Seed};
use tidewire_path::Identity;

pub(crate) use lone::{Lone, PEER};
pub(crate) use t0::t0;
pub(crate) use world::{Nat, World};

/// The keys of one node.
pub(crate) struct Keys {
    pub(crate) node: NodeSecret,
    pub(crate) disco: DiscoSecret,
}

impl Keys {
    pub(crate) fn new(name: &str) -> Self {
        let mut drbg = Drbg::new(&Seed::new([7; 32]), name);
        Self { node: NodeSecret::generate(&mut drbg), disco: DiscoSecret::generate(&mut drbg) }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity { node: self.node.public(), disco: self.disco.clone() }
    }
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn addr(text: &str) -> std::net::SocketAddr {
    text.parse().unwrap()
}
