//! How the list of peers changes: tunnel, paths and routes in step, so that none knows a peer that another does not.

use std::{collections::BTreeSet, time::Instant};

use ipnet::IpNet;
use tidewire_keys::{NodePublic, PeerId};
use tidewire_transport::OverlayId;

use crate::{
    DataPlane,
    change::{MAX_PEERS, Peer, PeerUpdate, Refused, check_key, check_peers},
    core::PeerEntry,
    routes::Owner,
};

impl DataPlane {
    pub(crate) fn replace_peers(&mut self, now: Instant, peers: Vec<Peer>) -> Result<(), Refused> {
        check_peers(self.key, &self.own, &peers)?;
        let keys: BTreeSet<NodePublic> = peers.iter().map(|peer| peer.key).collect();
        let gone: Vec<NodePublic> = self.by_key.keys().filter(|key| !keys.contains(key)).copied().collect();
        for key in gone {
            self.remove_peer(now, key);
        }
        // All old prefixes go before any new one comes: a prefix that moves has no order in which it could be lost.
        for (id, entry) in &self.peers {
            for prefix in &entry.config.prefixes {
                self.routes.remove(*prefix, Owner::Peer(*id));
            }
        }
        for peer in peers {
            self.set_peer(now, peer);
        }
        Ok(())
    }

    pub(crate) fn update_peer(&mut self, now: Instant, update: PeerUpdate) -> Result<(), Refused> {
        check_key(self.key, update.key)?;
        let known = self.by_key.get(&update.key).and_then(|id| self.peers.get(id));
        if known.is_none() && self.peers.len() >= MAX_PEERS {
            return Err(Refused::TooManyPeers(MAX_PEERS));
        }
        let mut peer = known.map_or_else(|| update.fresh(), |entry| entry.config.clone());
        if let Some(prefix) =
            update.prefixes.iter().find(|p| self.own.iter().any(|(own, _)| own.trunc() == p.trunc()))
        {
            return Err(Refused::OwnPrefix { prefix: *prefix, key: update.key });
        }
        for prefix in update.prefixes.iter().map(IpNet::trunc) {
            self.take_prefix(prefix, update.key);
        }
        let candidate = update.candidate;
        let key = update.key;
        update.change(&mut peer);
        self.set_peer(now, peer);
        if let (Some(addr), Some(id)) = (candidate, self.by_key.get(&key)) {
            // Said again, though the map has not changed: the peer may have roamed since.
            self.paths.place(now, *id, addr, &mut self.scratch.path);
        }
        Ok(())
    }

    /// Takes a prefix from whoever has it, unless that is the peer with this key.
    fn take_prefix(&mut self, prefix: IpNet, key: NodePublic) {
        let Some(owner @ Owner::Peer(id)) = self.routes.get(prefix) else { return };
        if let Some(entry) = self.peers.get_mut(&id)
            && entry.config.key != key
        {
            entry.config.prefixes.retain(|p| p.trunc() != prefix);
            self.routes.remove(prefix, owner);
        }
    }

    /// Adds a peer, or changes one, with what was checked before.
    fn set_peer(&mut self, now: Instant, config: Peer) {
        let id = self.by_key.get(&config.key).copied().unwrap_or_else(|| self.new_id());
        if let Some(entry) = self.peers.get(&id) {
            for prefix in &entry.config.prefixes {
                self.routes.remove(*prefix, Owner::Peer(id));
            }
        }
        for prefix in &config.prefixes {
            self.routes.insert(*prefix, Owner::Peer(id));
        }
        self.by_key.insert(config.key, id);
        let path = tidewire_path::PeerConfig {
            node: config.key,
            disco: config.disco,
            candidates: config.candidates.clone(),
            home: config.home,
        };
        let tunnel = tidewire_tunnel::PeerConfig {
            key: config.key,
            psk: config.psk.clone(),
            keepalive: config.keepalive,
        };
        self.peers.insert(id, PeerEntry { config });
        // The place first: what the tunnel wants to send at once needs one.
        self.paths.set_peer(now, id, path, &mut self.scratch.path);
        self.tunnel.set_peer(now, id, tunnel, &mut self.scratch.tunnel);
    }

    pub(crate) fn remove_peer(&mut self, now: Instant, key: NodePublic) {
        let Some(id) = self.by_key.remove(&key) else { return };
        if let Some(entry) = self.peers.remove(&id) {
            for prefix in &entry.config.prefixes {
                self.routes.remove(*prefix, Owner::Peer(id));
            }
        }
        self.tunnel.remove_peer(id);
        self.paths.remove_peer(now, id, &mut self.scratch.path);
        self.free.insert(id);
    }

    pub(crate) fn set_own(&mut self, own: Vec<(IpNet, OverlayId)>) -> Result<(), Refused> {
        for (net, _) in &own {
            if let Some(Owner::Peer(id)) = self.routes.get(*net)
                && let Some(key) = self.key_of(id)
            {
                return Err(Refused::OwnPrefix { prefix: *net, key });
            }
        }
        for (net, overlay) in std::mem::replace(&mut self.own, own) {
            self.routes.remove(net, Owner::Overlay(overlay));
        }
        for (net, overlay) in &self.own {
            self.routes.insert(*net, Owner::Overlay(*overlay));
        }
        Ok(())
    }

    /// The lowest number that no peer has. Numbers are used again, so lists indexed by them stay short.
    fn new_id(&mut self) -> PeerId {
        self.free.pop_first().unwrap_or_else(|| {
            PeerId(u32::try_from(self.peers.len()).expect("the number of peers is bounded by MAX_PEERS"))
        })
    }
}
