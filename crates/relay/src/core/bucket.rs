//! How often something may happen: a token bucket that is told the time.

use std::time::{Duration, Instant};

/// A token bucket, full at first. May go into debt by one taking, so that what is larger than the bucket passes too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(now: Instant, per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, filled: now }
    }

    /// Takes one token if there is a whole one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let is_there = self.tokens >= 1.0;
        if is_there {
            self.tokens -= 1.0;
        }
        is_there
    }

    /// Whole tokens that were there at the last taking.
    pub(crate) fn left(&self) -> usize {
        // Below zero it is zero.
        self.tokens as usize
    }

    /// Takes `count` tokens, there or not. Returns when the debt will be paid, if there is one.
    pub(crate) fn charge(&mut self, now: Instant, count: usize) -> Option<Instant> {
        self.fill(now);
        self.tokens -= count as f64;
        (self.tokens < 0.0)
            .then(|| now + Duration::from_secs_f64((-self.tokens / self.per_second).min(MAX_WAIT)))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.filled = self.filled.max(now);
    }
}

/// Seconds: longer than any connection without a byte would live.
const MAX_WAIT: f64 = 60.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::t0;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(t0(), 1.0, 3.0);
        let taken = |bucket: &mut Bucket, at| {
            (0..10).filter(|_| bucket.try_take(t0() + Duration::from_millis(at))).count()
        };
        assert_eq!(taken(&mut bucket, 0), 3);
        assert_eq!(taken(&mut bucket, 999), 0);
        assert_eq!(taken(&mut bucket, 1000), 1);
        assert_eq!(taken(&mut bucket, 60_000), 3);
    }

    #[test]
    fn a_debt_is_paid_at_the_rate() {
        let mut bucket = Bucket::new(t0(), 1000.0, 500.0);
        assert_eq!(bucket.charge(t0(), 500), None);
        assert_eq!(bucket.charge(t0(), 2000), Some(t0() + Duration::from_secs(2)));
        assert_eq!(bucket.charge(t0() + Duration::from_secs(2), 0), None);
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(t0() + Duration::from_secs(10), 1.0, 1.0);
        assert!(bucket.try_take(t0() + Duration::from_secs(10)));
        assert!(!bucket.try_take(t0()));
        assert!(!bucket.try_take(t0() + Duration::from_secs(10)));
    }
}
