//! Through which relay a packet for a peer goes, and what is remembered of where peers were heard.

use std::collections::{BTreeMap, VecDeque};

use tidewire_keys::NodePublic;
use tidewire_transport::RegionId;

use super::{LinkId, limits::ROUTES};

/// What is known when a packet is to go to a peer whose home is some region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// The peer's home is in our map.
    pub known: bool,
    /// We are logged in there.
    pub up: bool,
    /// The region where the peer was last heard, if the very connection that brought it is still alive.
    pub heard: Option<RegionId>,
}

/// Which region to send through: the peer's home if we are connected to it, else the region where the peer was last
/// heard while that connection lives, else its home, which is to be connected to. Nothing goes to a region that is not in the map, and
/// nothing for such a region goes by a learned route either (as Tailscale does; but a connection that is still being made does not count as open here).
#[must_use]
pub const fn choose(home: RegionId, situation: Situation) -> Option<RegionId> {
    match situation {
        Situation { known: false, .. } => None,
        Situation { up: true, .. } | Situation { heard: None, .. } => Some(home),
        Situation { heard, .. } => heard,
    }
}

/// Through which connection peers were last heard. Bounded: the peer learned first is forgotten first.
#[derive(Debug)]
pub(crate) struct Routes {
    by_peer: BTreeMap<NodePublic, Route>,
    /// Peers in the order in which they were learned; one that was forgotten since is no longer in the map, or has another number there.
    order: VecDeque<(NodePublic, u64)>,
    learned: u64,
    last: Option<(NodePublic, LinkId)>,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    link: LinkId,
    number: u64,
}

impl Routes {
    pub(crate) const fn new() -> Self {
        Self { by_peer: BTreeMap::new(), order: VecDeque::new(), learned: 0, last: None, limit: ROUTES }
    }

    /// `peer` was heard through `link`.
    #[inline]
    pub(crate) fn learn(&mut self, peer: NodePublic, link: LinkId) {
        if self.last != Some((peer, link)) {
            self.last = Some((peer, link));
            self.insert(peer, link);
        }
    }

    /// The connection through which `peer` was last heard.
    pub(crate) fn get(&self, peer: &NodePublic) -> Option<LinkId> {
        self.by_peer.get(peer).map(|route| route.link)
    }

    /// A relay says that `peer` is not there. Says nothing about other relays.
    pub(crate) fn forget(&mut self, peer: &NodePublic, link: LinkId) {
        if self.get(peer) == Some(link) {
            self.by_peer.remove(peer);
            self.last = None;
        }
    }

    /// A connection is gone, and all routes through it.
    pub(crate) fn drop_link(&mut self, link: LinkId) {
        self.by_peer.retain(|_, route| route.link != link);
        self.last = None;
        self.tidy();
    }

    fn insert(&mut self, peer: NodePublic, link: LinkId) {
        if let Some(route) = self.by_peer.get_mut(&peer) {
            route.link = link;
            return;
        }
        while self.by_peer.len() >= self.limit {
            let Some((oldest, number)) = self.order.pop_front() else { break };
            if self.by_peer.get(&oldest).is_some_and(|route| route.number == number) {
                self.by_peer.remove(&oldest);
            }
        }
        self.learned += 1;
        self.by_peer.insert(peer, Route { link, number: self.learned });
        self.order.push_back((peer, self.learned));
        if self.order.len() > 2 * self.limit {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        let by_peer = &self.by_peer;
        self.order.retain(|(peer, number)| by_peer.get(peer).is_some_and(|route| route.number == *number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: RegionId = RegionId(1);
    const OTHER: RegionId = RegionId(2);

    fn link(number: u64) -> LinkId {
        LinkId { region: HOME, number }
    }

    fn peer(n: u16) -> NodePublic {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        NodePublic::from_bytes(bytes)
    }

    #[test]
    fn the_order_of_regions_in_every_situation() {
        for (known, up, heard, expected) in [
            (true, true, None, Some(HOME)),
            (true, true, Some(OTHER), Some(HOME)),
            (true, false, Some(OTHER), Some(OTHER)),
            (true, false, None, Some(HOME)),
            (false, false, None, None),
            (false, false, Some(OTHER), None),
            (false, true, Some(OTHER), None),
        ] {
            assert_eq!(choose(HOME, Situation { known, up, heard }), expected, "{known} {up} {heard:?}");
        }
    }

    #[test]
    fn a_route_dies_with_the_very_connection_that_brought_it() {
        let mut routes = Routes::new();
        routes.learn(peer(1), link(1));
        routes.learn(peer(2), link(2));
        routes.drop_link(link(1));
        assert_eq!((routes.get(&peer(1)), routes.get(&peer(2))), (None, Some(link(2))));
        routes.learn(peer(1), link(3));
        assert_eq!(routes.get(&peer(1)), Some(link(3)));
    }

    #[test]
    fn the_last_relay_that_brought_a_peer_counts() {
        let mut routes = Routes::new();
        for number in [1, 2, 1] {
            routes.learn(peer(1), link(number));
            assert_eq!(routes.get(&peer(1)), Some(link(number)));
        }
    }

    #[test]
    fn trap_a_route_that_peer_gone_removed_is_learned_again_by_the_next_packet() {
        let mut routes = Routes::new();
        routes.learn(peer(1), link(1));
        routes.forget(&peer(1), link(2));
        assert_eq!(routes.get(&peer(1)), Some(link(1)), "another relay's word counts for itself alone");
        routes.forget(&peer(1), link(1));
        assert_eq!(routes.get(&peer(1)), None);
        routes.learn(peer(1), link(1));
        assert_eq!(routes.get(&peer(1)), Some(link(1)));
    }

    #[test]
    fn a_relay_that_invents_peers_costs_bounded_memory() {
        let mut routes = Routes { limit: 100, ..Routes::new() };
        for n in 0..10_000 {
            routes.learn(peer(n), link(1));
            if n % 3 == 0 {
                routes.forget(&peer(n), link(1));
            }
            assert!(routes.by_peer.len() <= 100 && routes.order.len() <= 200);
        }
        assert_eq!(routes.get(&peer(9_998)), Some(link(1)));
        assert_eq!(routes.get(&peer(9_000)), None);
    }
}
