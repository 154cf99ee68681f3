//! What our own addresses look like from outside, and whether they differ with who is asked.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// How far away a relay is, as far as its address tells. What a relay in our own network sees is no contradiction to what one
/// beyond the router sees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reach {
    Loopback,
    Link,
    Private,
    Global,
}

/// What relays saw us send from: for each reach the first answer of each family, and whether IPv4 ones differed.
#[derive(Default, Debug)]
pub(crate) struct Addresses {
    v4: BTreeMap<Reach, V4>,
    v6: BTreeMap<Reach, SocketAddrV6>,
}

#[derive(Debug)]
struct V4 {
    server: SocketAddr,
    mapped: SocketAddrV4,
    /// Whether another server saw the same or something else.
    varies: Option<bool>,
}

impl Addresses {
    pub(crate) fn learn(&mut self, server: SocketAddr, mapped: SocketAddr) {
        let reach = Reach::of(server.ip());
        match mapped {
            SocketAddr::V6(mapped) => {
                self.v6.entry(reach).or_insert(mapped);
            }
            SocketAddr::V4(mapped) => {
                let known = self.v4.entry(reach).or_insert(V4 { server, mapped, varies: None });
                if known.mapped != mapped {
                    known.varies = Some(true);
                } else if known.server != server {
                    known.varies.get_or_insert(false);
                }
            }
        }
    }

    pub(crate) fn global_v4(&self) -> Option<SocketAddrV4> {
        self.v4.values().next_back().map(|known| known.mapped)
    }

    pub(crate) fn global_v6(&self) -> Option<SocketAddrV6> {
        self.v6.values().next_back().copied()
    }

    pub(crate) fn mapping_varies(&self) -> Option<bool> {
        self.v4.values().next_back()?.varies
    }
}

impl Reach {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Link,
            // With what carriers use behind their own NAT (RFC 6598).
            IpAddr::V4(ip) if ip.is_private() || ip.to_bits() >> 22 == 0x6440_0000 >> 22 => Self::Private,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Link,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Private,
            _ => Self::Global,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(answers: &[(&str, &str)]) -> Addresses {
        let mut addresses = Addresses::default();
        for (server, mapped) in answers {
            addresses.learn(server.parse().unwrap(), mapped.parse().unwrap());
        }
        addresses
    }

    #[test]
    fn a_mapping_varies_when_two_relays_see_different_addresses_or_ports() {
        let (a, b) = ("198.51.100.1:3478", "198.51.100.2:3478");
        for (answers, expected) in [
            (&[(a, "203.0.113.7:1")][..], None),
            (&[(a, "203.0.113.7:1"), (a, "203.0.113.7:1")], None),
            (&[(a, "203.0.113.7:1"), (b, "203.0.113.7:1")], Some(false)),
            (&[(a, "203.0.113.7:1"), (b, "203.0.113.7:2")], Some(true)),
            (&[(a, "203.0.113.7:1"), (b, "203.0.113.8:1")], Some(true)),
            (&[(a, "203.0.113.7:1"), (b, "203.0.113.8:1"), (b, "203.0.113.7:1")], Some(true)),
        ] {
            assert_eq!(learned(answers).mapping_varies(), expected, "{answers:?}");
        }
    }

    #[test]
    fn what_a_near_relay_sees_counts_only_where_there_is_no_far_one() {
        let near = [("192.168.1.2:3478", "192.168.1.5:9"), ("127.0.0.1:3478", "127.0.0.1:9")];
        let far = [("198.51.100.1:3478", "203.0.113.7:1"), ("198.51.100.2:3478", "203.0.113.7:1")];
        assert_eq!(learned(&near).global_v4(), Some("192.168.1.5:9".parse().unwrap()));
        assert_eq!(learned(&near).mapping_varies(), None);
        let all = learned(&[near, far].concat());
        assert_eq!(all.global_v4(), Some("203.0.113.7:1".parse().unwrap()));
        assert_eq!(all.mapping_varies(), Some(false));
        let carrier = learned(&[("100.127.0.1:3478", "100.64.0.9:1"), far[0]]);
        assert_eq!(
            (carrier.global_v4(), carrier.mapping_varies()),
            (Some("203.0.113.7:1".parse().unwrap()), None)
        );
    }

    #[test]
    fn the_families_are_apart() {
        let both =
            learned(&[("[2001:db8::1]:3478", "[2001:db8::7]:1"), ("198.51.100.1:3478", "203.0.113.7:1")]);
        assert_eq!(both.global_v6(), Some("[2001:db8::7]:1".parse().unwrap()));
        assert_eq!(both.mapping_varies(), None);
    }
}
