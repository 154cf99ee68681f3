//! How long to wait before the next round: doubling, jittered, bounded, and never the end.

use std::time::Duration;

use tidewire_keys::Drbg;

use super::limits::{BACKOFF_FIRST, BACKOFF_MAX};

/// Counts rounds that failed in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(u32);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// The wait before the next round: between half of and the whole current bound, so that many clients do not come together.
    pub(crate) fn next(&mut self, drbg: &mut Drbg) -> Duration {
        let bound = BACKOFF_FIRST.saturating_mul(1 << self.0.min(16)).min(BACKOFF_MAX);
        self.0 = self.0.saturating_add(1);
        let half = bound / 2;
        half + Duration::from_micros(drbg.below(u64::try_from(half.as_micros()).unwrap_or(u64::MAX) + 1))
    }

    pub(crate) const fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use tidewire_keys::Seed;

    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_small_again() {
        let mut drbg = Drbg::new(&Seed::new([1; 32]), "test");
        let mut backoff = Backoff::new();
        let mut bound = BACKOFF_FIRST;
        for _ in 0..200 {
            let wait = backoff.next(&mut drbg);
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} of {bound:?}");
            bound = (bound * 2).min(BACKOFF_MAX);
        }
        backoff.reset();
        assert!(backoff.next(&mut drbg) <= BACKOFF_FIRST);
    }

    #[test]
    fn two_clients_do_not_wait_alike() {
        let wait = |n| Backoff(9).next(&mut Drbg::new(&Seed::new([n; 32]), "test"));
        assert_ne!(wait(1), wait(2));
    }
}
