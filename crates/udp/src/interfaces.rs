//! Which addresses of this machine a peer on the same network could reach.

use std::{collections::BTreeSet, io, net::IpAddr};

use if_addrs::Interface;

/// Whether loopback addresses count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loopback {
    /// Never: other machines cannot reach them.
    Never,
    /// Where there is no other address: two nodes on a machine without network still find each other.
    IfAlone,
    /// As all others: for tests, and for several nodes on one machine.
    Always,
}

/// The addresses of interfaces that are up, in order, without duplicates; IPv4 first. `except` names interfaces that do
/// not count: one's own overlay, through which nobody can reach the underlay.
///
/// IPv4 link-local addresses (169.254/16) count only where there is nothing better, IPv6 ones never: without their zone
/// they mean nothing to a peer. As Tailscale does.
///
/// # Errors
/// What the system said when asked for its interfaces.
pub fn local_addresses(loopback: Loopback, except: &[&str]) -> io::Result<Vec<IpAddr>> {
    let up = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| interface.is_oper_up() && !except.contains(&interface.name.as_str()))
        .map(|interface: Interface| interface.ip());
    Ok(choose(up, loopback))
}

fn choose(up: impl Iterator<Item = IpAddr>, loopback: Loopback) -> Vec<IpAddr> {
    let mut regular = BTreeSet::new();
    let mut link_local = BTreeSet::new();
    let mut own = BTreeSet::new();
    for ip in up {
        match ip {
            ip if ip.is_unspecified() || ip.is_multicast() => {}
            ip if ip.is_loopback() => drop(own.insert(ip)),
            IpAddr::V4(v4) if v4.is_link_local() => drop(link_local.insert(ip)),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {}
            ip => drop(regular.insert(ip)),
        }
    }
    if regular.is_empty() {
        regular = link_local;
    }
    match loopback {
        Loopback::Never => {}
        Loopback::IfAlone if !regular.is_empty() => {}
        Loopback::IfAlone | Loopback::Always => regular.extend(own),
    }
    regular.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(up: &[&str], loopback: Loopback) -> Vec<String> {
        choose(up.iter().map(|ip| ip.parse().unwrap()), loopback).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn regular_addresses_come_once_and_in_order() {
        let up = ["fd00::2", "192.0.2.9", "127.0.0.1", "192.0.2.2", "fe80::1", "192.0.2.9", "169.254.1.1"];
        assert_eq!(chosen(&up, Loopback::Never), ["192.0.2.2", "192.0.2.9", "fd00::2"]);
        assert_eq!(chosen(&up, Loopback::IfAlone), ["192.0.2.2", "192.0.2.9", "fd00::2"]);
        assert_eq!(chosen(&up, Loopback::Always), ["127.0.0.1", "192.0.2.2", "192.0.2.9", "fd00::2"]);
    }

    #[test]
    fn ipv4_link_local_serves_where_there_is_nothing_better() {
        assert_eq!(chosen(&["169.254.1.1", "fe80::1", "::1"], Loopback::IfAlone), ["169.254.1.1"]);
    }

    #[test]
    fn loopback_serves_where_there_is_nothing_at_all() {
        assert_eq!(chosen(&["::1", "127.0.0.1"], Loopback::IfAlone), ["127.0.0.1", "::1"]);
        assert!(chosen(&["::1", "127.0.0.1"], Loopback::Never).is_empty());
    }

    #[test]
    fn this_machine_can_be_asked() {
        let all = local_addresses(Loopback::Always, &[]).unwrap();
        let without_lo = local_addresses(Loopback::Always, &["lo", "lo0"]).unwrap();
        assert!(without_lo.iter().all(|ip| all.contains(ip) && !ip.is_loopback()));
    }
}
