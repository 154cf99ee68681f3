//! Whether the relay at the other end is still there: when to ask, and when to believe that it is not.

use std::time::{Duration, Instant};

use tidewire_keys::Drbg;

use super::{
    limits::{ASK_ACTIVE, ASK_IDLE, ASKS, PONG, PONG_AFTER_CHANGE, SILENCE, STALL},
    report::Seen,
};
use crate::frame::PING_LEN;

/// Watches one connection in both directions. Any byte that arrives is a sign of life, not only a pong.
///
/// Bounds, from the moment when the stream is cut: 15 s with something to send, 80 s without, 3 s after
/// [`ask_after_change`](Self::ask_after_change).
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Instant,
    /// The first write that nothing has followed.
    owed: Option<Instant>,
    /// Since when the stream takes nothing although something waits.
    blocked: Option<Instant>,
    asked: Option<Asked>,
    /// The last ping, for the round trip time.
    ping: Option<([u8; PING_LEN], Instant)>,
    rtt: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    wait: Duration,
    left: u8,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Fine,
    /// Send a ping with these bytes.
    Ask([u8; PING_LEN]),
    Dead(Seen),
}

impl Liveness {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { heard: now, owed: None, blocked: None, asked: None, ping: None, rtt: None }
    }

    /// Something arrived.
    pub(crate) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.owed = None;
        self.asked = None;
    }

    /// A pong arrived. Whether it told the round trip time.
    pub(crate) fn pong(&mut self, now: Instant, data: [u8; PING_LEN]) -> bool {
        let Some((_, at)) = self.ping.take_if(|(sent, _)| *sent == data) else { return false };
        self.rtt = Some(now.saturating_duration_since(at));
        true
    }

    /// The stream took something.
    pub(crate) fn wrote(&mut self, now: Instant) {
        self.owed.get_or_insert(now);
        self.blocked = None;
    }

    /// Whether the stream takes nothing although something waits.
    pub(crate) fn set_blocked(&mut self, now: Instant, blocked: bool) {
        self.blocked = blocked.then(|| self.blocked.unwrap_or(now));
    }

    /// The last round trip time.
    pub(crate) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Asks at once, for the round trip time alone.
    pub(crate) fn measure(&mut self, now: Instant, drbg: &mut Drbg) -> [u8; PING_LEN] {
        let data = drbg.array();
        self.ping = Some((data, now));
        data
    }

    /// Asks at once because the network changed: silence is then believed sooner.
    pub(crate) fn ask_after_change(&mut self, now: Instant, drbg: &mut Drbg) -> [u8; PING_LEN] {
        self.asked = Some(Asked { at: now, wait: PONG_AFTER_CHANGE, left: 0 });
        self.measure(now, drbg)
    }

    /// When [`check`](Self::check) has something to say, at the earliest.
    pub(crate) fn next_check(&self) -> Instant {
        let ask = match self.asked {
            Some(asked) => asked.at + asked.wait,
            None => self.ask_at(),
        };
        let stall = self.blocked.map_or(ask, |blocked| blocked + STALL);
        ask.min(stall).min(self.heard + SILENCE)
    }

    pub(crate) fn check(&mut self, now: Instant, drbg: &mut Drbg) -> Verdict {
        if self.blocked.is_some_and(|blocked| now >= blocked + STALL) {
            return Verdict::Dead(Seen::Stalled);
        }
        if now >= self.heard + SILENCE {
            return Verdict::Dead(Seen::Silent);
        }
        let left = match self.asked {
            Some(asked) if now < asked.at + asked.wait => return Verdict::Fine,
            Some(Asked { left: 0, .. }) => return Verdict::Dead(Seen::Silent),
            Some(asked) => asked.left,
            None if now < self.ask_at() => return Verdict::Fine,
            None => ASKS,
        };
        self.asked = Some(Asked { at: now, wait: PONG, left: left - 1 });
        Verdict::Ask(self.measure(now, drbg))
    }

    fn ask_at(&self) -> Instant {
        let idle = self.heard + ASK_IDLE;
        self.owed.map_or(idle, |owed| idle.min(owed + ASK_ACTIVE))
    }
}

#[cfg(test)]
mod tests {
    use tidewire_keys::Seed;

    use super::*;
    use crate::machine::tests::t0;

    fn drbg() -> Drbg {
        Drbg::new(&Seed::new([3; 32]), "test")
    }

    /// Steps from check to check without hearing anything; returns the times of the pings and of the end.
    fn silence(mut liveness: Liveness) -> (Vec<u64>, u64, Seen) {
        let (mut drbg, mut asks) = (drbg(), Vec::new());
        loop {
            let now = liveness.next_check();
            let second = (now - t0()).as_secs();
            match liveness.check(now, &mut drbg) {
                Verdict::Fine => panic!("woken for nothing at {second} s"),
                Verdict::Ask(_) => asks.push(second),
                Verdict::Dead(seen) => return (asks, second, seen),
            }
        }
    }

    #[test]
    fn an_idle_relay_is_asked_after_its_own_sign_of_life_is_overdue() {
        assert_eq!(silence(Liveness::new(t0())), (vec![70, 75], 80, Seen::Silent));
    }

    #[test]
    fn half_open_with_something_to_send_is_found_in_15_s() {
        let mut liveness = Liveness::new(t0());
        liveness.wrote(t0());
        liveness.wrote(t0() + Duration::from_secs(4));
        assert_eq!(silence(liveness), (vec![5, 10], 15, Seen::Silent));
    }

    #[test]
    fn trap_one_missing_pong_does_not_end_a_connection() {
        let mut liveness = Liveness::new(t0());
        let mut drbg = drbg();
        liveness.wrote(t0());
        let second = |n| t0() + Duration::from_secs(n);
        assert!(matches!(liveness.check(second(5), &mut drbg), Verdict::Ask(_)));
        let Verdict::Ask(data) = liveness.check(second(10), &mut drbg) else { panic!() };
        liveness.heard(second(11));
        assert!(liveness.pong(second(11), data));
        assert!(!liveness.pong(second(12), data), "each ping measures once");
        assert_eq!(liveness.check(second(30), &mut drbg), Verdict::Fine);
        assert_eq!(liveness.rtt(), Some(Duration::from_secs(1)));
        assert_eq!(liveness.next_check(), second(81));
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let mut liveness = Liveness::new(t0());
        let mut drbg = drbg();
        for n in 0..100 {
            let now = t0() + Duration::from_secs(4 * n);
            liveness.wrote(now);
            liveness.heard(now);
            assert_eq!(liveness.check(now, &mut drbg), Verdict::Fine);
        }
    }

    #[test]
    fn a_stream_that_takes_nothing_is_dead_even_if_it_talks() {
        let mut liveness = Liveness::new(t0());
        liveness.set_blocked(t0(), true);
        let now = t0() + STALL;
        liveness.heard(now);
        liveness.set_blocked(now, true);
        assert_eq!(liveness.check(now, &mut drbg()), Verdict::Dead(Seen::Stalled));
    }

    #[test]
    fn after_a_sleep_nobody_asks_any_more() {
        let mut liveness = Liveness::new(t0());
        let morning = t0() + Duration::from_secs(8 * 3600);
        assert_eq!(liveness.check(morning, &mut drbg()), Verdict::Dead(Seen::Silent));
    }

    #[test]
    fn after_a_change_of_network_silence_is_believed_in_3_s() {
        let mut liveness = Liveness::new(t0());
        liveness.ask_after_change(t0(), &mut drbg());
        assert_eq!(silence(liveness), (vec![], 3, Seen::Silent));
    }
}
