//! How long a direct path is believed to work, and when that is looked at again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::limits::{HEARTBEAT, HEARTBEAT_REPEAT, HEARTBEATS_TO_DOUBT, OVERLAP, TRUST};

/// The direct path in use, or the last one.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) addr: SocketAddr,
    trust_until: Instant,
    overlap_until: Instant,
    /// Whether the end of trust is still to be told.
    pub(crate) is_believed: bool,
    next_beat: Instant,
    beats: u32,
    /// Since when something else than heartbeats speaks against it.
    doubted: Option<Instant>,
}

impl Best {
    /// A path that was just proven.
    pub(crate) fn new(addr: SocketAddr, now: Instant) -> Self {
        Self {
            addr,
            trust_until: now + TRUST,
            overlap_until: now + TRUST + OVERLAP,
            is_believed: true,
            next_beat: now + HEARTBEAT,
            beats: 0,
            doubted: None,
        }
    }

    /// It answered a ping that was sent at `sent`.
    pub(crate) fn confirm(&mut self, now: Instant, sent: Instant) {
        *self = Self { next_beat: (sent + HEARTBEAT).max(now), ..Self::new(self.addr, now) };
    }

    /// The peer's packets may go there alone.
    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        now < self.trust_until
    }

    /// They may go there, if the relay gets them too.
    pub(crate) fn is_tried(&self, now: Instant) -> bool {
        now < self.overlap_until
    }

    /// Ends the trust at once; the path is used together with the relay for a while longer.
    pub(crate) fn distrust(&mut self, now: Instant) {
        self.trust_until = self.trust_until.min(now);
        self.overlap_until = self.overlap_until.max(now + OVERLAP);
    }

    /// Tries it after a pause: asked at once, and used together with the relay until it can have answered.
    pub(crate) fn resume(&mut self, now: Instant) {
        if !self.is_trusted(now) {
            self.is_believed = false;
            self.overlap_until = now + OVERLAP;
            self.beats = 0;
        }
        self.check(now);
    }

    /// Asks for a heartbeat at once, unless one is waited for: that has its time to be answered. Whether it asked.
    pub(crate) fn check(&mut self, now: Instant) -> bool {
        let asks = self.beats == 0 && now < self.next_beat;
        if asks {
            self.next_beat = now;
        }
        asks
    }

    /// Something else than heartbeats speaks against it, until the next pong.
    pub(crate) fn doubt(&mut self, now: Instant) {
        self.doubted.get_or_insert(now);
        self.check(now);
    }

    /// Whether it is to be doubted: something speaks against it, or so many heartbeats were lost, each of which had its time to be
    /// answered.
    pub(crate) fn is_doubtful(&self, now: Instant) -> bool {
        self.doubted.is_some() || self.beats >= HEARTBEATS_TO_DOUBT && self.next_beat <= now
    }

    /// Counts a heartbeat, if one is due. `latency` is the path's, as far as known.
    pub(crate) fn beat(&mut self, now: Instant, latency: Option<Duration>) -> Option<Beat> {
        if now < self.next_beat {
            return None;
        }
        let beat = if self.beats == 0 { Beat::First } else { Beat::Repeated };
        self.beats += 1;
        let repeat = HEARTBEAT_REPEAT.max(2 * latency.unwrap_or_default());
        self.next_beat = now + if self.beats <= HEARTBEATS_TO_DOUBT { repeat } else { repeat.max(HEARTBEAT) };
        Some(beat)
    }

    pub(crate) const fn next_beat(&self) -> Instant {
        self.next_beat
    }

    /// When its state changes by itself, from trusted to tried to lost.
    pub(crate) fn ends(&self) -> Instant {
        match self.doubted {
            Some(doubted) if self.is_believed => doubted,
            _ if self.is_believed => self.trust_until,
            _ => self.overlap_until,
        }
    }
}

/// A heartbeat that is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Beat {
    /// The regular one.
    First,
    /// The one before was not answered in time.
    Repeated,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::t0;

    fn best() -> Best {
        Best::new("192.0.2.1:1".parse().unwrap(), t0())
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_pong_proves_for_6_5_s_and_both_ways_for_1_5_s_more() {
        let best = best();
        for (at, trusted, tried) in
            [(6_499, true, true), (6_500, false, true), (7_999, false, true), (8_000, false, false)]
        {
            assert_eq!(best.is_trusted(t0() + ms(at)), trusted, "{at}");
            assert_eq!(best.is_tried(t0() + ms(at)), tried, "{at}");
        }
    }

    #[test]
    fn heartbeats_come_each_3_s_and_are_repeated_soon_when_unanswered() {
        let mut best = best();
        let mut sent = Vec::new();
        for at in (0..12_000).step_by(100) {
            if best.beat(t0() + ms(at), Some(ms(20))).is_some() {
                sent.push(at);
            }
        }
        assert_eq!(sent, [3_000, 3_300, 3_600, 3_900, 6_900, 9_900]);
    }

    #[test]
    fn three_lost_heartbeats_are_a_doubt_only_when_the_last_had_its_time() {
        let mut best = best();
        for at in [3_000, 3_300, 3_600] {
            assert!(!best.is_doubtful(t0() + ms(at)), "{at}");
            assert!(best.beat(t0() + ms(at), None).is_some());
        }
        assert!(!best.is_doubtful(t0() + ms(3_899)));
        assert!(best.is_doubtful(t0() + ms(3_900)));
        best.confirm(t0() + ms(4_000), t0() + ms(3_600));
        assert!(!best.is_doubtful(t0() + ms(6_500)));
        assert_eq!(best.next_beat(), t0() + ms(6_600));
    }

    #[test]
    fn a_slow_path_is_given_two_round_trips() {
        let mut best = best();
        best.beat(t0() + ms(3_000), Some(ms(600)));
        assert_eq!(best.next_beat(), t0() + ms(4_200));
    }

    #[test]
    fn distrust_is_both_ways_and_never_prolongs_trust() {
        let mut best = best();
        best.distrust(t0() + ms(7_000));
        assert!(!best.is_trusted(t0() + ms(6_999)));
        assert!(best.is_tried(t0() + ms(8_499)));
        let mut early = self::best();
        early.distrust(t0() + ms(100));
        assert!(!early.is_trusted(t0() + ms(100)));
        assert!(early.is_tried(t0() + ms(7_999)));
    }
}
