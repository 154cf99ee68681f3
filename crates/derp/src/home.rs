//! Which region is home: a pure function of what was measured and seen, slow to move and never for want of data.
//!
//! A home that flaps costs every peer a search. So a better region must be better by both an amount and a share, for the best of
//! several measurements; a home that was not measured stays home while its connection lives; and only a home that has been
//! down for a while, beside others that answer, is left without having been measured.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use tidewire_keys::NodePublic;
use tidewire_transport::RegionId;

use crate::region::Regions;

/// How long a measurement counts (as Tailscale does).
pub const HISTORY: Duration = Duration::from_secs(300);
/// Of how many measurements of a region the best one counts.
pub const BEST_OF: usize = 3;
/// A region must be better by at least this (as Tailscale does).
pub const MARGIN: Duration = Duration::from_millis(10);
/// A home whose connection is down for so long counts as unreachable, if others were measured meanwhile.
pub const UNREACHABLE: Duration = Duration::from_secs(30);

/// What was measured lately. Bounded by time, and by [`BEST_OF`] measurements a region.
#[derive(Clone, Default, Debug)]
pub struct History {
    samples: BTreeMap<RegionId, VecDeque<(Instant, Duration)>>,
    /// When the last report came in.
    last: Option<Instant>,
}

/// What is known of the connection to the present home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HomeLink {
    /// It is up.
    Up,
    /// It is not, since then.
    Down(Instant),
    /// Nothing is known: there is no home, or nobody has tried.
    Unknown,
}

/// What to do, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Leave things as they are.
    Keep(KeepReason),
    /// Make this region the home.
    Move(RegionId, MoveReason),
}

/// Why the home stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepReason {
    /// It is the best that was measured.
    Best,
    /// Another one is better, but not by enough.
    NotWorthIt,
    /// It was not measured this time, but its connection is up.
    Alive,
    /// Too little is known for a decision.
    NoData,
}

/// Why the home moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveReason {
    /// There was none, or the one there was is not in the map, or is not to be anybody's home.
    First,
    /// It is better by enough.
    Better,
    /// The present one is down, and was not measured, while this one was.
    Unreachable,
}

impl History {
    /// Nothing measured yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { samples: BTreeMap::new(), last: None }
    }

    /// Adds one report: the regions that answered, each with its round trip time. The round trip time of a live connection is as good
    /// as one of STUN or HTTPS.
    pub fn report(&mut self, now: Instant, latencies: impl IntoIterator<Item = (RegionId, Duration)>) {
        self.last = Some(now);
        for (region, latency) in latencies {
            let samples = self.samples.entry(region).or_default();
            samples.push_back((now, latency));
            if samples.len() > BEST_OF {
                samples.pop_front();
            }
        }
        self.samples.retain(|_, samples| {
            samples.retain(|(at, _)| now.saturating_duration_since(*at) < HISTORY);
            !samples.is_empty()
        });
    }

    /// The best of the last measurements of a region that answered in the last report; `None` if it did not.
    #[must_use]
    pub fn latency(&self, region: RegionId) -> Option<Duration> {
        let samples = self.samples.get(&region)?;
        let answered = samples.back().is_some_and(|(at, _)| Some(*at) == self.last);
        if answered { samples.iter().map(|(_, latency)| *latency).min() } else { None }
    }
}

/// Decides after a report. `current` is the home that there is.
#[must_use]
pub fn choose(
    now: Instant,
    regions: &Regions,
    history: &History,
    current: Option<RegionId>,
    link: HomeLink,
) -> Choice {
    let eligible = eligible(regions);
    let measured = eligible.iter().filter_map(|region| Some((history.latency(*region)?, *region)));
    let Some((best_latency, best)) = measured.min() else { return Choice::Keep(KeepReason::NoData) };
    let Some(current) = current.filter(|current| eligible.contains(current)) else {
        return Choice::Move(best, MoveReason::First);
    };
    if best == current {
        return Choice::Keep(KeepReason::Best);
    }
    match (history.latency(current), link) {
        (Some(latency), _) if is_worth_it(latency, best_latency) => Choice::Move(best, MoveReason::Better),
        (Some(_), _) => Choice::Keep(KeepReason::NotWorthIt),
        (None, HomeLink::Up) => Choice::Keep(KeepReason::Alive),
        (None, HomeLink::Down(since)) if now.saturating_duration_since(since) >= UNREACHABLE => {
            Choice::Move(best, MoveReason::Unreachable)
        }
        (None, HomeLink::Down(_) | HomeLink::Unknown) => Choice::Keep(KeepReason::NoData),
    }
}

/// A home for a node that knows nothing yet: always the same for one key, and spread over the regions for many.
#[must_use]
pub fn without_data(regions: &Regions, key: &NodePublic) -> Option<RegionId> {
    let eligible = eligible(regions);
    let [a, b, c, d, ..] = *key.as_bytes();
    let at = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?.checked_rem(eligible.len())?;
    eligible.get(at).copied()
}

fn eligible(regions: &Regions) -> Vec<RegionId> {
    regions.iter().filter(|region| !region.no_measure_no_home).map(|region| region.id).collect()
}

/// Better by the margin, and by a third (as Tailscale does).
fn is_worth_it(old: Duration, new: Duration) -> bool {
    old.saturating_sub(new) >= MARGIN && new * 3 <= old * 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Region, RegionNode, machine::tests::t0};

    const A: RegionId = RegionId(1);
    const B: RegionId = RegionId(2);
    const C: RegionId = RegionId(3);

    fn regions() -> Regions {
        let region = |id| Region::new(id, "x", vec![RegionNode::new("n", "host")]);
        let hidden = Region { no_measure_no_home: true, ..region(C) };
        Regions::try_from(vec![region(A), region(B), hidden]).unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Reports half a minute apart; `None`: no answer.
    fn history(reports: &[(Option<u64>, Option<u64>)]) -> (Instant, History) {
        let (mut now, mut history) = (t0(), History::new());
        for (a, b) in reports {
            now += Duration::from_secs(30);
            let latencies = [(A, a), (B, b)].into_iter().filter_map(|(id, it)| Some((id, ms((*it)?))));
            history.report(now, latencies);
        }
        (now, history)
    }

    fn choice(reports: &[(Option<u64>, Option<u64>)], current: Option<RegionId>, link: HomeLink) -> Choice {
        let (now, history) = history(reports);
        choose(now, &regions(), &history, current, link)
    }

    #[test]
    fn the_first_home_is_the_nearest() {
        assert_eq!(
            choice(&[(Some(30), Some(20))], None, HomeLink::Unknown),
            Choice::Move(B, MoveReason::First)
        );
        assert_eq!(
            choice(&[(Some(20), Some(20))], None, HomeLink::Unknown),
            Choice::Move(A, MoveReason::First)
        );
        assert_eq!(choice(&[(None, None)], None, HomeLink::Unknown), Choice::Keep(KeepReason::NoData));
    }

    #[test]
    fn a_home_moves_for_a_third_and_10_ms_and_not_for_less() {
        for (old, new, expected) in [
            (100, 66, Choice::Move(B, MoveReason::Better)),
            (100, 67, Choice::Keep(KeepReason::NotWorthIt)),
            (20, 10, Choice::Move(B, MoveReason::Better)),
            (20, 11, Choice::Keep(KeepReason::NotWorthIt)),
            (9, 0, Choice::Keep(KeepReason::NotWorthIt)),
            (20, 30, Choice::Keep(KeepReason::Best)),
        ] {
            assert_eq!(choice(&[(Some(old), Some(new))], Some(A), HomeLink::Up), expected, "{old} {new}");
        }
    }

    #[test]
    fn one_bad_measurement_moves_nothing() {
        let reports = [(Some(20), Some(40)), (Some(20), Some(40)), (Some(300), Some(40))];
        assert_eq!(choice(&reports, Some(A), HomeLink::Up), Choice::Keep(KeepReason::Best));
        let reports =
            [(Some(20), Some(40)), (Some(300), Some(40)), (Some(300), Some(40)), (Some(300), Some(40))];
        assert_eq!(choice(&reports, Some(A), HomeLink::Up), Choice::Move(B, MoveReason::Better));
    }

    #[test]
    fn missing_data_never_moves_a_home() {
        let reports = [(Some(20), Some(40)), (None, Some(40))];
        assert_eq!(choice(&reports, Some(A), HomeLink::Up), Choice::Keep(KeepReason::Alive));
        assert_eq!(choice(&reports, Some(A), HomeLink::Unknown), Choice::Keep(KeepReason::NoData));
        assert_eq!(choice(&[(None, None)], Some(A), HomeLink::Down(t0())), Choice::Keep(KeepReason::NoData));
    }

    #[test]
    fn a_home_that_is_down_beside_others_that_answer_is_left_after_a_while() {
        let (now, history) = history(&[(None, Some(40))]);
        let at = |down| choose(now, &regions(), &history, Some(A), HomeLink::Down(now - down));
        assert_eq!(at(UNREACHABLE - ms(1)), Choice::Keep(KeepReason::NoData));
        assert_eq!(at(UNREACHABLE), Choice::Move(B, MoveReason::Unreachable));
    }

    #[test]
    fn a_region_that_is_no_home_is_left_and_never_taken() {
        let (now, mut history) = history(&[(Some(40), None)]);
        history.report(now, [(A, ms(40)), (C, ms(1))]);
        assert_eq!(
            choose(now, &regions(), &history, Some(C), HomeLink::Up),
            Choice::Move(A, MoveReason::First)
        );
        assert_eq!(choose(now, &regions(), &history, Some(A), HomeLink::Up), Choice::Keep(KeepReason::Best));
        let gone = Some(RegionId(77));
        assert_eq!(choose(now, &regions(), &history, gone, HomeLink::Up), Choice::Move(A, MoveReason::First));
    }

    #[test]
    fn what_is_old_does_not_count() {
        let (now, mut history) = history(&[(Some(1), Some(40))]);
        history.report(now + HISTORY, [(A, ms(50)), (B, ms(40))]);
        assert_eq!((history.latency(A), history.latency(B)), (Some(ms(50)), Some(ms(40))));
    }

    #[test]
    fn a_home_without_data_is_stable_and_spread() {
        let at = |n: u8| without_data(&regions(), &NodePublic::from_bytes([n; 32]));
        let taken: Vec<_> = (0..16).map(at).collect();
        assert!(taken.contains(&Some(A)) && taken.contains(&Some(B)) && !taken.contains(&Some(C)));
        assert_eq!(at(7), at(7));
        assert_eq!(without_data(&Regions::new(), &NodePublic::from_bytes([1; 32])), None);
    }

    proptest! {
        /// Two regions that are alike up to noise of a third: at most one move, however long it goes on.
        #[test]
        fn noise_does_not_make_a_home_flap(noise in prop::collection::vec((90u64..120, 90u64..120, any::<bool>()), 1..200)) {
            let (mut now, mut history, mut home, mut moves) = (t0(), History::new(), Some(A), 0);
            for (a, b, lost) in noise {
                now += Duration::from_secs(20);
                history.report(now, [(A, ms(a)), (B, ms(b))].into_iter().filter(|(id, _)| !(lost && Some(*id) == home)));
                if let Choice::Move(to, _) = choose(now, &regions(), &history, home, HomeLink::Up) {
                    home = Some(to);
                    moves += 1;
                }
            }
            prop_assert_eq!(moves, 0);
        }
    }
}
