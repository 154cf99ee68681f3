//! Where relays are found: regions, the nodes in each, and what a node's fields mean.
//!
//! One set of types with two written forms: our own ([`Region::to_toml`], and serde with the feature `serde`) and
//! Tailscale's JSON `DERPMap` ([`Regions::from_derp_map`], [`Regions::to_derp_map`]).

mod derp_map;
#[cfg(feature = "serde")]
mod form;
mod text;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tidewire_transport::RegionId;

pub use derp_map::DerpMapError;
pub use text::BadCertName;

/// The port of a node that names none.
pub const DEFAULT_DERP_PORT: u16 = 443;
/// The STUN port of a node that names none (RFC 8489, section 18.6).
pub const DEFAULT_STUN_PORT: u16 = 3478;

/// A relay site. Its nodes serve the same clients; they are tried in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its number, not zero.
    pub id: RegionId,
    /// A short name for people and logs, such as `fra`.
    pub code: String,
    /// A name for people, such as `Frankfurt`; may be empty.
    pub name: String,
    /// Never measured and never chosen as home, though a peer may be reached through it.
    pub no_measure_no_home: bool,
    /// Its nodes, in the order in which they are tried.
    pub nodes: Vec<RegionNode>,
}

/// One relay of a region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegionNode {
    /// A name that is unique in the map, such as `900a`.
    pub name: String,
    /// DNS name or IP address: what is dialed unless an address is given, and what is sent as `Host` and checked in TLS.
    pub host_name: String,
    /// Its IPv4 address.
    pub ipv4: Family<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Family<Ipv6Addr>,
    /// TCP port of DERP.
    pub derp_port: u16,
    /// UDP port of STUN; `None` where it has no STUN.
    pub stun_port: Option<u16>,
    /// Sends STUN to this address instead: for tests.
    pub stun_test_ip: Option<IpAddr>,
    /// Which certificate it must show.
    pub cert_name: CertName,
    /// It answers STUN and nothing else.
    pub stun_only: bool,
    /// Plain HTTP serves `/generate_204` on port 80, for the search for captive portals.
    pub can_port_80: bool,
    /// It speaks plain HTTP, without TLS: for loopback and for relays inside a tunnel. Tailscale's map cannot say so.
    pub plain: bool,
}

/// How to find a node's address in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Family<A> {
    /// By DNS.
    #[default]
    Resolve,
    /// This address, without DNS.
    Address(A),
    /// Not at all: the node has no address in this family.
    Off,
}

/// Which certificate a node must show.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum CertName {
    /// One that a known authority issued for the node's host name.
    #[default]
    HostName,
    /// One that a known authority issued for this name; the host name is still what the relay is asked for.
    Name(String),
    /// The one certificate whose DER encoding has this SHA-256, whoever issued it.
    Pin([u8; 32]),
}

/// The regions of a map, each with a different number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Regions(BTreeMap<RegionId, Region>);

/// Why regions are no map. The configuration is to blame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegionError {
    /// Zero means "no region" in the field.
    #[error("region `{0}` has id 0: give it a number from 1 to 65535")]
    Zero(String),
    /// Two regions with one number.
    #[error("two regions have id {0}: give each a number of its own")]
    Twice(RegionId),
    /// Nothing to connect to.
    #[error("region {0} has no node: add one with a host_name")]
    NoNode(RegionId),
    /// A node that cannot be dialed or asked for: its host name is empty, or has characters that no name and no address has.
    #[error("node `{node}` of region {region} has no proper host_name: write its DNS name or IP address")]
    Host {
        /// The region.
        region: RegionId,
        /// The node's name.
        node: String,
    },
}

impl<A> Family<A> {
    /// The same with another type of address.
    #[must_use]
    pub fn map<B>(self, convert: impl FnOnce(A) -> B) -> Family<B> {
        match self {
            Self::Resolve => Family::Resolve,
            Self::Address(address) => Family::Address(convert(address)),
            Self::Off => Family::Off,
        }
    }
}

impl Regions {
    /// No region at all.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The region with that number.
    #[must_use]
    pub fn get(&self, id: RegionId) -> Option<&Region> {
        self.0.get(&id)
    }

    /// The regions in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Region> + DoubleEndedIterator {
        self.0.values()
    }

    /// The numbers in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = RegionId> + DoubleEndedIterator + '_ {
        self.0.keys().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a region.
    ///
    /// # Errors
    /// [`RegionError`] if it lacks something, or its number is taken; nothing is added.
    pub fn insert(&mut self, region: Region) -> Result<(), RegionError> {
        region.check()?;
        if self.0.contains_key(&region.id) {
            return Err(RegionError::Twice(region.id));
        }
        self.0.insert(region.id, region);
        Ok(())
    }
}

impl TryFrom<Vec<Region>> for Regions {
    type Error = RegionError;

    fn try_from(regions: Vec<Region>) -> Result<Self, RegionError> {
        let mut map = Self::new();
        regions.into_iter().try_for_each(|region| map.insert(region))?;
        Ok(map)
    }
}

impl From<Regions> for Vec<Region> {
    fn from(regions: Regions) -> Self {
        regions.0.into_values().collect()
    }
}

impl Region {
    /// A region with these nodes and nothing else said.
    #[must_use]
    pub fn new(id: RegionId, code: impl Into<String>, nodes: Vec<RegionNode>) -> Self {
        Self { id, code: code.into(), name: String::new(), no_measure_no_home: false, nodes }
    }

    fn check(&self) -> Result<(), RegionError> {
        if self.id.0 == 0 {
            return Err(RegionError::Zero(self.code.clone()));
        }
        if self.nodes.is_empty() {
            return Err(RegionError::NoNode(self.id));
        }
        match self.nodes.iter().find(|node| !node.has_proper_host()) {
            Some(node) => Err(RegionError::Host { region: self.id, node: node.name.clone() }),
            None => Ok(()),
        }
    }
}

impl RegionNode {
    /// A node with the default ports, found by DNS and verified by its host name.
    #[must_use]
    pub fn new(name: impl Into<String>, host_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            host_name: host_name.into(),
            ipv4: Family::Resolve,
            ipv6: Family::Resolve,
            derp_port: DEFAULT_DERP_PORT,
            stun_port: Some(DEFAULT_STUN_PORT),
            stun_test_ip: None,
            cert_name: CertName::HostName,
            stun_only: false,
            can_port_80: false,
            plain: false,
        }
    }

    /// Whether the host name can stand in a request: what a DNS name or an IP address is made of, and nothing that could
    /// end a line of HTTP.
    fn has_proper_host(&self) -> bool {
        let proper = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !self.host_name.is_empty() && self.host_name.len() <= 255 && self.host_name.chars().all(proper)
    }

    /// The address that the host name is, if it is one; brackets around an IPv6 address are allowed.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        let host = self.host_name.as_str();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().ok()
    }

    /// Where to find the IPv4 address. A host name that is an IP address suppresses the other family, unless that
    /// family's field says an address.
    #[must_use]
    pub fn find_ipv4(&self) -> Family<Ipv4Addr> {
        match (self.ipv4, self.host_ip()) {
            (Family::Resolve, Some(IpAddr::V4(ip))) => Family::Address(ip),
            (Family::Resolve, Some(IpAddr::V6(_))) => Family::Off,
            (family, _) => family,
        }
    }

    /// Where to find the IPv6 address; as [`find_ipv4`](Self::find_ipv4).
    #[must_use]
    pub fn find_ipv6(&self) -> Family<Ipv6Addr> {
        match (self.ipv6, self.host_ip()) {
            (Family::Resolve, Some(IpAddr::V6(ip))) => Family::Address(ip),
            (Family::Resolve, Some(IpAddr::V4(_))) => Family::Off,
            (family, _) => family,
        }
    }
}
