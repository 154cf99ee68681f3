//! Which kinds of X25519 key exist, and how each is written.

use core::fmt::Debug;
use core::hash::Hash;

/// What a key is for. Sealed: [`Node`], [`Disco`] and [`Relay`] are all there are.
///
/// The kinds are types, so that a disco key cannot be handed in where a node key is wanted.
pub trait Kind: sealed::Sealed + Copy + Ord + Hash + Debug + Send + Sync + Unpin + 'static {
    /// What the text form of a public key starts with; empty for relay keys, which are bare hex.
    const PREFIX: &'static str;
    /// The text form of a public key in words, for error messages.
    const FORM: &'static str;
    /// What `Debug` writes in front of the first bytes of a public key.
    const LABEL: &'static str;
}

/// Node keys: WireGuard static keys, written `nodekey:<64 hex>` or in WireGuard's base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Node {}

/// Disco keys, written `discokey:<64 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Disco {}

/// Relay (DERP) server keys, written as 64 hex digits without a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Relay {}

impl Kind for Node {
    const PREFIX: &'static str = "nodekey:";
    const FORM: &'static str = "`nodekey:` and 64 hex digits";
    const LABEL: &'static str = "nodekey:";
}

impl Kind for Disco {
    const PREFIX: &'static str = "discokey:";
    const FORM: &'static str = "`discokey:` and 64 hex digits";
    const LABEL: &'static str = "discokey:";
}

impl Kind for Relay {
    const PREFIX: &'static str = "";
    const FORM: &'static str = "64 hex digits";
    const LABEL: &'static str = "relaykey:";
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Node {}
    impl Sealed for super::Disco {}
    impl Sealed for super::Relay {}
}
