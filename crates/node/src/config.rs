//! What a node is told at its start, and what the network map says, as Rust types.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use tidewire_dataplane::Filter;
use tidewire_derp::{Region, RegionId};
use tidewire_keys::{DiscoPublic, DiscoSecret, Drbg, NodePublic, NodeSecret, PresharedKey, Seed};

/// The two secret keys of a node. Without them there is no configuration, so nothing can run without a key.
#[derive(Debug)]
pub struct Keys {
    /// The node's identity: its WireGuard key, and its login at relays.
    pub node: NodeSecret,
    /// Authenticates path discovery. Kept with the node key, so that a restarted node is found again at once.
    pub disco: DiscoSecret,
}

/// Everything that a node needs to run. Made by [`Config::new`], which asks for what has no default.
#[derive(Debug)]
pub struct Config {
    pub(crate) keys: Keys,
    pub(crate) filter: Filter,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) listen: u16,
    pub(crate) mtu: usize,
    pub(crate) home: Option<RegionId>,
    pub(crate) map: Map,
    pub(crate) stamp_file: Option<PathBuf>,
    pub(crate) extra_roots: Vec<Vec<u8>>,
    pub(crate) force_websocket: bool,
    #[cfg(all(feature = "tun", unix))]
    pub(crate) interface: Option<String>,
}

/// The network map: who the others are and where relays stand. Replaced whole by [`Node::apply`](crate::Node::apply).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Map {
    /// Relay sites.
    pub regions: Vec<Region>,
    /// The other nodes.
    pub peers: Vec<Peer>,
}

/// Another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its node key.
    pub key: NodePublic,
    /// Its disco key; `None` for a plain WireGuard peer, which has no relay and no path discovery.
    pub disco: Option<DiscoPublic>,
    /// For people only.
    pub name: String,
    /// Its overlay addresses.
    pub addresses: Vec<IpNet>,
    /// Further routes behind it. A longer prefix of another peer wins; the same prefix for two peers is refused.
    pub allowed_ips: Vec<IpNet>,
    /// The relay site where it listens.
    pub home: Option<RegionId>,
    /// UDP addresses at which it may be found.
    pub candidates: Vec<SocketAddr>,
    /// A further secret mixed into its handshakes.
    pub psk: Option<PresharedKey>,
    /// How often to send though there is nothing to say.
    pub keepalive: Option<Duration>,
}

impl Keys {
    /// New keys from the system's randomness.
    ///
    /// # Errors
    /// The system's error if it has no randomness to give.
    pub fn generate() -> std::io::Result<Self> {
        let mut drbg = Drbg::new(&fresh_seed()?, "node keys");
        Ok(Self { node: NodeSecret::generate(&mut drbg), disco: DiscoSecret::generate(&mut drbg) })
    }
}

/// 32 bytes of the system's randomness.
pub(crate) fn fresh_seed() -> std::io::Result<Seed> {
    Seed::try_fill(getrandom::fill).map_err(std::io::Error::from)
}

impl Config {
    /// A node with these keys and this filter, no address, no peers, any UDP port, an MTU of 1280.
    #[must_use]
    pub fn new(keys: Keys, filter: Filter) -> Self {
        Self {
            keys,
            filter,
            addresses: Vec::new(),
            listen: 0,
            mtu: tidewire_dataplane::DEFAULT_MTU,
            home: None,
            map: Map::default(),
            stamp_file: None,
            extra_roots: Vec::new(),
            force_websocket: false,
            #[cfg(all(feature = "tun", unix))]
            interface: None,
        }
    }

    /// Adds an overlay address of this node. In user space there can be eight.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpNet>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// The UDP port; 0, the default, for any.
    #[must_use]
    pub const fn listen(mut self, port: u16) -> Self {
        self.listen = port;
        self
    }

    /// The largest overlay packet in bytes.
    #[must_use]
    pub const fn mtu(mut self, mtu: usize) -> Self {
        self.mtu = mtu;
        self
    }

    /// Pins the home region: the relay site where this node always listens. Without it the node chooses, and tells.
    #[must_use]
    pub const fn home(mut self, region: RegionId) -> Self {
        self.home = Some(region);
        self
    }

    /// The network map to begin with.
    #[must_use]
    pub fn map(mut self, map: Map) -> Self {
        self.map = map;
        self
    }

    /// A file that keeps the last handshake time stamp, so that a restart on a machine whose clock went back is not locked out by peers.
    #[must_use]
    pub fn stamp_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stamp_file = Some(path.into());
        self
    }

    /// Trusts the certificates of relays that this authority issued, too: its own certificate, in DER. A relay with a pin in the map
    /// needs none.
    #[must_use]
    pub fn extra_root(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        self.extra_roots.push(certificate.into());
        self
    }

    /// Speaks to relays by WebSocket alone. The node falls back to it by itself where nothing better passes; this is for networks that
    /// punish the attempt.
    #[must_use]
    pub const fn force_websocket(mut self) -> Self {
        self.force_websocket = true;
        self
    }

    /// Gives the node an interface of this name in the place of a stack in user space: its connections are the system's then. The
    /// interface has the node's addresses and MTU, routes to the prefixes of all peers (on Linux, and none to `0.0.0.0/0`, `::/0` or
    /// a prefix that holds a relay's address), and goes with the node. To addresses behind those routes the node's own datagrams
    /// are not sent, for they would come back: a peer in a network that it gives access to is reached by its other addresses.
    #[cfg(all(feature = "tun", unix))]
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// The public key of this node.
    #[must_use]
    pub fn public_key(&self) -> NodePublic {
        self.keys.node.public()
    }

    /// The public disco key of this node.
    #[must_use]
    pub fn disco_key(&self) -> DiscoPublic {
        self.keys.disco.public()
    }
}

impl Peer {
    /// A peer with these keys and nothing else said.
    #[must_use]
    pub const fn new(key: NodePublic, disco: DiscoPublic) -> Self {
        Self {
            key,
            disco: Some(disco),
            name: String::new(),
            addresses: Vec::new(),
            allowed_ips: Vec::new(),
            home: None,
            candidates: Vec::new(),
            psk: None,
            keepalive: None,
        }
    }

    /// A plain WireGuard peer: no disco, no relay.
    #[must_use]
    pub const fn wireguard(key: NodePublic) -> Self {
        let mut peer = Self::new(key, DiscoPublic::from_bytes([0; 32]));
        peer.disco = None;
        peer
    }

    /// Adds an overlay address.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpNet>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Adds a UDP address at which it may be found.
    #[must_use]
    pub fn candidate(mut self, candidate: SocketAddr) -> Self {
        self.candidates.push(candidate);
        self
    }

    /// The relay site where it listens.
    #[must_use]
    pub const fn home(mut self, region: RegionId) -> Self {
        self.home = Some(region);
        self
    }

    /// A name for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl From<Peer> for tidewire_dataplane::Peer {
    fn from(peer: Peer) -> Self {
        Self {
            key: peer.key,
            psk: peer.psk.unwrap_or_else(|| PresharedKey::from_bytes([0; 32])),
            disco: peer.disco,
            prefixes: peer.addresses.into_iter().chain(peer.allowed_ips).collect(),
            candidates: peer.candidates,
            home: peer.home,
            keepalive: peer.keepalive,
        }
    }
}
