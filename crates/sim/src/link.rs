//! What happens to a datagram on the way: it arrives late, twice, out of order, or not at all.

use std::time::Duration;

use tidewire_keys::Drbg;

/// A link in one direction. The default is perfect and takes a millisecond.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// Time on the way.
    pub delay: Duration,
    /// At most this much more, drawn for each datagram: more than the distance between two datagrams reorders them.
    pub jitter: Duration,
    /// Datagrams lost, of a thousand.
    pub loss: u16,
    /// Datagrams that arrive twice, of a thousand.
    pub duplication: u16,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay: Duration::from_millis(1), jitter: Duration::ZERO, loss: 0, duplication: 0 }
    }
}

impl Link {
    /// When the copies of one datagram arrive, counted from its departure: none, one, or two.
    pub(crate) fn arrivals(&self, random: &mut Drbg) -> impl Iterator<Item = Duration> + use<> {
        let chance = |random: &mut Drbg, per_mille: u16| random.below(1000) < u64::from(per_mille);
        let lost = chance(random, self.loss);
        let twice = chance(random, self.duplication);
        let first = self.one(random);
        let second = self.one(random);
        let first = (!lost).then_some(first);
        let second = (!lost && twice).then_some(second);
        first.into_iter().chain(second)
    }

    fn one(&self, random: &mut Drbg) -> Duration {
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX - 1);
        self.delay + Duration::from_micros(random.below(jitter + 1))
    }
}

#[cfg(test)]
mod tests {
    use tidewire_keys::Seed;

    use super::*;

    fn count(link: Link) -> (usize, usize) {
        let mut random = Drbg::new(&Seed::new([1; 32]), "link");
        let copies: Vec<usize> = (0..10_000).map(|_| link.arrivals(&mut random).count()).collect();
        (copies.iter().filter(|n| **n == 0).count(), copies.iter().filter(|n| **n == 2).count())
    }

    #[test]
    fn a_perfect_link_delivers_each_datagram_once() {
        assert_eq!(count(Link::default()), (0, 0));
    }

    #[test]
    fn loss_and_duplication_are_near_what_was_asked_for() {
        let (lost, twice) = count(Link { loss: 100, duplication: 200, ..Link::default() });
        assert!((900..1100).contains(&lost), "{lost}");
        assert!((1650..1950).contains(&twice), "{twice}");
    }
}
