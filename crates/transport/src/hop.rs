//! Where the next or the previous stop of a datagram is.

use std::{fmt, net::SocketAddr};

use tidewire_keys::NodePublic;

/// A relay site's number, as in Tailscale's DERPMap; never zero in a map.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RegionId(pub u16);

/// A Geneve virtual network identifier: 24 bits (RFC 8926, 3.4). A peer relay issues 1 and above.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vni(u32);

/// The next or previous stop of a datagram. Closed: a new way to travel shows every place that has to know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hop {
    /// A UDP socket address. An IPv4 address is never written as an IPv4-mapped IPv6 one.
    Udp(SocketAddr),
    /// Behind a peer relay: the relay's UDP address and the Geneve number that names the pair of peers there.
    Relayed {
        /// The peer relay's UDP address.
        server: SocketAddr,
        /// Which pair of peers.
        vni: Vni,
    },
    /// Behind a DERP relay.
    Derp {
        /// The relay's site.
        region: RegionId,
        /// The node key of the peer there.
        peer_key: NodePublic,
    },
}

impl Vni {
    /// `None` for zero and for more than 24 bits.
    #[must_use]
    pub const fn new(vni: u32) -> Option<Self> {
        if vni == 0 || vni > 0x00ff_ffff { None } else { Some(Self(vni)) }
    }

    /// The number, 1 to 2^24 - 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Hop {
    /// A UDP hop, with an IPv4-mapped IPv6 address written as the IPv4 address that it is.
    #[must_use]
    pub fn udp(addr: SocketAddr) -> Self {
        Self::Udp(SocketAddr::new(addr.ip().to_canonical(), addr.port()).with_scope_of(addr))
    }

    /// The UDP address that datagrams for this hop are sent to, if any.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Udp(addr) | Self::Relayed { server: addr, .. } => Some(*addr),
            Self::Derp { .. } => None,
        }
    }

    /// Whether it leads through a DERP relay.
    #[must_use]
    pub const fn is_derp(&self) -> bool {
        matches!(self, Self::Derp { .. })
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(addr) => write!(f, "{addr}"),
            Self::Relayed { server, vni } => write!(f, "{server} vni {}", vni.get()),
            Self::Derp { region, .. } => write!(f, "relay {region}"),
        }
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

trait WithScope {
    fn with_scope_of(self, other: SocketAddr) -> SocketAddr;
}

impl WithScope for SocketAddr {
    /// Keeps the interface of a link-local address; the flow label is no part of where a datagram goes.
    fn with_scope_of(mut self, other: SocketAddr) -> SocketAddr {
        if let (Self::V6(to), Self::V6(from)) = (&mut self, other) {
            to.set_scope_id(from.scope_id());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped = "[::ffff:192.0.2.1]:41641".parse().unwrap();
        assert_eq!(Hop::udp(mapped), Hop::Udp("192.0.2.1:41641".parse().unwrap()));
    }

    #[test]
    fn a_link_local_address_keeps_its_interface() {
        let addr: SocketAddr = "[fe80::1%3]:1".parse().unwrap();
        assert_eq!(Hop::udp(addr).socket_addr(), Some(addr));
    }

    #[test]
    fn a_vni_has_24_bits_and_is_not_zero() {
        assert_eq!(Vni::new(0), None);
        assert_eq!(Vni::new(0x0100_0000), None);
        assert_eq!(Vni::new(0x00ff_ffff).map(Vni::get), Some(0x00ff_ffff));
    }
}
