//! Who owns an address: a peer, or an overlay of this node, by longest prefix.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use foldhash::fast::FixedState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use tidewire_keys::PeerId;
use tidewire_transport::OverlayId;

/// To whom packets for an address go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// Into the tunnel to this peer; and packets from it may carry such a source.
    Peer(PeerId),
    /// This node itself.
    Overlay(OverlayId),
}

/// Addresses and prefixes with their owners. Single addresses, by far the most, are found by hash; the rest by trie.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    hosts_v4: HashMap<Ipv4Addr, Owner, FixedState>,
    hosts_v6: HashMap<Ipv6Addr, Owner, FixedState>,
    nets_v4: PrefixMap<Ipv4Net, Owner>,
    nets_v6: PrefixMap<Ipv6Net, Owner>,
}

impl Routes {
    /// Gives `net` to `owner`; returns whose it was.
    pub(crate) fn insert(&mut self, net: IpNet, owner: Owner) -> Option<Owner> {
        match net {
            IpNet::V4(net) if net.prefix_len() == 32 => self.hosts_v4.insert(net.addr(), owner),
            IpNet::V6(net) if net.prefix_len() == 128 => self.hosts_v6.insert(net.addr(), owner),
            IpNet::V4(net) => self.nets_v4.insert(net.trunc(), owner),
            IpNet::V6(net) => self.nets_v6.insert(net.trunc(), owner),
        }
    }

    /// Takes `net` from `owner`; nothing happens where it belongs to another.
    pub(crate) fn remove(&mut self, net: IpNet, owner: Owner) {
        if self.get(net) != Some(owner) {
            return;
        }
        match net {
            IpNet::V4(net) if net.prefix_len() == 32 => drop(self.hosts_v4.remove(&net.addr())),
            IpNet::V6(net) if net.prefix_len() == 128 => drop(self.hosts_v6.remove(&net.addr())),
            IpNet::V4(net) => drop(self.nets_v4.remove(&net.trunc())),
            IpNet::V6(net) => drop(self.nets_v6.remove(&net.trunc())),
        }
    }

    /// The owner of exactly this prefix.
    pub(crate) fn get(&self, net: IpNet) -> Option<Owner> {
        match net {
            IpNet::V4(net) if net.prefix_len() == 32 => self.hosts_v4.get(&net.addr()).copied(),
            IpNet::V6(net) if net.prefix_len() == 128 => self.hosts_v6.get(&net.addr()).copied(),
            IpNet::V4(net) => self.nets_v4.get(&net.trunc()).copied(),
            IpNet::V6(net) => self.nets_v6.get(&net.trunc()).copied(),
        }
    }

    /// The owner of the longest prefix that holds `address`.
    #[inline]
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<Owner> {
        match address {
            IpAddr::V4(address) => self.hosts_v4.get(&address).copied().or_else(|| {
                if self.nets_v4.is_empty() {
                    return None;
                }
                self.nets_v4.get_lpm(&Ipv4Net::from(address)).map(|(_, owner)| *owner)
            }),
            IpAddr::V6(address) => self.hosts_v6.get(&address).copied().or_else(|| {
                if self.nets_v6.is_empty() {
                    return None;
                }
                self.nets_v6.get_lpm(&Ipv6Net::from(address)).map(|(_, owner)| *owner)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn peer(n: u32) -> Owner {
        Owner::Peer(PeerId(n))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut routes = Routes::default();
        for (n, text) in
            ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "fd00::/8", "fd00::1/128"]
                .iter()
                .enumerate()
        {
            assert_eq!(routes.insert(net(text), peer(u32::try_from(n).unwrap())), None);
        }
        let owner = |text: &str| routes.lookup(text.parse().unwrap());
        assert_eq!(owner("192.0.2.1"), Some(peer(0)));
        assert_eq!(owner("10.2.0.1"), Some(peer(1)));
        assert_eq!(owner("10.1.0.1"), Some(peer(2)));
        assert_eq!(owner("10.1.2.3"), Some(peer(3)));
        assert_eq!(owner("2001:db8::1"), Some(peer(4)));
        assert_eq!(owner("fd00::2"), Some(peer(5)));
        assert_eq!(owner("fd00::1"), Some(peer(6)));
    }

    #[test]
    fn a_prefix_is_the_same_however_its_host_bits_are_written() {
        let mut routes = Routes::default();
        routes.insert(net("10.1.2.3/8"), peer(1));
        assert_eq!(routes.insert(net("10.0.0.0/8"), peer(2)), Some(peer(1)));
        routes.remove(net("10.9.9.9/8"), peer(1));
        assert_eq!(routes.lookup("10.0.0.1".parse().unwrap()), Some(peer(2)));
        routes.remove(net("10.9.9.9/8"), peer(2));
        assert_eq!(routes.lookup("10.0.0.1".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(
            nets in proptest::collection::vec((any::<u8>(), 0u8..=32, 0u32..5), 0..30),
            removed in proptest::collection::vec(any::<bool>(), 30),
            asked in proptest::collection::vec(any::<u8>(), 20),
        ) {
            // Few distinct bits, so that prefixes nest and collide.
            let address = |bits: u8| Ipv4Addr::from(u32::from(bits >> 4) << 28 | u32::from(bits & 15));
            let mut routes = Routes::default();
            let mut list: Vec<(Ipv4Net, Owner)> = Vec::new();
            for (i, (bits, len, owner)) in nets.into_iter().enumerate() {
                let net = Ipv4Net::new(address(bits), len).unwrap().trunc();
                if removed[i] {
                    routes.remove(net.into(), peer(owner));
                    list.retain(|(n, o)| *n != net || *o != peer(owner));
                } else {
                    routes.insert(net.into(), peer(owner));
                    list.retain(|(n, _)| *n != net);
                    list.push((net, peer(owner)));
                }
            }
            for bits in asked {
                let expected = list.iter().filter(|(n, _)| n.contains(&address(bits)))
                    .max_by_key(|(n, _)| n.prefix_len()).map(|(_, o)| *o);
                prop_assert_eq!(routes.lookup(address(bits).into()), expected);
            }
        }
    }
}
