//! What the sender says to acknowledgements, duplicates, silence and pauses.

use std::time::{Duration, Instant};

use super::{Advice, Repair, Report, Sender};
use crate::stack::options::Opening;

const MSS: u32 = 1000;
const MS: Duration = Duration::from_millis(1);
const FIRST: u32 = u32::MAX - 5000;

#[allow(clippy::disallowed_methods)]
fn t0() -> Instant {
    Instant::now()
}

/// A connection to an end with a large window, scaled by 16, and the time.
struct Line {
    sender: Sender,
    now: Instant,
    window: u16,
}

impl Line {
    fn new(sacks: bool) -> Self {
        let mut sender = Sender::new(MSS as usize);
        let now = t0();
        sender.sent(now, FIRST.wrapping_sub(1), 1);
        let opening = Opening { mss: Some(1460), shift: Some(4), sacks };
        let window = sender.opened(now + 20 * MS, opening, 65_535, Some(FIRST));
        assert_eq!(window, 10_000);
        let mut line = Self { sender, now: now + 20 * MS, window: 60_000 };
        line.ack(0);
        line
    }

    /// May be under way, in bytes.
    fn window(&self) -> u32 {
        u32::from(self.sender.shown().1) << 4
    }

    /// Sends up to `segments` segments, as far as the window lets it; returns how many.
    fn send(&mut self, segments: u32) -> u32 {
        self.sender.resume(self.now);
        let mut sent = 0;
        while sent < segments && self.sender.flight() + MSS <= self.window() {
            assert!(!self.sender.sent(self.now, self.sender.next(), MSS));
            sent += 1;
        }
        sent
    }

    /// The other end acknowledges `segments` more; zero repeats the last one.
    fn ack(&mut self, segments: u32) -> Advice {
        self.ack_holding(segments, 0)
    }

    fn ack_holding(&mut self, segments: u32, held: u32) -> Advice {
        let ack = self.sender.shown().0.wrapping_add(segments * MSS);
        self.sender.received(self.now, Report { ack, window: self.window, carries: false, held: held * MSS })
    }

    /// One round trip in which everything is sent that may be and acknowledged at once.
    fn round(&mut self) {
        let sent = self.send(u32::MAX);
        self.now += 20 * MS;
        self.ack(sent);
    }
}

#[test]
fn it_begins_with_ten_segments_and_doubles() {
    let mut line = Line::new(true);
    for expected in [10, 20, 40, 80] {
        assert_eq!(line.send(u32::MAX), expected);
        line.now += 20 * MS;
        assert_eq!(line.ack(expected).repair, Repair::Nothing);
    }
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut line = Line::new(true);
    for _ in 0..20 {
        assert_eq!(line.send(3), 3);
        line.now += 20 * MS;
        line.ack(3);
    }
    assert_eq!(line.window(), 10_000);
}

#[test]
fn after_a_pause_it_begins_again_with_ten_segments() {
    let mut line = Line::new(true);
    (0..4).for_each(|_| line.round());
    assert!(line.window() > 100_000);
    line.now += 10_000 * MS;
    assert!(line.sender.resume(line.now));
    assert_eq!(line.window(), 10_000);
    assert!(!line.sender.resume(line.now));
}

#[test]
fn the_third_duplicate_repairs_and_makes_the_window_smaller() {
    let mut line = Line::new(false);
    line.round();
    assert_eq!(line.send(u32::MAX), 20);
    line.now += 20 * MS;
    // The first two let a new segment out each.
    for _ in 0..2 {
        assert_eq!(line.ack(0).repair, Repair::Nothing);
        assert_eq!(line.send(u32::MAX), 1);
    }
    assert_eq!(line.ack(0).repair, Repair::First);
    assert_eq!(line.sender.threshold, 14_000);
    assert!(!line.sender.sent(line.now, line.sender.shown().0, MSS));
    // Each further one says that a segment has left the path.
    let sent: u32 = (0..18)
        .map(|_| {
            assert_eq!(line.ack(0).repair, Repair::Nothing);
            line.send(u32::MAX)
        })
        .sum();
    assert!((10..=15).contains(&sent), "{sent} new segments");
    line.now += 20 * MS;
    assert_eq!(line.ack(22).repair, Repair::Nothing);
    assert_eq!(line.window() / MSS, 14);
}

#[test]
fn where_segments_are_acknowledged_selectively_a_duplicate_must_hold_something() {
    let mut line = Line::new(true);
    line.send(10);
    for _ in 0..10 {
        assert_eq!(line.ack(0).repair, Repair::Nothing);
    }
    for held in 1..=2 {
        assert_eq!(line.ack_holding(0, held).repair, Repair::Nothing);
    }
    assert_eq!(line.ack_holding(0, 3).repair, Repair::First);
    // A receiver that gathers segments tells of many at once.
    let mut line = Line::new(true);
    line.send(10);
    assert_eq!(line.ack_holding(0, 9).repair, Repair::First);
}

#[test]
fn a_window_update_is_no_duplicate() {
    let mut line = Line::new(false);
    line.send(10);
    for window in 0..10 {
        line.window = 50_000 + window;
        assert_eq!(line.ack(0).repair, Repair::Nothing);
    }
}

#[test]
fn few_losses_are_repaired_one_by_one_and_many_all_at_once() {
    for (lost, then) in [(2, Repair::First), (5, Repair::First), (6, Repair::All), (9, Repair::All)] {
        let mut line = Line::new(false);
        line.round();
        assert_eq!(line.send(u32::MAX), 20);
        line.now += 20 * MS;
        let repairs: Vec<_> = (0..20 - lost).map(|_| line.ack(0).repair).collect();
        assert_eq!(repairs.iter().filter(|repair| **repair == Repair::First).count(), 1);
        line.sender.sent(line.now, line.sender.shown().0, MSS);
        line.now += 20 * MS;
        assert_eq!(line.ack(1).repair, then, "{lost} of 20 lost");
        assert_eq!(line.sender.unsent(19_000), if then == Repair::All { 19_000 } else { 0 });
    }
}

#[test]
fn an_answer_that_comes_too_soon_undoes_the_repair_and_teaches_patience() {
    let mut line = Line::new(true);
    line.round();
    line.send(20);
    let window = line.window();
    line.now += 20 * MS;
    for held in 1..=3 {
        line.ack_holding(0, held);
    }
    line.sender.sent(line.now, line.sender.shown().0, MSS);
    assert!(line.window() < window);
    line.now += MS;
    assert_eq!(line.ack(10).repair, Repair::Nothing);
    assert!(line.window() >= window);
    // The next gap is given a quarter of a round trip.
    line.send(20);
    line.now += 20 * MS;
    (1..=3).for_each(|held| assert_eq!(line.ack_holding(0, held).repair, Repair::Nothing));
    let at = line.sender.timeout_at().unwrap();
    assert!(at > line.now && at <= line.now + 6 * MS, "{:?}", at - line.now);
    line.now = at;
    assert_eq!(line.sender.timed_out(line.now), Repair::First);
}

#[test]
fn silence_sends_all_again_after_ever_longer_waits_up_to_a_bound() {
    let mut line = Line::new(true);
    line.round();
    line.send(20);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let at = line.sender.timeout_at().unwrap();
        waits.push((at - line.now).as_millis());
        line.now = at;
        assert_eq!(line.sender.timed_out(line.now), Repair::All);
        assert_eq!(line.window() / MSS, 1);
    }
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 4000, 4000, 4000]);
    assert_eq!(line.sender.threshold, 14_000);
    // What is sent again does not count as new, and an answer ends the waits.
    line.sender.sent(line.now, line.sender.shown().0, MSS);
    line.now += 20 * MS;
    assert_eq!(line.ack(1).repair, Repair::Nothing);
    assert_eq!(line.sender.timeout_at(), Some(line.now + 200 * MS));
    assert!(!line.sender.has_backed_off());
}

#[test]
fn on_another_path_it_begins_with_ten_segments() {
    let mut line = Line::new(true);
    (0..4).for_each(|_| line.round());
    line.send(100);
    line.now = line.sender.timeout_at().unwrap();
    line.sender.timed_out(line.now);
    line.sender.moved(line.now);
    assert_eq!((line.window(), line.sender.has_backed_off()), (10_000, false));
    assert_eq!(line.sender.unsent(100_000), 100_000);
}

#[test]
fn one_acknowledgement_of_what_had_arrived_before_makes_no_burst() {
    let mut line = Line::new(true);
    (0..4).for_each(|_| line.round());
    line.send(150);
    line.now = line.sender.timeout_at().unwrap();
    line.sender.timed_out(line.now);
    line.sender.sent(line.now, line.sender.shown().0, MSS);
    line.now += 20 * MS;
    line.ack(100);
    assert_eq!(line.window() / MSS, 3);
}

#[test]
fn what_was_overtaken_changes_nothing() {
    let mut line = Line::new(true);
    line.send(10);
    line.now += 20 * MS;
    line.ack(5);
    let before = line.sender.shown();
    let old = Report { ack: FIRST.wrapping_add(2 * MSS), window: 10, carries: true, held: 0 };
    assert_eq!(line.sender.received(line.now, old), Advice { show: false, repair: Repair::Nothing });
    assert_eq!(line.sender.shown(), before);
}

#[test]
fn the_other_ends_window_bounds_what_is_under_way_and_only_it_makes_it_zero() {
    let mut line = Line::new(true);
    for (said, shown) in [(100, 100), (3, 3), (0, 0), (1, 1), (60_000, 625)] {
        line.window = said;
        line.ack(0);
        assert_eq!(line.sender.shown().1, shown);
    }
    // One segment is less than what a scaled window can say: then it says the least.
    let mut sender = Sender::new(MSS as usize);
    sender.sent(line.now, FIRST.wrapping_sub(1), 1);
    sender.opened(line.now, Opening { mss: None, shift: Some(14), sacks: true }, 65_535, Some(FIRST));
    sender.received(line.now, Report { ack: FIRST, window: 100, carries: false, held: 0 });
    assert_eq!(sender.shown().1, 1);
}

#[test]
fn questions_are_not_under_way() {
    let mut line = Line::new(true);
    // Whether the other end is there:
    assert!(!line.sender.sent(line.now, line.sender.next().wrapping_sub(1), 1));
    assert_eq!((line.sender.flight(), line.sender.timeout_at()), (0, None));
    // Whether its window is open; the byte may be taken.
    line.window = 0;
    line.ack(0);
    assert!(!line.sender.sent(line.now, line.sender.next(), 1));
    assert_eq!(line.sender.timeout_at(), None);
    for _ in 0..10 {
        assert_eq!(line.ack(0).repair, Repair::Nothing);
    }
    line.window = 60_000;
    let report = Report { ack: line.sender.next(), window: line.window, carries: false, held: 0 };
    assert!(line.sender.received(line.now, report).show);
    assert_eq!(line.sender.flight(), 0);
}

#[test]
fn what_is_sent_again_unasked_counts_as_a_timeout() {
    let mut line = Line::new(true);
    line.send(10);
    assert!(line.sender.sent(line.now, line.sender.shown().0, MSS));
    assert_eq!(line.window() / MSS, 1);
    assert_eq!(line.sender.unsent(10_000), 9000);
}
