//! Which addresses are remembered of a name, for how long they count as fresh, and which name is forgotten first.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::names::Kind;

/// An answer is used for at least so long: some names live for seconds.
const SHORTEST_TTL: Duration = Duration::from_secs(10);
/// An answer is asked for again after this at the latest.
pub(super) const LONGEST_TTL: Duration = Duration::from_secs(3600);
/// Names that are remembered.
const NAMES: usize = 256;
/// Addresses that are remembered of one name.
const ADDRESSES: usize = 8;

/// Addresses of names.
#[derive(Default, Debug)]
pub(super) struct Cache(BTreeMap<(String, Kind), Known>);

#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// What is remembered of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    /// To be used.
    Fresh(Vec<IpAddr>),
    /// To be used if nothing better is to be had.
    Stale(Vec<IpAddr>),
    Nothing,
}

impl Cache {
    pub(super) fn get(&self, now: Instant, name: &str, kind: Kind) -> Memory {
        match self.0.get(&(name.to_owned(), kind)) {
            Some(known) if now < known.until => Memory::Fresh(known.addresses.clone()),
            Some(known) => Memory::Stale(known.addresses.clone()),
            None => Memory::Nothing,
        }
    }

    /// Remembers an answer; returns the part of it that is to be used.
    pub(super) fn put(
        &mut self,
        now: Instant,
        name: &str,
        kind: Kind,
        mut addresses: Vec<IpAddr>,
        ttl: Duration,
    ) -> Vec<IpAddr> {
        addresses.truncate(ADDRESSES);
        let key = (name.to_owned(), kind);
        if self.0.len() >= NAMES && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.until).map(|(key, _)| key.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let until = now + ttl.clamp(SHORTEST_TTL, LONGEST_TTL);
        self.0.insert(key, Known { addresses: addresses.clone(), until });
        addresses
    }

    /// Another network may have other answers: none counts as fresh any more.
    pub(super) fn doubt(&mut self, now: Instant) {
        for known in self.0.values_mut() {
            known.until = known.until.min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::t0;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_answer_is_fresh_for_its_time_within_reason_and_then_stale() {
        for (ttl, lives) in [(60, 60), (0, 10), (1_000_000, 3600)] {
            let mut cache = Cache::default();
            cache.put(t0(), "derp.example", Kind::V4, vec![A], Duration::from_secs(ttl));
            let at = |secs| cache.get(t0() + Duration::from_secs(secs), "derp.example", Kind::V4);
            assert_eq!(at(lives - 1), Memory::Fresh(vec![A]), "{ttl}");
            assert_eq!(at(lives), Memory::Stale(vec![A]), "{ttl}");
            assert_eq!(cache.get(t0(), "derp.example", Kind::V6), Memory::Nothing);
        }
    }

    #[test]
    fn after_a_change_of_network_nothing_is_fresh() {
        let mut cache = Cache::default();
        cache.put(t0(), "derp.example", Kind::V4, vec![A], Duration::from_secs(60));
        cache.doubt(t0());
        assert_eq!(cache.get(t0(), "derp.example", Kind::V4), Memory::Stale(vec![A]));
    }

    #[test]
    fn names_and_addresses_are_bounded_and_the_oldest_goes() {
        let mut cache = Cache::default();
        for n in 0..1000 {
            let now = t0() + Duration::from_secs(n);
            let used =
                cache.put(now, &format!("n{n}.example"), Kind::V4, vec![A; 100], Duration::from_secs(60));
            assert_eq!(used.len(), ADDRESSES);
        }
        assert_eq!(cache.0.len(), NAMES);
        assert_eq!(cache.get(t0(), "n0.example", Kind::V4), Memory::Nothing);
        assert_ne!(cache.get(t0(), "n999.example", Kind::V4), Memory::Nothing);
    }
}
