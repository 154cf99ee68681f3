//! What has been told of each relay site: to the core, whether it lets us in; to the owner, how it failed.

use std::collections::{BTreeMap, BTreeSet};

use tidewire_derp::{
    RegionId, Regions,
    machine::{Failure, Failures, LinkState, RegionStatus},
};

/// What the core and the owner know of the relay sites.
#[derive(Default)]
pub(crate) struct Told {
    up: BTreeSet<RegionId>,
    failures: BTreeMap<RegionId, Failures>,
}

impl Told {
    /// The core is told whether that site is connected.
    pub(crate) fn link(&mut self, region: RegionId, up: bool) {
        if up {
            self.up.insert(region);
            self.failures.remove(&region);
        } else {
            self.up.remove(&region);
        }
    }

    /// Whether the owner does not know yet that the site fails in this way.
    pub(crate) fn is_news(&mut self, failure: &Failure) -> bool {
        self.failures.entry(failure.region).or_default().is_news(failure)
    }

    /// What the core must be told so that it knows how things stand, where an event was missed.
    pub(crate) fn differences(&self, relays: &[RegionStatus]) -> Vec<(RegionId, bool)> {
        let up: BTreeSet<RegionId> = relays
            .iter()
            .filter(|relay| matches!(relay.state, LinkState::Up(_)))
            .map(|relay| relay.region)
            .collect();
        let differs = |region: &&RegionId| up.contains(region) != self.up.contains(region);
        up.union(&self.up).filter(differs).map(|region| (*region, up.contains(region))).collect()
    }

    /// Another map: what it does not name fails no more.
    pub(crate) fn keep(&mut self, map: &Regions) {
        self.failures.retain(|region, _| map.get(*region).is_some());
    }
}

#[cfg(test)]
mod tests {
    use tidewire_clock as clock;
    use tidewire_derp::{
        Region, RegionNode,
        machine::{Seen, Step},
    };

    use super::*;

    const A: RegionId = RegionId(1);
    const B: RegionId = RegionId(2);

    fn relay(region: RegionId, state: LinkState) -> RegionStatus {
        RegionStatus {
            region,
            code: String::new(),
            state,
            node: None,
            rung: None,
            proxied: false,
            rtt: None,
            problem: None,
            last_failure: None,
        }
    }

    #[test]
    fn what_was_missed_is_made_good() {
        let up = LinkState::Up(clock::now());
        let mut told = Told::default();
        told.link(A, true);
        assert_eq!(told.differences(&[relay(A, up)]), []);
        assert_eq!(
            told.differences(&[relay(A, LinkState::Connecting), relay(B, up)]),
            [(A, false), (B, true)]
        );
        assert_eq!(told.differences(&[]), [(A, false)], "the map has lost it");
    }

    #[test]
    fn a_site_that_fails_as_before_is_told_once_until_it_was_connected_or_left_the_map() {
        let failure = Failure {
            region: A,
            node: String::new(),
            rung: None,
            proxied: false,
            step: Step::Connect,
            seen: Seen::Timeout,
        };
        let mut told = Told::default();
        assert_eq!([told.is_news(&failure), told.is_news(&failure)], [true, false]);
        told.link(A, true);
        assert_eq!([told.is_news(&failure), told.is_news(&failure)], [true, false]);
        let other = Region::new(B, "", vec![RegionNode::new("n", "192.0.2.1")]);
        told.keep(&Regions::try_from(vec![other]).unwrap());
        assert!(told.is_news(&failure));
    }
}
