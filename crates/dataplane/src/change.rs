//! What may be changed about a data plane while it runs, and which changes are refused whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use ipnet::IpNet;
use tidewire_keys::{DiscoPublic, NodePublic, PresharedKey, Tai64N};
use tidewire_transport::{OverlayId, RegionId};

use crate::Filter;

/// Another node, as the network map tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its WireGuard key: who it is.
    pub key: NodePublic,
    /// A further secret mixed into its handshakes; all zero for none.
    pub psk: PresharedKey,
    /// Its disco key. `None`: a plain WireGuard peer, found at `candidates` or wherever its packets come from.
    pub disco: Option<DiscoPublic>,
    /// What it owns: packets for these go to it, and packets from it must come from these.
    pub prefixes: Vec<IpNet>,
    /// UDP addresses at which it may be found.
    pub candidates: Vec<SocketAddr>,
    /// The relay site where it listens.
    pub home: Option<RegionId>,
    /// How often something is sent though there is nothing to say, for NATs that forget; `None` for never.
    pub keepalive: Option<Duration>,
}

/// A change to one peer, in the manner of `wg set`: what is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerUpdate {
    /// Which peer. It is added if there is none with this key.
    pub key: NodePublic,
    /// As [`Peer::psk`].
    pub psk: Option<PresharedKey>,
    /// Where it is found, from here on: for a plain WireGuard peer also where it was heard from elsewhere since.
    pub candidate: Option<SocketAddr>,
    /// As [`Peer::keepalive`]; `Some(None)` turns it off.
    pub keepalive: Option<Option<Duration>>,
    /// Whether it loses all its prefixes before `prefixes` are added.
    pub replace_prefixes: bool,
    /// Prefixes it gets; one that belongs to another peer is taken from that one.
    pub prefixes: Vec<IpNet>,
    /// Prefixes it loses, if they are its own.
    pub removed_prefixes: Vec<IpNet>,
}

/// A change to a running data plane. Each is applied wholly, or refused and nothing has happened.
#[derive(Clone, Debug)]
pub enum Change {
    /// The peers, all of them: whoever is not named is gone; whoever stays keeps session and path.
    Peers(Vec<Peer>),
    /// One peer.
    Update(PeerUpdate),
    /// One peer less. Nothing happens if there is none with this key.
    Remove(NodePublic),
    /// The newest handshake stamp of each peer that a data plane before this one has seen
    /// ([`TunnelStatus::newest_stamp`](crate::TunnelStatus)): what was recorded then is refused. Who is no peer is passed over.
    NewestStamps(Vec<(NodePublic, Tai64N)>),
    /// Which addresses are this node's own, and to which overlay packets for them go.
    Own(Vec<(IpNet, OverlayId)>),
    /// Where packets from peers go whose destination is in no own prefix; `None` drops them. A WireGuard device has its
    /// interface here, since the system routes behind it.
    DefaultOverlay(Option<OverlayId>),
    /// What peers may send here.
    Filter(Filter),
    /// The largest packet that overlays take, in bytes.
    Mtu(usize),
    /// Addresses of STUN servers.
    StunServers(Vec<SocketAddr>),
    /// This machine's own UDP addresses, with the port that is bound.
    LocalAddresses(Vec<SocketAddr>),
    /// Whether a relay site is connected.
    Relay {
        /// Which site.
        region: RegionId,
        /// Connected or not.
        up: bool,
    },
}

/// Why a change was refused. All are the configuration's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The same key for two peers.
    #[error("two peers have the key {0}")]
    DuplicateKey(NodePublic),
    /// The same disco key for two peers of the map.
    #[error("two peers have the disco key {0}")]
    DuplicateDisco(DiscoPublic),
    /// The same prefix for two peers.
    #[error("{prefix} belongs to {first} and to {second}")]
    DuplicatePrefix {
        /// The prefix.
        prefix: IpNet,
        /// One of them.
        first: NodePublic,
        /// The other.
        second: NodePublic,
    },
    /// A peer has this node's own key.
    #[error("a peer has this node's own key")]
    OwnKey,
    /// A peer claims an address of this node.
    #[error("{prefix} is this node's own, and peer {key} claims it")]
    OwnPrefix {
        /// The prefix.
        prefix: IpNet,
        /// Who claims it.
        key: NodePublic,
    },
    /// A key that can belong to nobody.
    #[error("the key {0} is of a kind that encrypts nothing")]
    WeakKey(NodePublic),
    /// An MTU below IPv6's least, or above what fits.
    #[error("an MTU of {0} is not between 68 and 65503")]
    Mtu(usize),
    /// More peers than numbers for them.
    #[error("more than {0} peers")]
    TooManyPeers(usize),
}

impl PeerUpdate {
    /// A peer of which nothing is known but the key.
    pub(crate) fn fresh(&self) -> Peer {
        Peer {
            key: self.key,
            psk: PresharedKey::from_bytes([0; 32]),
            disco: None,
            prefixes: Vec::new(),
            candidates: Vec::new(),
            home: None,
            keepalive: None,
        }
    }

    pub(crate) fn change(self, peer: &mut Peer) {
        if let Some(psk) = self.psk {
            peer.psk = psk;
        }
        if let Some(candidate) = self.candidate {
            peer.candidates = vec![candidate];
        }
        if let Some(keepalive) = self.keepalive {
            peer.keepalive = keepalive;
        }
        if self.replace_prefixes {
            peer.prefixes.clear();
        }
        // Some peers have thousands of prefixes: no search in lists.
        if !self.removed_prefixes.is_empty() {
            let removed: BTreeSet<IpNet> = self.removed_prefixes.iter().map(IpNet::trunc).collect();
            peer.prefixes.retain(|prefix| !removed.contains(&prefix.trunc()));
        }
        let mut known: BTreeSet<IpNet> = peer.prefixes.iter().map(IpNet::trunc).collect();
        peer.prefixes.extend(self.prefixes.iter().map(IpNet::trunc).filter(|prefix| known.insert(*prefix)));
    }
}

/// The most peers of one data plane.
pub const MAX_PEERS: usize = 1 << 20;

/// Checks a whole list of peers by itself and against what is this node's own.
pub(crate) fn check_peers(
    own_key: NodePublic,
    own: &[(IpNet, OverlayId)],
    peers: &[Peer],
) -> Result<(), Refused> {
    if peers.len() > MAX_PEERS {
        return Err(Refused::TooManyPeers(MAX_PEERS));
    }
    let own: BTreeSet<IpNet> = own.iter().map(|(net, _)| net.trunc()).collect();
    let mut keys = BTreeSet::new();
    let mut discos = BTreeSet::new();
    let mut prefixes: BTreeMap<IpNet, NodePublic> = BTreeMap::new();
    for peer in peers {
        check_key(own_key, peer.key)?;
        if !keys.insert(peer.key) {
            return Err(Refused::DuplicateKey(peer.key));
        }
        if let Some(disco) = peer.disco
            && !discos.insert(disco)
        {
            return Err(Refused::DuplicateDisco(disco));
        }
        for prefix in peer.prefixes.iter().map(IpNet::trunc) {
            if own.contains(&prefix) {
                return Err(Refused::OwnPrefix { prefix, key: peer.key });
            }
            match prefixes.insert(prefix, peer.key) {
                Some(first) if first != peer.key => {
                    return Err(Refused::DuplicatePrefix { prefix, first, second: peer.key });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Checks one key.
pub(crate) fn check_key(own_key: NodePublic, key: NodePublic) -> Result<(), Refused> {
    if key.is_zero() {
        return Err(Refused::WeakKey(key));
    }
    if key == own_key {
        return Err(Refused::OwnKey);
    }
    Ok(())
}

/// Checks an MTU: 68 is IPv4's least (RFC 791, 3.2), 65,503 fits a UDP datagram with WireGuard's header and tag.
pub(crate) const fn check_mtu(mtu: usize) -> Result<(), Refused> {
    if mtu < 68 || mtu > 65_503 { Err(Refused::Mtu(mtu)) } else { Ok(()) }
}
