//! What the keys crate offers: the vocabulary of identity, chance and wall time that every other room builds on.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod drbg;
mod epoch;
mod key;
mod kind;
mod peer;
mod preshared;
#[cfg(feature = "serde")]
mod serde_text;
mod shared;
mod text;

pub use crate::drbg::{Drbg, Seed};
pub use crate::epoch::{Epoch, StampError, Tai64N};
pub use crate::key::{Public, Secret};
pub use crate::kind::{Disco, Kind, Node, Relay};
pub use crate::peer::PeerId;
pub use crate::preshared::PresharedKey;
pub use crate::shared::{BoxError, NONCE_LEN, SharedBox, TAG_LEN};
pub use crate::text::KeyError;

/// A node's own secret key: its WireGuard static key, and its login at a relay.
pub type NodeSecret = Secret<Node>;
/// A node's public key: who it is in the mesh, in WireGuard, and to a relay.
pub type NodePublic = Public<Node>;
/// The secret key that authenticates path discovery messages.
pub type DiscoSecret = Secret<Disco>;
/// The public key that names the sender of a path discovery message.
pub type DiscoPublic = Public<Disco>;
/// A relay server's secret key.
pub type RelaySecret = Secret<Relay>;
/// A relay server's public key, as its `ServerKey` frame announces it.
pub type RelayPublic = Public<Relay>;
