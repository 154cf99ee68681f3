//! How much a relay lets us send right now: its token bucket, in integers.

use std::time::{Duration, Instant};

use crate::{
    frame::{MAX_PACKET, PACKET_OVERHEAD},
    login::Rate,
};

const NANOS: u128 = 1_000_000_000;

/// A token bucket that starts full. A burst that could never pass the largest frame counts as large enough for it: else
/// such a packet would wait for ever, and Tailscale's client drops it silently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// Tokens, in billionths of a byte.
    level: u128,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(now: Instant, rate: Rate) -> Self {
        let mut bucket = Self { rate, level: 0, at: now };
        bucket.level = bucket.full();
        bucket
    }

    /// Whole bytes that may be sent now.
    pub(crate) fn allowance(&self, now: Instant) -> usize {
        usize::try_from(self.level_at(now) / NANOS).unwrap_or(usize::MAX)
    }

    /// Takes `bytes` out; never below empty.
    pub(crate) fn spend(&mut self, now: Instant, bytes: usize) {
        self.level = self.level_at(now).saturating_sub(bytes as u128 * NANOS);
        self.at = now;
    }

    /// When `bytes` may be sent.
    pub(crate) fn ready_at(&self, now: Instant, bytes: usize) -> Instant {
        let missing = (bytes as u128 * NANOS).min(self.full()).saturating_sub(self.level_at(now));
        let nanos = missing.div_ceil(u128::from(self.rate.bytes_per_second.max(1)));
        now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(Duration::from_secs(3600))
    }

    fn level_at(&self, now: Instant) -> u128 {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        (self.level + passed * u128::from(self.rate.bytes_per_second)).min(self.full())
    }

    fn full(&self) -> u128 {
        u128::from(self.rate.burst.max((PACKET_OVERHEAD + MAX_PACKET) as u64)) * NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::t0;

    fn bucket(bytes_per_second: u64, burst: u64) -> Bucket {
        Bucket::new(t0(), Rate { bytes_per_second, burst })
    }

    #[test]
    fn what_was_spent_comes_back_at_the_rate() {
        let mut bucket = bucket(1000, 100_000);
        assert_eq!(bucket.allowance(t0()), 100_000);
        bucket.spend(t0(), 100_000);
        assert_eq!(bucket.allowance(t0()), 0);
        assert_eq!(bucket.ready_at(t0(), 1500), t0() + Duration::from_millis(1500));
        assert_eq!(bucket.allowance(t0() + Duration::from_millis(1500)), 1500);
        assert_eq!(bucket.allowance(t0() + Duration::from_secs(1_000_000)), 100_000);
    }

    #[test]
    fn trap_a_burst_of_nothing_does_not_stop_everything() {
        let mut bucket = bucket(1000, 0);
        assert_eq!(bucket.allowance(t0()), MAX_PACKET + PACKET_OVERHEAD);
        bucket.spend(t0(), MAX_PACKET + PACKET_OVERHEAD);
        let ready = bucket.ready_at(t0(), MAX_PACKET + PACKET_OVERHEAD);
        assert!(bucket.allowance(ready) >= MAX_PACKET + PACKET_OVERHEAD);
    }

    #[test]
    fn parts_of_a_byte_are_not_lost() {
        let mut bucket = bucket(3, 0);
        bucket.spend(t0(), usize::MAX >> 8);
        for ms in 1..=10_000 {
            bucket.spend(t0() + Duration::from_millis(ms), 0);
        }
        assert_eq!(bucket.allowance(t0() + Duration::from_secs(10)), 30);
    }
}
