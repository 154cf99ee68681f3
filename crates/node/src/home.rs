//! Which region is home: when the network is to be checked, what counts as evidence, and what follows from it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidewire_derp::{
    RegionId, Regions,
    home::{Choice, HomeLink, UNREACHABLE},
    machine::{LinkState, RegionStatus},
};
use tidewire_netcheck::{Extent, Report, Rounds};

/// How long the first choice waits for relays that have not answered yet.
pub(crate) const CHOICE: Duration = Duration::from_secs(3);

/// The latency of a relay that let us in and has not told it: better than none, worse than any other.
const UNKNOWN: Duration = Duration::from_secs(10);

/// Between two checks, whatever happens.
const PAUSE: Duration = Duration::from_secs(10);

/// The choice of a home that is not pinned. A relay that does not let us in is no home, however near it is; and one that does stays
/// home, however little is heard of it by STUN.
pub(crate) struct Home {
    started: Instant,
    rounds: Rounds,
    /// When the last check began.
    checked: Option<Instant>,
    /// Since when relays are not connected that were tried.
    down: BTreeMap<RegionId, Instant>,
}

impl Home {
    pub(crate) fn new(now: Instant) -> Self {
        Self { started: now, rounds: Rounds::new(), checked: None, down: BTreeMap::new() }
    }

    /// Another network, or another map: what was measured counts no more.
    pub(crate) fn forget(&mut self, now: Instant, map: &Regions) {
        self.started = now;
        self.rounds.forget();
        self.down.retain(|region, _| map.get(*region).is_some());
    }

    /// A connection to a relay came, or went or could not be made.
    pub(crate) fn link(&mut self, now: Instant, region: RegionId, up: bool) {
        if up {
            self.down.remove(&region);
        } else {
            self.down.entry(region).or_insert(now);
        }
    }

    /// Whether something may be learned by a check: the last one is worthless, or old while there is traffic. With a single relay
    /// there is nothing to choose.
    pub(crate) fn wants_check(
        &self,
        now: Instant,
        map: &Regions,
        home: Option<RegionId>,
        active: bool,
    ) -> bool {
        let age = self.checked.map_or(Duration::MAX, |checked| now.saturating_duration_since(checked));
        // Where every relay is lost, none of them is better.
        let has_other = || map.ids().any(|region| !self.down.contains_key(&region));
        let is_worthless =
            self.rounds.last().is_none() || (self.is_lost(now, home) && age >= UNREACHABLE && has_other());
        map.len() > 1 && age >= PAUSE && (is_worthless || (active && self.rounds.is_due(now)))
    }

    /// A check begins; how much it must find out.
    pub(crate) fn check(&mut self, now: Instant) -> Extent<'_> {
        self.checked = Some(now);
        self.rounds.extent(now)
    }

    /// What follows from a report.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        report: Report,
        map: &Regions,
        home: Option<RegionId>,
        relays: &[RegionStatus],
    ) -> Choice {
        let latencies = self.evidence(now, Some(&report), home, relays);
        self.rounds.learn(now, self.checked.unwrap_or(now), report, latencies);
        self.rounds.choose(now, map, home, self.home_link(home, relays))
    }

    /// The first home, once all relays have answered or failed or time is up: of those that let us in, the nearest.
    pub(crate) fn first(&mut self, now: Instant, map: &Regions, relays: &[RegionStatus]) -> Option<Choice> {
        let last = self.rounds.last().cloned();
        let measured = |region: &RegionStatus| {
            region.rtt.is_some() || last.as_ref().is_some_and(|last| last.latency(region.region).is_some())
        };
        let settled = |region: &RegionStatus| match region.state {
            LinkState::Up(_) => measured(region),
            LinkState::Waiting(_) => true,
            LinkState::Idle | LinkState::Connecting => false,
        };
        if now.saturating_duration_since(self.started) < CHOICE && !relays.iter().all(settled) {
            return None;
        }
        let latencies = self.evidence(now, last.as_ref(), None, relays);
        self.rounds.note(now, latencies);
        Some(self.rounds.choose(now, map, None, HomeLink::Unknown))
    }

    /// The regions, home first, then the nearest ones: for those who can ask only some.
    pub(crate) fn nearest_first(&self, map: &Regions, home: Option<RegionId>) -> Vec<RegionId> {
        let latency =
            |region| self.rounds.last().and_then(|last| last.latency(region)).unwrap_or(Duration::MAX);
        let mut regions: Vec<RegionId> = map.ids().collect();
        regions.sort_by_key(|region| (Some(*region) != home, latency(*region), *region));
        regions
    }

    /// The latencies that count: of the home, unless it has been down for long, and of the others that are connected. Where a check
    /// told nothing, what the connection itself tells.
    fn evidence(
        &self,
        now: Instant,
        report: Option<&Report>,
        home: Option<RegionId>,
        relays: &[RegionStatus],
    ) -> Vec<(RegionId, Duration)> {
        let latency = |relay: &RegionStatus| {
            let is_up = matches!(relay.state, LinkState::Up(_));
            let is_home = home == Some(relay.region);
            if !is_up && (!is_home || self.is_lost(now, home)) {
                return None;
            }
            let measured = report.and_then(|report| report.latency(relay.region));
            let of_link = relay.rtt.filter(|_| is_up);
            // Only where there is no home at all any relay is better than none.
            let any = (is_up && home.is_none()).then_some(UNKNOWN);
            Some((relay.region, measured.or(of_link).or(any)?))
        };
        relays.iter().filter_map(latency).collect()
    }

    fn is_lost(&self, now: Instant, home: Option<RegionId>) -> bool {
        let since = home.and_then(|home| self.down.get(&home));
        since.is_some_and(|since| now.saturating_duration_since(*since) >= UNREACHABLE)
    }

    fn home_link(&self, home: Option<RegionId>, relays: &[RegionStatus]) -> HomeLink {
        let is_up =
            |relay: &RegionStatus| Some(relay.region) == home && matches!(relay.state, LinkState::Up(_));
        match home.and_then(|home| self.down.get(&home)) {
            _ if relays.iter().any(is_up) => HomeLink::Up,
            Some(since) => HomeLink::Down(*since),
            None => HomeLink::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidewire_clock as clock;
    use tidewire_derp::{
        Region, RegionNode,
        home::{KeepReason, MoveReason},
    };
    use tidewire_netcheck::{RegionReport, limits::PERIOD};

    use super::*;

    const A: RegionId = RegionId(1);
    const B: RegionId = RegionId(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn map(ids: &[u16]) -> Regions {
        let region = |id: &u16| Region::new(RegionId(*id), "", vec![RegionNode::new("n", "192.0.2.1")]);
        Regions::try_from(ids.iter().map(region).collect::<Vec<_>>()).unwrap()
    }

    fn relay(id: u16, state: LinkState, rtt_ms: Option<u64>) -> RegionStatus {
        RegionStatus {
            region: RegionId(id),
            code: String::new(),
            state,
            node: None,
            rung: None,
            proxied: false,
            rtt: rtt_ms.map(ms),
            problem: None,
            last_failure: None,
        }
    }

    /// A report by which regions answered STUN after so many milliseconds.
    fn report(latencies: &[(u16, u64)]) -> Report {
        let region = |&(id, latency): &(u16, u64)| RegionReport {
            region: RegionId(id),
            code: String::new(),
            stun_v4: Some(ms(latency)),
            stun_v6: None,
            https: None,
            https_failure: None,
        };
        Report {
            udp_v4: Some(!latencies.is_empty()),
            regions: latencies.iter().map(region).collect(),
            ..Report::default()
        }
    }

    /// A node with these regions that learns reports 95 seconds apart; the choices.
    struct Story {
        now: Instant,
        home: Home,
        current: Option<RegionId>,
    }

    impl Story {
        fn new(current: Option<RegionId>) -> Self {
            let now = clock::now();
            Self { now, home: Home::new(now), current }
        }

        fn learn(&mut self, latencies: &[(u16, u64)], relays: &[RegionStatus]) -> Choice {
            self.now += PERIOD;
            let choice = self.home.learn(self.now, report(latencies), &map(&[1, 2, 3]), self.current, relays);
            if let Choice::Move(to, _) = choice {
                self.current = Some(to);
            }
            choice
        }
    }

    #[test]
    fn the_nearest_region_that_lets_us_in_is_the_first_home() {
        let (t, map) = (clock::now(), map(&[1, 2, 3]));
        let (up, waiting) = (LinkState::Up(t), LinkState::Waiting(t));
        let first = |after: Duration, relays: &[RegionStatus]| Home::new(t).first(t + after, &map, relays);
        let to = |region| Some(Choice::Move(region, MoveReason::First));
        assert_eq!(first(CHOICE, &[]), Some(Choice::Keep(KeepReason::NoData)));
        let all = [relay(1, up, Some(30)), relay(2, up, Some(20)), relay(3, waiting, None)];
        assert_eq!(first(ms(10), &all), to(B));
        let slow = [relay(1, up, Some(30)), relay(2, LinkState::Connecting, None)];
        assert_eq!(first(ms(10), &slow), None, "region 2 may be nearer");
        assert_eq!(first(CHOICE, &slow), to(A));
        assert_eq!(first(CHOICE, &[relay(1, up, None)]), to(A), "connected, however far");
        assert_eq!(first(CHOICE, &[relay(1, waiting, None)]), Some(Choice::Keep(KeepReason::NoData)));
    }

    #[test]
    fn what_a_check_told_counts_before_the_connections_round_trip() {
        let mut story = Story::new(None);
        let up = LinkState::Up(story.now);
        let relays = [relay(1, up, Some(500)), relay(2, up, Some(30))];
        assert_eq!(story.learn(&[(1, 10), (2, 30)], &relays), Choice::Move(A, MoveReason::First));
    }

    #[test]
    fn a_home_moves_for_much_and_not_for_little_or_for_once() {
        let mut story = Story::new(Some(A));
        let up = LinkState::Up(story.now);
        let relays = [relay(1, up, None), relay(2, up, None)];
        assert_eq!(story.learn(&[(1, 40), (2, 30)], &relays), Choice::Keep(KeepReason::NotWorthIt));
        assert_eq!(
            story.learn(&[(1, 400), (2, 20)], &relays),
            Choice::Move(B, MoveReason::Better),
            "40 was the best"
        );
        assert_eq!(story.learn(&[(1, 5), (2, 200)], &relays), Choice::Move(A, MoveReason::Better));
        assert_eq!(
            story.learn(&[(1, 300), (2, 20)], &relays),
            Choice::Keep(KeepReason::Best),
            "5 is remembered"
        );
    }

    #[test]
    fn missing_data_never_moves_a_home_that_is_connected() {
        let mut story = Story::new(Some(A));
        let up = LinkState::Up(story.now);
        let relays = [relay(1, up, None), relay(2, up, Some(1))];
        for _ in 0..10 {
            assert_eq!(story.learn(&[(2, 1)], &relays), Choice::Keep(KeepReason::Alive));
            assert_eq!(story.learn(&[], &[relay(1, up, None)]), Choice::Keep(KeepReason::NoData));
        }
    }

    #[test]
    fn a_home_whose_connection_is_long_lost_is_left_though_its_stun_answers() {
        let mut story = Story::new(Some(A));
        let (up, waiting) = (LinkState::Up(story.now), LinkState::Waiting(story.now));
        let relays = [relay(1, waiting, None), relay(2, up, None)];
        story.home.link(story.now + PERIOD - ms(1), A, false);
        assert_eq!(
            story.learn(&[(1, 1), (2, 30)], &relays),
            Choice::Keep(KeepReason::Best),
            "it may come back"
        );
        assert_eq!(story.learn(&[(1, 1), (2, 30)], &relays), Choice::Move(B, MoveReason::Unreachable));
        let alone = [relay(1, waiting, None), relay(2, waiting, None)];
        let mut story = Story::new(Some(A));
        story.home.link(story.now, A, false);
        assert_eq!(
            story.learn(&[(1, 1), (2, 30)], &alone),
            Choice::Keep(KeepReason::NoData),
            "the other one is no better"
        );
    }

    #[test]
    fn a_region_that_does_not_let_us_in_is_never_taken() {
        let mut story = Story::new(Some(A));
        let (up, waiting) = (LinkState::Up(story.now), LinkState::Waiting(story.now));
        let relays = [relay(1, up, None), relay(2, waiting, None)];
        assert_eq!(story.learn(&[(1, 100), (2, 1)], &relays), Choice::Keep(KeepReason::Best));
    }

    #[test]
    fn an_idle_node_checks_once_and_an_active_one_goes_on() {
        let mut story = Story::new(Some(A));
        let relays = [relay(1, LinkState::Up(story.now), None)];
        let wants = |story: &Story, active| story.home.wants_check(story.now, &map(&[1, 2]), Some(A), active);
        assert!(wants(&story, false) && !story.home.wants_check(story.now, &map(&[1]), Some(A), true));
        let _ = story.home.check(story.now);
        assert!(!wants(&story, true), "it is under way");
        story.learn(&[(1, 1)], &relays);
        story.now += PERIOD;
        assert!(!wants(&story, false) && wants(&story, true));
        story.home.link(story.now - UNREACHABLE, A, false);
        assert!(wants(&story, false), "the home is lost");
        story.home.link(story.now, B, false);
        assert!(!wants(&story, false), "and so is the other one");
        story.home.link(story.now, A, true);
        story.home.forget(story.now + PAUSE, &map(&[1, 2]));
        assert!(wants(&story, false), "another network");
    }

    #[test]
    fn who_can_ask_only_some_asks_the_home_and_the_nearest() {
        let mut story = Story::new(Some(RegionId(3)));
        story.learn(&[(1, 30), (2, 20)], &[]);
        assert_eq!(story.home.nearest_first(&map(&[1, 2, 3, 4]), story.current), [3, 2, 1, 4].map(RegionId));
    }
}
