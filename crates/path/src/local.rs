//! What all peers share: this node's keys and addresses, the budget, the counts, and how a message is sealed.

use std::{collections::BTreeMap, fmt, time::Instant};

use tidewire_disco::Message;
use tidewire_keys::{DiscoPublic, DiscoSecret, Drbg, NodePublic, PeerId, SharedBox};
use tidewire_transport::{Hop, RegionId};

use crate::{budget::Budget, discard::Discards, own::Own, route::Out};

/// What all peers share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) node: NodePublic,
    pub(crate) drbg: Drbg,
    pub(crate) keyring: Keyring,
    pub(crate) own: Own,
    pub(crate) pings: Budget,
    pub(crate) discards: Discards,
    /// The relays that a connection was reported for, and whether it is there.
    pub(crate) relays: BTreeMap<RegionId, bool>,
}

/// The surroundings of one call.
pub(crate) struct Cx<'a> {
    pub(crate) now: Instant,
    pub(crate) local: &'a mut Local,
    pub(crate) out: &'a mut Out,
}

/// Who a disco key belongs to, and the boxes shared with each.
pub(crate) struct Keyring {
    secret: DiscoSecret,
    public: DiscoPublic,
    known: BTreeMap<DiscoPublic, Known>,
}

/// A disco key in use. Several nodes may share one.
#[derive(Default)]
struct Known {
    peers: Vec<PeerId>,
    /// Made when first needed: it costs a key agreement.
    shared: Option<SharedBox>,
}

impl Cx<'_> {
    /// Seals a message for a disco key and puts it out.
    pub(crate) fn send(&mut self, hop: Hop, to: &DiscoPublic, message: &Message) {
        let nonce = self.local.drbg.array();
        if let Some(datagram) = self.local.keyring.seal(to, message, nonce) {
            self.out.datagrams.push((hop, datagram));
        }
    }
}

impl Keyring {
    pub(crate) fn new(secret: DiscoSecret) -> Self {
        let public = secret.public();
        Self { secret, public, known: BTreeMap::new() }
    }

    /// A peer has this key from here on.
    pub(crate) fn add(&mut self, key: DiscoPublic, peer: PeerId) {
        let peers = &mut self.known.entry(key).or_default().peers;
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }

    /// A peer no longer has this key.
    pub(crate) fn remove(&mut self, key: &DiscoPublic, peer: PeerId) {
        if let Some(known) = self.known.get_mut(key) {
            known.peers.retain(|other| *other != peer);
            if known.peers.is_empty() {
                self.known.remove(key);
            }
        }
    }

    /// The peers that have this key; none for a stranger's.
    pub(crate) fn peers(&self, key: &DiscoPublic) -> &[PeerId] {
        self.known.get(key).map_or(&[], |known| &known.peers)
    }

    /// The box shared with a key; `None` for a stranger's, for which no cryptography is spent.
    pub(crate) fn shared(&mut self, key: &DiscoPublic) -> Option<&SharedBox> {
        let known = self.known.get_mut(key)?;
        Some(known.shared.get_or_insert_with(|| self.secret.shared(key)))
    }

    fn seal(
        &mut self,
        to: &DiscoPublic,
        message: &Message,
        nonce: [u8; tidewire_keys::NONCE_LEN],
    ) -> Option<Vec<u8>> {
        let public = self.public;
        Some(tidewire_disco::seal(message, &public, self.shared(to)?, nonce))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("public", &self.public).field("known", &self.known.len()).finish()
    }
}
