//! Which addresses nothing is sent to.

use std::net::IpAddr;

/// Addresses as ranges that do not touch, in order; IPv4 as IPv6 maps it.
#[derive(Debug, Default)]
pub(crate) struct Avoided(Vec<(u128, u128)>);

impl Avoided {
    /// Whatever these prefixes hold; host bits count for nothing.
    pub(crate) fn new(prefixes: &[(IpAddr, u8)]) -> Self {
        let mut ranges: Vec<_> = prefixes.iter().map(|(ip, len)| range(*ip, *len)).collect();
        ranges.sort_unstable();
        let mut apart: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match apart.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => apart.push((first, last)),
            }
        }
        Self(apart)
    }

    #[inline]
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let ip = number(ip);
        let behind = self.0.partition_point(|(first, _)| *first <= ip);
        behind.checked_sub(1).and_then(|i| self.0.get(i)).is_some_and(|(_, last)| ip <= *last)
    }
}

fn range(ip: IpAddr, len: u8) -> (u128, u128) {
    let len = match ip {
        IpAddr::V4(_) => 96 + u32::from(len.min(32)),
        IpAddr::V6(_) => u32::from(len.min(128)),
    };
    let hosts = u128::MAX.checked_shr(len).unwrap_or(0);
    let ip = number(ip);
    (ip & !hosts, ip | hosts)
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn avoided(prefixes: &[&str]) -> Avoided {
        let prefix = |text: &&str| {
            let (ip, len) = text.split_once('/').unwrap();
            (ip.parse().unwrap(), len.parse().unwrap())
        };
        Avoided::new(&prefixes.iter().map(prefix).collect::<Vec<_>>())
    }

    #[test]
    fn a_prefix_holds_its_first_and_its_last_address_and_none_beside() {
        let avoided = avoided(&["192.168.7.9/24", "100.64.0.2/32", "fd7a::/48", "0.0.0.0/8"]);
        for inside in ["192.168.7.0", "192.168.7.255", "100.64.0.2", "fd7a::", "fd7a:0:0:ffff::1", "0.0.0.0"]
        {
            assert!(avoided.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in
            ["192.168.6.255", "192.168.8.0", "100.64.0.1", "100.64.0.3", "fd7a:0:1::", "1.0.0.0", "::"]
        {
            assert!(!avoided.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn whole_families_and_nothing_at_all() {
        let [v4, v6] = ["203.0.113.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert!(avoided(&["0.0.0.0/0"]).contains(v4) && !avoided(&["0.0.0.0/0"]).contains(v6));
        assert!(avoided(&["::/0"]).contains(v6));
        assert!(!avoided(&[]).contains(v4));
    }

    proptest! {
        #[test]
        fn nested_and_neighbouring_prefixes_are_as_each_alone(
            prefixes in prop::collection::vec((0u32..64, 26u8..=32), 0..8),
            ip in 0u32..80,
        ) {
            let of = |bits: u32| IpAddr::from(bits.to_be_bytes());
            let prefixes: Vec<_> = prefixes.into_iter().map(|(bits, len)| (of(bits), len)).collect();
            let alone = prefixes.iter().any(|prefix| Avoided::new(&[*prefix]).contains(of(ip)));
            prop_assert_eq!(Avoided::new(&prefixes).contains(of(ip)), alone);
        }
    }
}
