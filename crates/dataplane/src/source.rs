//! How a hop is written into the opaque source that the tunnel takes with each handshake message, and read back.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use tidewire_keys::NodePublic;
use tidewire_transport::{Hop, RegionId, Vni};
use tidewire_tunnel::Source;

// DERP: the node key, which is the group, and the region.
// UDP: address (16), scope (4), Geneve number (4, zero for none), eight zero bytes, and the port. A node key with those eight bytes
// zero would be taken for an address; to make such a key takes 2^64 tries and wins one answer sent astray.
const MARK: std::ops::Range<usize> = 24..32;

/// Writes `hop`. Every hop has one form, and no two hops share one.
pub(crate) fn encode(hop: &Hop) -> Source {
    let mut bytes = [0; 34];
    let group = match hop {
        Hop::Derp { region, peer_key } => {
            bytes[..32].copy_from_slice(peer_key.as_bytes());
            bytes[32..].copy_from_slice(&region.0.to_be_bytes());
            32
        }
        Hop::Udp(addr) => encode_addr(&mut bytes, *addr),
        Hop::Relayed { server, vni } => {
            bytes[20..24].copy_from_slice(&vni.get().to_be_bytes());
            encode_addr(&mut bytes, *server)
        }
    };
    Source::new(bytes, group)
}

/// Reads back what [`encode`] wrote.
pub(crate) fn decode(source: &Source) -> Hop {
    let bytes = source.place();
    let last = u16::from_be_bytes([bytes[32], bytes[33]]);
    if bytes[MARK] != [0; 8] {
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[..32]);
        return Hop::Derp { region: RegionId(last), peer_key: NodePublic::from_bytes(key) };
    }
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[..16]);
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let server = match IpAddr::from(octets).to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, last)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, last, 0, word(16)).into(),
    };
    Vni::new(word(20)).map_or(Hop::Udp(server), |vni| Hop::Relayed { server, vni })
}

// Returns how many bytes name the group. Whoever has one IPv6 address has its whole /64 (as Linux budgets them), and every
// port and every Geneve number at an address.
fn encode_addr(bytes: &mut [u8; 34], addr: SocketAddr) -> usize {
    let (ip, scope) = match addr {
        SocketAddr::V4(addr) => (addr.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(addr) => (*addr.ip(), addr.scope_id()),
    };
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..20].copy_from_slice(&scope.to_be_bytes());
    bytes[32..].copy_from_slice(&addr.port().to_be_bytes());
    if ip.to_ipv4_mapped().is_some() { 16 } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_hop_comes_back() {
        let addr: SocketAddr = "192.0.2.7:41641".parse().unwrap();
        let v6: SocketAddr = "[fe80::7%5]:1".parse().unwrap();
        let hops = [
            Hop::Udp(addr),
            Hop::Udp(v6),
            Hop::Relayed { server: v6, vni: Vni::new(0x00ab_cdef).unwrap() },
            Hop::Derp { region: RegionId(900), peer_key: NodePublic::from_bytes([7; 32]) },
        ];
        for hop in hops {
            assert_eq!(decode(&encode(&hop)), hop);
        }
    }

    #[test]
    fn a_group_is_what_one_sender_has_for_nothing() {
        let group = |text: &str| encode(&Hop::Udp(text.parse().unwrap())).group();
        assert_eq!(group("192.0.2.7:1"), group("192.0.2.7:2"));
        assert_ne!(group("192.0.2.7:1"), group("192.0.2.8:1"));
        assert_eq!(group("[2001:db8:0:1::1]:1"), group("[2001:db8:0:1:ffff::9]:7"));
        assert_ne!(group("[2001:db8:0:1::1]:1"), group("[2001:db8:0:2::1]:1"));
        assert_eq!(group("192.0.2.7:1"), group("[::ffff:192.0.2.7]:1"));
        let relayed =
            |vni| Hop::Relayed { server: "192.0.2.7:3478".parse().unwrap(), vni: Vni::new(vni).unwrap() };
        assert_eq!(encode(&relayed(1)).group(), encode(&relayed(2)).group());
        let derp =
            |key, region| Hop::Derp { region: RegionId(region), peer_key: NodePublic::from_bytes([key; 32]) };
        assert_eq!(encode(&derp(7, 1)).group(), encode(&derp(7, 2)).group());
        assert_ne!(encode(&derp(7, 1)).group(), encode(&derp(8, 1)).group());
    }

    #[test]
    fn another_port_is_another_source() {
        let a = encode(&Hop::Udp("192.0.2.7:1".parse().unwrap()));
        let b = encode(&Hop::Udp("192.0.2.7:2".parse().unwrap()));
        assert_ne!(a.place(), b.place());
    }
}
