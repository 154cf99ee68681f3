//! Whether one more packet may be sent to someone who did not ask for it.

use std::time::Instant;

use crate::limits::Rate;

/// A rate with a burst, kept as the one instant at which all that was taken is paid for.
#[derive(Debug)]
pub(crate) struct Budget {
    rate: Rate,
    paid: Option<Instant>,
}

impl Budget {
    pub(crate) const fn new(rate: Rate) -> Self {
        Self { rate, paid: None }
    }

    /// Whether one more may be sent at `now`, taking nothing.
    pub(crate) fn has(&self, now: Instant) -> bool {
        let owed = self.paid.map_or_else(Default::default, |paid| paid.saturating_duration_since(now));
        owed + self.rate.interval <= self.rate.interval * self.rate.burst
    }

    /// Takes one, if one is left.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + self.rate.interval);
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tests::t0;

    const RATE: Rate = Rate { interval: Duration::from_millis(100), burst: 5 };

    #[test]
    fn a_burst_then_one_each_interval() {
        let mut budget = Budget::new(RATE);
        let taken = |budget: &mut Budget, at| (0..100).filter(|_| budget.take(at)).count();
        assert_eq!(taken(&mut budget, t0()), 5);
        assert_eq!(taken(&mut budget, t0() + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut budget, t0() + Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut budget, t0() + Duration::from_millis(350)), 2);
        assert_eq!(taken(&mut budget, t0() + Duration::from_secs(60)), 5);
    }
}
