//! Which addresses of a CallMeMaybe are used, and when one of our own is sent.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use tidewire_transport::Hop;

use crate::{
    discard::{Discard, Discards},
    limits::{CALL, CALL_AGAIN, CALL_GAP, MAX_CALLED},
};

/// Whether a datagram for one host can be sent there. Where the prefixes around us are not known, neither are their
/// broadcast addresses; the all-ones one is.
pub(crate) fn is_sendable(addr: SocketAddr) -> bool {
    let ip = match addr.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip != Ipv4Addr::BROADCAST && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip && addr.port() != 0
}

/// Whether an address that another machine tells can mean the same thing here: a link-local IPv6 address without its
/// interface does not.
pub(crate) fn is_tellable(addr: SocketAddr) -> bool {
    is_sendable(addr) && !matches!(addr.ip().to_canonical(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The one form of an address by which it is compared.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    Hop::udp(addr).socket_addr().unwrap_or(addr)
}

/// The addresses of a CallMeMaybe that are used: each once, in order, within the limit. The others are counted.
pub(crate) fn usable(addrs: &[SocketAddr], discards: &mut Discards) -> Vec<SocketAddr> {
    let mut used = Vec::new();
    for addr in addrs.iter().copied().map(canonical) {
        if !is_tellable(addr) {
            discards.count(Discard::CallAddress);
        } else if used.contains(&addr) {
            // A peer may list an address twice.
        } else if used.len() >= MAX_CALLED {
            discards.count(Discard::CallLimit);
        } else {
            used.push(addr);
        }
    }
    used
}

/// When a CallMeMaybe is due. Receiving one is never a reason to send one.
#[derive(Default, Debug)]
pub(crate) struct Calls {
    due: Option<Instant>,
    /// Whether there is news to tell, so that it is sent even when a path is proven meanwhile.
    has_news: bool,
    /// Sent in this search.
    made: u32,
    pub(crate) last: Option<Instant>,
    pub(crate) last_heard: Option<Instant>,
}

impl Calls {
    /// A search begins.
    pub(crate) fn search(&mut self, now: Instant) {
        self.made = 0;
        self.at_latest(now);
    }

    /// There is news for the peer.
    pub(crate) fn tell(&mut self, now: Instant) {
        self.has_news = true;
        self.at_latest(now);
    }

    /// What was told before is void, however lately.
    pub(crate) const fn at_once(&mut self, now: Instant) {
        self.has_news = true;
        self.due = Some(now);
    }

    /// The search goes on, and the peer is doing its part just now.
    pub(crate) fn later(&mut self, now: Instant) {
        self.at_latest(now + CALL);
    }

    /// The search is over.
    pub(crate) const fn settle(&mut self) {
        if !self.has_news {
            self.due = None;
        }
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// One was sent; more will be while the search goes on.
    pub(crate) fn sent(&mut self, now: Instant, searching: bool) {
        self.last = Some(now);
        let gap = if self.made == 0 { CALL_AGAIN } else { CALL };
        self.made = self.made.saturating_add(1);
        self.due = searching.then(|| now + gap);
        self.has_news = false;
    }

    fn at_latest(&mut self, at: Instant) {
        let due = self.last.map_or(at, |last| at.max(last + CALL_GAP));
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    #[test]
    fn never_to_broadcast_multicast_unspecified_port_0_or_link_local_ipv6() {
        let bad = addrs(&[
            "255.255.255.255:1",
            "224.0.0.1:1",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "192.0.2.1:0",
            "[::]:1",
            "[ff02::1]:1",
            "[fe80::1]:1",
            "[::ffff:224.0.0.1]:1",
            "[::ffff:255.255.255.255]:1",
        ]);
        let mut discards = Discards::default();
        assert_eq!(usable(&bad, &mut discards), []);
        assert_eq!(discards.get(Discard::CallAddress), bad.len() as u64);
        let good = addrs(&[
            "192.0.2.1:1",
            "169.254.1.1:2",
            "127.0.0.1:3",
            "10.0.0.1:4",
            "[2001:db8::1]:5",
            "[fd00::1]:6",
        ]);
        assert_eq!(usable(&good, &mut discards), good);
    }

    #[test]
    fn an_address_counts_once_in_whatever_form() {
        let list = addrs(&["192.0.2.1:1", "[::ffff:192.0.2.1]:1", "192.0.2.1:1", "192.0.2.1:2"]);
        assert_eq!(usable(&list, &mut Discards::default()), addrs(&["192.0.2.1:1", "192.0.2.1:2"]));
    }

    #[test]
    fn a_message_counts_up_to_the_limit() {
        let list: Vec<_> = (1..=130).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        let mut discards = Discards::default();
        assert_eq!(usable(&list, &mut discards), list[..MAX_CALLED]);
        assert_eq!(discards.get(Discard::CallLimit), 130 - MAX_CALLED as u64);
    }
}
