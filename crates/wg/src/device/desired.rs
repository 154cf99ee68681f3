//! What the device is to be: its key, port, mark and peers, whether or not a data plane runs that does so.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tidewire_dataplane::{Change, Peer, PeerUpdate};
use tidewire_keys::{NodePublic, NodeSecret, PresharedKey, Tai64N};

use crate::uapi::{Errno, PeerSet, PrefixSet};

/// The most peers of a device: wireguard-go's limit.
const MAX_PEERS: usize = 1 << 16;
/// The most prefixes of all peers together.
const MAX_PREFIXES: usize = 1 << 20;

/// The device's configuration, as clients made it.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    key: Option<(NodeSecret, NodePublic)>,
    /// The UDP port; once bound, the one that is.
    pub(crate) listen_port: u16,
    pub(crate) fwmark: u32,
    pub(crate) peers: BTreeMap<NodePublic, Wanted>,
    // Whose each prefix is.
    owners: BTreeMap<IpNet, NodePublic>,
}

/// A peer as it is to be, and what of it outlives a data plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) psk: PresharedKey,
    /// Where it was said to be, or was heard last by a data plane that is no more.
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) keepalive: u16,
    pub(crate) prefixes: BTreeSet<IpNet>,
    /// What earlier data planes counted.
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    /// When the last handshake was, by both clocks: so that it is told the same time each time.
    pub(crate) last_handshake: Option<(Instant, Duration)>,
    /// The newest stamp that it began a handshake with. It is the peer's clock, so it holds under another key of ours too.
    pub(crate) newest_stamp: Option<Tai64N>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            psk: PresharedKey::from_bytes([0; 32]),
            endpoint: None,
            keepalive: 0,
            prefixes: BTreeSet::new(),
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: None,
            newest_stamp: None,
        }
    }
}

impl Desired {
    pub(crate) fn secret(&self) -> Option<&NodeSecret> {
        self.key.as_ref().map(|(secret, _)| secret)
    }

    pub(crate) fn public(&self) -> Option<NodePublic> {
        self.key.as_ref().map(|(_, public)| *public)
    }

    /// Takes another key, or none. A peer that has this very key goes. Whether anything changed.
    pub(crate) fn set_key(&mut self, secret: Option<NodeSecret>) -> bool {
        if secret.as_ref() == self.secret() {
            return false;
        }
        self.key = secret.map(|secret| {
            let public = secret.public();
            (secret, public)
        });
        if let Some(public) = self.public() {
            self.remove(&public);
        }
        true
    }

    /// Removes all peers.
    pub(crate) fn clear_peers(&mut self) -> Change {
        self.peers.clear();
        self.owners.clear();
        Change::Peers(Vec::new())
    }

    /// Does what is asked for one peer, wholly or not at all; returns what a data plane has to be told.
    ///
    /// As wireguard-go does, the device's own key is passed over in silence.
    pub(crate) fn set_peer(&mut self, set: PeerSet) -> Result<Option<Change>, Errno> {
        let key = set.key;
        if self.public() == Some(key) {
            return Ok(None);
        }
        if set.remove {
            return Ok(self.remove(&key).then_some(Change::Remove(key)));
        }
        let is_new = !self.peers.contains_key(&key);
        if is_new && set.update_only {
            return Ok(None);
        }
        if key.is_zero() || is_new && self.peers.len() >= MAX_PEERS {
            return Err(Errno::Invalid);
        }
        let (added, removed) = fold(&set.allowed_ips);
        if self.owners.len() + added.len() > MAX_PREFIXES {
            return Err(Errno::Invalid);
        }
        let wanted = self.peers.entry(key).or_default();
        if let Some(psk) = &set.psk {
            wanted.psk = psk.clone();
        }
        wanted.endpoint = set.endpoint.or(wanted.endpoint);
        wanted.keepalive = set.keepalive.unwrap_or(wanted.keepalive);
        self.set_prefixes(key, set.replace_allowed_ips, &added, &removed);
        Ok(Some(Change::Update(PeerUpdate {
            key,
            psk: set.psk,
            candidate: set.endpoint,
            keepalive: set.keepalive.map(interval),
            replace_prefixes: set.replace_allowed_ips,
            prefixes: added.into_iter().collect(),
            removed_prefixes: removed.into_iter().collect(),
        })))
    }

    /// All peers, for a new data plane.
    pub(crate) fn all_peers(&self) -> Vec<Peer> {
        let peer = |(key, wanted): (&NodePublic, &Wanted)| Peer {
            key: *key,
            psk: wanted.psk.clone(),
            disco: None,
            prefixes: wanted.prefixes.iter().copied().collect(),
            candidates: wanted.endpoint.into_iter().collect(),
            home: None,
            keepalive: interval(wanted.keepalive),
        };
        self.peers.iter().map(peer).collect()
    }

    /// The newest stamps of all peers, for a new data plane.
    pub(crate) fn newest_stamps(&self) -> Vec<(NodePublic, Tai64N)> {
        self.peers.iter().filter_map(|(key, wanted)| Some((*key, wanted.newest_stamp?))).collect()
    }

    fn remove(&mut self, key: &NodePublic) -> bool {
        let Some(wanted) = self.peers.remove(key) else { return false };
        for prefix in &wanted.prefixes {
            self.owners.remove(prefix);
        }
        true
    }

    fn set_prefixes(
        &mut self,
        key: NodePublic,
        replace: bool,
        added: &BTreeSet<IpNet>,
        removed: &BTreeSet<IpNet>,
    ) {
        let Some(wanted) = self.peers.get_mut(&key) else { return };
        let mut prefixes = std::mem::take(&mut wanted.prefixes);
        let lost = prefixes.extract_if(.., |prefix| replace || removed.contains(prefix));
        for prefix in lost {
            self.owners.remove(&prefix);
        }
        for prefix in added {
            if let Some(other) = self.owners.insert(*prefix, key)
                && other != key
                && let Some(other) = self.peers.get_mut(&other)
            {
                other.prefixes.remove(prefix);
            }
            prefixes.insert(*prefix);
        }
        if let Some(wanted) = self.peers.get_mut(&key) {
            wanted.prefixes = prefixes;
        }
    }
}

fn interval(seconds: u16) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// Of several lines about one prefix the last counts.
fn fold(lines: &[PrefixSet]) -> (BTreeSet<IpNet>, BTreeSet<IpNet>) {
    let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        match line {
            PrefixSet::Add(prefix) => {
                removed.remove(prefix);
                added.insert(*prefix);
            }
            PrefixSet::Remove(prefix) => {
                added.remove(prefix);
                removed.insert(*prefix);
            }
        }
    }
    (added, removed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> NodePublic {
        NodePublic::from_bytes([n; 32])
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn with(n: u8, prefixes: &[PrefixSet]) -> PeerSet {
        let mut set = PeerSet::new(key(n));
        set.allowed_ips = prefixes.to_vec();
        set
    }

    fn prefixes(desired: &Desired, n: u8) -> Vec<String> {
        desired.peers[&key(n)].prefixes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_prefix_moves_to_whoever_asks_last() {
        let mut desired = Desired::default();
        desired
            .set_peer(with(1, &[PrefixSet::Add(net("10.0.0.0/8")), PrefixSet::Add(net("10.0.0.0/16"))]))
            .unwrap();
        desired.set_peer(with(2, &[PrefixSet::Add(net("10.0.0.0/8"))])).unwrap();
        assert_eq!(prefixes(&desired, 1), ["10.0.0.0/16"]);
        assert_eq!(prefixes(&desired, 2), ["10.0.0.0/8"]);
        // What it lost is no longer its to take away.
        desired.set_peer(with(1, &[PrefixSet::Remove(net("10.0.0.0/8"))])).unwrap();
        assert_eq!(prefixes(&desired, 2), ["10.0.0.0/8"]);
        desired.set_peer(with(2, &[PrefixSet::Remove(net("10.0.0.0/8"))])).unwrap();
        assert!(prefixes(&desired, 2).is_empty() && !desired.owners.contains_key(&net("10.0.0.0/8")));
    }

    #[test]
    fn of_two_lines_about_one_prefix_the_later_counts() {
        let mut desired = Desired::default();
        let ten = net("10.0.0.0/8");
        desired.set_peer(with(1, &[PrefixSet::Remove(ten), PrefixSet::Add(ten)])).unwrap();
        assert_eq!(prefixes(&desired, 1), ["10.0.0.0/8"]);
        desired.set_peer(with(1, &[PrefixSet::Add(ten), PrefixSet::Remove(ten)])).unwrap();
        assert!(prefixes(&desired, 1).is_empty());
    }

    #[test]
    fn an_update_of_nobody_adds_nobody() {
        let mut desired = Desired::default();
        let mut set = with(1, &[PrefixSet::Add(net("10.0.0.0/8"))]);
        set.update_only = true;
        assert!(desired.set_peer(set.clone()).unwrap().is_none());
        set.update_only = false;
        set.remove = true;
        assert!(desired.set_peer(set).unwrap().is_none());
        assert!(desired.peers.is_empty() && desired.owners.is_empty());
    }

    #[test]
    fn what_is_not_said_stays() {
        let mut desired = Desired::default();
        let mut set = with(1, &[PrefixSet::Add(net("10.0.0.0/8"))]);
        set.endpoint = Some("192.0.2.1:1".parse().unwrap());
        set.keepalive = Some(25);
        set.psk = Some(PresharedKey::from_bytes([3; 32]));
        desired.set_peer(set).unwrap();
        let before = desired.peers[&key(1)].clone();
        desired.set_peer(PeerSet::new(key(1))).unwrap();
        assert_eq!(desired.peers[&key(1)], before);
    }

    #[test]
    fn the_own_key_is_no_peer_and_ceases_to_be_one() {
        let secret = NodeSecret::from_bytes([5; 32]);
        let public = secret.public();
        let mut desired = Desired::default();
        let mut set = PeerSet::new(public);
        set.allowed_ips = vec![PrefixSet::Add(net("10.0.0.0/8"))];
        assert!(desired.set_peer(set.clone()).unwrap().is_some());
        assert!(desired.set_key(Some(secret.clone())));
        assert!(!desired.set_key(Some(secret)));
        assert!(desired.peers.is_empty() && desired.owners.is_empty());
        assert!(desired.set_peer(set).unwrap().is_none());
        assert!(desired.peers.is_empty());
    }

    #[test]
    fn a_key_of_zeros_is_refused() {
        assert!(matches!(Desired::default().set_peer(with(0, &[])), Err(Errno::Invalid)));
    }

    proptest! {
        #[test]
        fn each_prefix_has_one_owner_and_both_tables_agree(
            steps in proptest::collection::vec((1u8..4, 0u8..6, 0u8..4, any::<bool>()), 0..60)
        ) {
            let mut desired = Desired::default();
            for (peer, bits, kind, replace) in steps {
                let prefix = net(&format!("10.{bits}.0.0/16"));
                let mut set = with(peer, &[if kind == 0 { PrefixSet::Remove(prefix) } else { PrefixSet::Add(prefix) }]);
                set.replace_allowed_ips = replace && kind == 1;
                set.remove = replace && kind == 2;
                desired.set_peer(set).unwrap();
                let listed: Vec<(IpNet, NodePublic)> = desired.peers.iter()
                    .flat_map(|(key, wanted)| wanted.prefixes.iter().map(|prefix| (*prefix, *key)))
                    .collect();
                prop_assert_eq!(listed.len(), desired.owners.len());
                prop_assert!(listed.iter().all(|(prefix, key)| desired.owners.get(prefix) == Some(key)));
            }
        }
    }
}
