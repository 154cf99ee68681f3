//! What a `set=1` request asks for, as types.

use std::net::SocketAddr;

use ipnet::IpNet;
use tidewire_keys::{NodePublic, NodeSecret, PresharedKey};

/// One thing that a `set=1` request asks for. A request is a list of these, done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Set {
    /// `private_key`: the device's key; `None` (all zeros on the wire) takes it away.
    PrivateKey(Option<NodeSecret>),
    /// `listen_port`: the UDP port; 0 for any that is free.
    ListenPort(u16),
    /// `fwmark`: the mark of outgoing datagrams; 0 for none.
    Fwmark(u32),
    /// `replace_peers`: all peers go, before those of the request come.
    ReplacePeers,
    /// `public_key` and all lines behind it that are about that peer.
    Peer(PeerSet),
}

/// What is asked for one peer: what is `None`, empty or false stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerSet {
    /// `public_key`: which peer. It is added if there is none, unless `update_only` or `remove`.
    pub key: NodePublic,
    /// `remove`: the peer goes, whatever else is said.
    pub remove: bool,
    /// `update_only`: nothing happens where there is no such peer.
    pub update_only: bool,
    /// `preshared_key`: all zeros for none.
    pub psk: Option<PresharedKey>,
    /// `endpoint`: where it is found, until it is heard from elsewhere.
    pub endpoint: Option<SocketAddr>,
    /// `persistent_keepalive_interval`, in seconds; 0 turns it off.
    pub keepalive: Option<u16>,
    /// `replace_allowed_ips`: it loses all its prefixes before `allowed_ips`.
    pub replace_allowed_ips: bool,
    /// `allowed_ip`, in order: of two about one prefix the later one counts.
    pub allowed_ips: Vec<PrefixSet>,
}

/// A prefix that a peer gets or loses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrefixSet {
    /// The peer gets it; whoever had it loses it.
    Add(IpNet),
    /// The peer loses it, if it has it: a `-` before the prefix.
    Remove(IpNet),
}

impl PeerSet {
    /// Nothing but a peer that is there.
    #[must_use]
    pub const fn new(key: NodePublic) -> Self {
        Self {
            key,
            remove: false,
            update_only: false,
            psk: None,
            endpoint: None,
            keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}
