//! How long a driver may sleep: exactly to the next event, never longer than a floor, and never not at all.

use std::time::{Duration, Instant};

use crate::Why;

/// The longest sleep when nothing is scheduled: a last defence against a timer that was lost. Each such wake-up is
/// counted, so one that matters shows.
pub const FLOOR: Duration = Duration::from_secs(60);

/// When to wake next, and why. An event in the past is due at once: the driver calls `process_events`, which makes
/// progress, so this never spins.
#[must_use]
pub fn wake_up(now: Instant, next: Option<(Instant, Why)>) -> (Instant, Why) {
    let floor = now + FLOOR;
    match next {
        Some((at, why)) if at < floor => (at.max(now), why),
        _ => (floor, Why::Floor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_time::t0;

    #[test]
    fn nothing_scheduled_means_the_floor() {
        assert_eq!(wake_up(t0(), None), (t0() + FLOOR, Why::Floor));
    }

    #[test]
    fn an_event_is_slept_to_exactly() {
        let at = t0() + Duration::from_millis(1234);
        assert_eq!(wake_up(t0(), Some((at, Why::Resume))), (at, Why::Resume));
    }

    #[test]
    fn an_event_beyond_the_floor_does_not_lengthen_the_sleep() {
        let at = t0() + FLOOR + Duration::from_nanos(1);
        assert_eq!(wake_up(t0(), Some((at, Why::Resume))), (t0() + FLOOR, Why::Floor));
    }

    #[test]
    fn an_event_in_the_past_is_due_now() {
        let now = t0() + Duration::from_secs(9);
        assert_eq!(wake_up(now, Some((t0(), Why::Resume))), (now, Why::Resume));
    }
}
