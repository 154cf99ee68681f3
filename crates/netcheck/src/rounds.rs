//! One check after another: when the next is due, how much it must find out, and which home follows from all of them.

use std::time::{Duration, Instant};

use tidewire_derp::{
    RegionId, Regions,
    home::{Choice, History, HomeLink, choose},
};

use crate::{
    limits::{FULL, PERIOD},
    plan::Extent,
    report::Report,
};

/// What is known from the checks so far.
#[derive(Clone, Default, Debug)]
pub struct Rounds {
    history: History,
    /// The last report and when it came.
    last: Option<(Instant, Report)>,
    /// When the last full one came.
    full: Option<Instant>,
}

impl Rounds {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another network, or another map: what was measured means nothing any more, and the next check is due and full.
    pub fn forget(&mut self) {
        *self = Self::new();
    }

    /// Whether the last check is so old that another one is due, on a node that has traffic.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.last.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= PERIOD)
    }

    /// How much the next check must find out: everything that matters if the last full one is old, or UDP did not work; else only
    /// whether something changed.
    #[must_use]
    pub fn extent(&self, now: Instant) -> Extent<'_> {
        let is_recent = self.full.is_some_and(|full| now.saturating_duration_since(full) < FULL);
        match &self.last {
            Some((_, last)) if is_recent && last.has_udp() => Extent::Incremental(last),
            _ => Extent::Full,
        }
    }

    /// Takes a report of a check whose extent was [`extent`](Self::extent) at `started`. `latencies` are what counts of it:
    /// the report's own, perhaps without regions that are of no use, perhaps with round trips of live connections.
    pub fn learn(
        &mut self,
        now: Instant,
        started: Instant,
        report: Report,
        latencies: impl IntoIterator<Item = (RegionId, Duration)>,
    ) {
        self.history.report(now, latencies);
        if matches!(self.extent(started), Extent::Full) {
            self.full = Some(now);
        }
        self.last = Some((now, report));
    }

    /// Takes measurements that came without a check: round trips of live connections.
    pub fn note(&mut self, now: Instant, latencies: impl IntoIterator<Item = (RegionId, Duration)>) {
        self.history.report(now, latencies);
    }

    /// Which home follows, and why.
    #[must_use]
    pub fn choose(&self, now: Instant, map: &Regions, home: Option<RegionId>, link: HomeLink) -> Choice {
        choose(now, map, &self.history, home, link)
    }

    /// The last report.
    #[must_use]
    pub fn last(&self) -> Option<&Report> {
        self.last.as_ref().map(|(_, report)| report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::t0;

    fn report(udp_v4: bool) -> Report {
        Report { udp_v4: Some(udp_v4), ..Report::default() }
    }

    fn is_full(rounds: &Rounds, now: Instant) -> bool {
        matches!(rounds.extent(now), Extent::Full)
    }

    #[test]
    fn the_first_check_is_full_and_then_one_in_five_minutes() {
        let mut rounds = Rounds::new();
        let (mut now, mut full) = (t0(), Vec::new());
        for _ in 0..8 {
            assert!(rounds.is_due(now));
            full.push(is_full(&rounds, now));
            rounds.learn(now, now, report(true), []);
            assert!(!rounds.is_due(now + PERIOD - Duration::from_millis(1)));
            now += PERIOD;
        }
        assert_eq!(full, [true, false, false, false, true, false, false, false]);
    }

    #[test]
    fn without_udp_and_after_a_change_of_network_the_next_one_is_full() {
        let mut rounds = Rounds::new();
        rounds.learn(t0(), t0(), report(false), []);
        assert!(is_full(&rounds, t0() + PERIOD));
        rounds.learn(t0() + PERIOD, t0() + PERIOD, report(true), []);
        assert!(!is_full(&rounds, t0() + PERIOD * 2));
        rounds.forget();
        assert!(is_full(&rounds, t0() + PERIOD * 2) && rounds.is_due(t0() + PERIOD));
        assert_eq!(rounds.last(), None);
    }
}
