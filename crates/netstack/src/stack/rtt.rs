//! What a round trip takes, and when it has become longer because a queue fills: timeouts and the end of slow start.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::sequence;

/// Before anything was measured (RFC 6298, 2.1).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest retransmission timeout, as Linux has it: longer than receivers delay an acknowledgement.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

/// One segment in so many bytes is timed.
const TIMED_EVERY: u32 = 8 * 1024;

/// Most segments that are timed at once.
const MOST_TIMED: usize = 256;

/// Samples in a round that tell something about it (RFC 9406, 4.3).
const SAMPLES: u32 = 8;

/// Rounds that a longer round trip has to last before slow start ends (RFC 9406, 4.3).
const CAUTIOUS_ROUNDS: u32 = 5;

/// How slow start goes on (RFC 9406).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SlowStart {
    /// As it does.
    Go,
    /// At a quarter of the pace: the round trip is getting longer.
    Slowly,
    /// Not: it stayed longer.
    Over,
}

/// Round trip times of one connection.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    least: Option<Duration>,
    // Ends of segments that were sent once, and when.
    timed: VecDeque<(u32, Instant)>,
    rounds: Rounds,
}

#[derive(Debug, Default)]
struct Rounds {
    /// The round is over when this is acknowledged.
    end: Option<u32>,
    last: Option<Duration>,
    current: Option<Duration>,
    samples: u32,
    /// The shortest round trip when caution began, and the rounds since.
    cautious: Option<(Duration, u32)>,
}

impl Rtt {
    /// How long to wait for an acknowledgement (RFC 6298, 2).
    pub(super) fn timeout(&self) -> Duration {
        self.smoothed.map_or(FIRST_TIMEOUT, |smoothed| (smoothed + 4 * self.variation).max(LEAST_TIMEOUT))
    }

    pub(super) fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or_default()
    }

    /// Whether an answer that took `time` is to something that was sent before.
    pub(super) fn is_too_soon(&self, time: Duration) -> bool {
        self.least.is_some_and(|least| time < least / 4 * 3)
    }

    /// A segment that ends at `end` leaves for the first time.
    pub(super) fn sent(&mut self, now: Instant, end: u32) {
        let spaced = self.timed.back().is_none_or(|(last, _)| end.wrapping_sub(*last) >= TIMED_EVERY);
        if spaced && self.timed.len() < MOST_TIMED {
            self.timed.push_back((end, now));
        }
    }

    /// Something is sent again: what is under way says nothing about round trips any more (Karn's algorithm).
    pub(super) fn forget(&mut self) {
        self.timed.clear();
    }

    /// Everything before `ack` is acknowledged, and `next` is the end of what was sent.
    pub(super) fn acknowledged(&mut self, now: Instant, ack: u32, next: u32) -> SlowStart {
        let mut sent = None;
        while let Some(&(end, at)) = self.timed.front()
            && sequence::is_at_or_after(ack, end)
        {
            sent = Some(at);
            self.timed.pop_front();
        }
        let slow_start = self.rounds.acknowledged(ack, next);
        if let Some(at) = sent {
            let sample = now.saturating_duration_since(at);
            self.sample(sample);
            self.rounds.sample(sample);
        }
        slow_start
    }

    fn sample(&mut self, sample: Duration) {
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
        match &mut self.smoothed {
            Some(smoothed) => {
                self.variation = (3 * self.variation + smoothed.abs_diff(sample)) / 4;
                *smoothed = (7 * *smoothed + sample) / 8;
            }
            none => {
                *none = Some(sample);
                self.variation = sample / 2;
            }
        }
    }
}

impl Rounds {
    fn sample(&mut self, sample: Duration) {
        self.samples += 1;
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    fn acknowledged(&mut self, ack: u32, next: u32) -> SlowStart {
        if self.end.is_none_or(|end| sequence::is_at_or_after(ack, end)) {
            self.end = Some(next);
            self.last = self.current.take().or(self.last);
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.cautious {
                *rounds += 1;
            }
        }
        self.judge()
    }

    fn judge(&mut self) -> SlowStart {
        let enough = self.current.filter(|_| self.samples >= SAMPLES);
        match (self.cautious, enough, self.last) {
            (Some((_, rounds)), _, _) if rounds >= CAUTIOUS_ROUNDS => return SlowStart::Over,
            // It became shorter again: it was a hiccup, not a queue.
            (Some((least, _)), Some(current), _) if current < least => self.cautious = None,
            (None, Some(current), Some(last)) => {
                let longer = (last / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
                if current >= last + longer {
                    self.cautious = Some((current, 0));
                }
            }
            _ => {}
        }
        if self.cautious.is_some() { SlowStart::Slowly } else { SlowStart::Go }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn t0() -> Instant {
        Instant::now()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_timeout_follows_what_is_measured() {
        let mut rtt = Rtt::default();
        let now = t0();
        assert_eq!(rtt.timeout(), FIRST_TIMEOUT);
        rtt.sent(now, 1000);
        rtt.acknowledged(now + 100 * MS, 1000, 1000);
        assert_eq!(rtt.timeout(), 300 * MS);
        for i in 1..100 {
            rtt.sent(now, 1000 + i * TIMED_EVERY);
            rtt.acknowledged(now + 100 * MS, 1000 + i * TIMED_EVERY, 1000);
        }
        assert_eq!(rtt.timeout(), LEAST_TIMEOUT);
    }

    #[test]
    fn what_was_sent_twice_is_not_measured() {
        let mut rtt = Rtt::default();
        let now = t0();
        rtt.sent(now, 1000);
        rtt.forget();
        rtt.acknowledged(now + 100 * MS, 1000, 1000);
        assert_eq!(rtt.timeout(), FIRST_TIMEOUT);
    }

    /// One round: 16 samples of `rtt`.
    fn round(r: &mut Rtt, now: &mut Instant, next: &mut u32, rtt: Duration) -> SlowStart {
        let mut said = SlowStart::Go;
        let ends: Vec<u32> = (1..=16).map(|i| *next + i * TIMED_EVERY).collect();
        ends.iter().for_each(|end| r.sent(*now, *end));
        *now += rtt;
        *next += 16 * TIMED_EVERY;
        for end in ends {
            said = r.acknowledged(*now, end, *next);
        }
        said
    }

    #[test]
    fn slow_start_ends_when_round_trips_stay_longer() {
        let (mut rtt, mut now, mut next) = (Rtt::default(), t0(), 0);
        for _ in 0..4 {
            assert_eq!(round(&mut rtt, &mut now, &mut next, 20 * MS), SlowStart::Go);
        }
        let longer: Vec<_> = (0..7).map(|_| round(&mut rtt, &mut now, &mut next, 30 * MS)).collect();
        assert!(longer.contains(&SlowStart::Slowly));
        assert_eq!(longer.last(), Some(&SlowStart::Over));
    }

    #[test]
    fn slow_start_goes_on_after_a_hiccup() {
        let (mut rtt, mut now, mut next) = (Rtt::default(), t0(), 0);
        for _ in 0..4 {
            round(&mut rtt, &mut now, &mut next, 20 * MS);
        }
        round(&mut rtt, &mut now, &mut next, 30 * MS);
        assert_eq!(round(&mut rtt, &mut now, &mut next, 20 * MS), SlowStart::Go);
        for _ in 0..10 {
            assert_eq!(round(&mut rtt, &mut now, &mut next, 20 * MS), SlowStart::Go);
        }
    }
}
