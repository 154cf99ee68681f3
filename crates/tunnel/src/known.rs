//! Whose handshakes are answered: the own key, and the peers with the secret that each shares with it, computed once.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use tidewire_keys::{NodePublic, NodeSecret};
use zeroize::Zeroizing;

use crate::{dh, discard::Discard};

/// The own static key with its public key, which costs a base point multiplication.
pub(crate) struct Identity {
    secret: NodeSecret,
    public: NodePublic,
}

impl Identity {
    pub(crate) fn new(secret: NodeSecret) -> Self {
        let public = NodePublic::from_bytes(dh::public(secret.expose()));
        Self { secret, public }
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    pub(crate) fn public(&self) -> &NodePublic {
        &self.public
    }
}

/// The table that a responder's Diffie-Hellman looks into. Handshakes hold it by `Arc`, a change copies it only while one does.
#[derive(Clone)]
pub(crate) struct Known {
    identity: Arc<Identity>,
    peers: BTreeMap<NodePublic, Entry>,
}

#[derive(Clone)]
struct Entry {
    slot: u32,
    // The static-static secret, once the first handshake with the peer wanted it. `None` inside: the key is weak.
    shared: OnceLock<Option<Zeroizing<[u8; 32]>>>,
}

impl Known {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity: Arc::new(identity), peers: BTreeMap::new() }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    pub(crate) fn insert(&mut self, key: NodePublic, slot: u32) {
        self.peers.insert(key, Entry { slot, shared: OnceLock::new() });
    }

    pub(crate) fn remove(&mut self, key: &NodePublic) {
        self.peers.remove(key);
    }

    pub(crate) fn slot(&self, key: &NodePublic) -> Option<u32> {
        self.peers.get(key).map(|entry| entry.slot)
    }

    /// The secret shared by the own static key and the peer's.
    ///
    /// # Errors
    /// [`Discard::UnknownInitiator`] if `key` is no peer's, [`Discard::WeakKey`] if there is no secret to share.
    pub(crate) fn shared(&self, key: &NodePublic) -> Result<&Zeroizing<[u8; 32]>, Discard> {
        let entry = self.peers.get(key).ok_or(Discard::UnknownInitiator)?;
        let shared = entry.shared.get_or_init(|| dh::agree(self.identity.secret(), key.as_bytes()));
        shared.as_ref().ok_or(Discard::WeakKey)
    }
}
