//! How long everything takes in WireGuard, and what one peer is waiting for.

use std::time::{Duration, Instant};

use tidewire_keys::Drbg;

use crate::session::REJECT_AFTER_TIME;

/// An initiation is repeated after this long, plus jitter; no peer is sent two within it (WireGuard paper, section 6.4).
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long initiations are repeated (WireGuard paper, section 6.4).
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Received data is answered with a keepalive after this long without anything else to send (WireGuard paper, section 6.5).
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Sent data that stays unanswered this long, plus jitter, asks for a new session (WireGuard paper, section 6.5).
pub const NO_ANSWER_TIMEOUT: Duration = KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT);
/// Keys are wiped this long after the newest session was derived (WireGuard paper, section 6.3).
pub const WIPE_AFTER_TIME: Duration = REJECT_AFTER_TIME.saturating_mul(3);
/// Initiations of one peer that come sooner after another are not answered (as wireguard-go and Linux do).
pub const INITIATION_INTERVAL: Duration = Duration::from_millis(20);

const JITTER_MS: u64 = 334;

/// A random delay below 334 ms, so that two peers do not start over in step.
pub(crate) fn jitter(drbg: &mut Drbg) -> Duration {
    Duration::from_millis(drbg.below(JITTER_MS))
}

/// What a peer can be waiting for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The initiation went unanswered, or is wanted and was not allowed yet.
    Retransmit,
    /// Data was received and nothing sent since.
    Keepalive,
    /// Data was sent and nothing received since.
    NoAnswer,
    /// Nothing was sent or received for the configured interval.
    Persistent,
    /// No new session for so long that the keys must go.
    Wipe,
}

impl Timer {
    const ALL: [Self; 5] = [Self::Retransmit, Self::Keepalive, Self::NoAnswer, Self::Persistent, Self::Wipe];
}

/// The timers of one peer.
#[derive(Default)]
pub(crate) struct Timers {
    due: [Option<Instant>; Timer::ALL.len()],
    // Not later than any of `due`, so that most changes need no look at all of them.
    soonest: Option<Instant>,
}

impl Timers {
    #[inline]
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.due[timer as usize] = Some(at);
        if self.soonest.is_none_or(|soonest| at < soonest) {
            self.soonest = Some(at);
        }
    }

    #[inline]
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    #[inline]
    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize].is_some()
    }

    pub(crate) fn at(&self, timer: Timer) -> Option<Instant> {
        self.due[timer as usize]
    }

    /// A time that is not later than the first timer's.
    #[inline]
    pub(crate) fn soonest(&self) -> Option<Instant> {
        self.soonest
    }

    /// The time of the first timer, which is then what [`soonest`](Self::soonest) says.
    pub(crate) fn renew(&mut self) -> Option<Instant> {
        self.soonest = self.next().map(|(due, _)| due);
        self.soonest
    }

    /// The timer that is due first; of several at once, the first by declaration.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        Timer::ALL.into_iter().filter_map(|timer| Some((self.due[timer as usize]?, timer))).min()
    }
}
