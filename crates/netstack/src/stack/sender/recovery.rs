//! What is sent again, and when: fast recovery, timeouts, and what turns out to have been no loss.

use std::time::Instant;

use super::{Before, DUPLICATES, INITIAL_SEGMENTS, Phase, Repair, Sender};

/// Losses in a window beyond which it is quicker to send all of it again than one segment a round trip.
const MOST_REPAIRS: u32 = 4;

impl Sender {
    /// It is the time that [`timeout_at`](Self::timeout_at) said.
    pub(in crate::stack) fn timed_out(&mut self, now: Instant) -> Repair {
        let gap = self.gap_since.filter(|_| self.phase == Phase::Open && self.duplicates >= DUPLICATES);
        if gap.is_some_and(|since| now >= since + self.patience()) {
            return self.recover(now);
        }
        self.time_out(now);
        Repair::All
    }

    /// Nothing was acknowledged for too long: everything is sent again, beginning with one segment.
    pub(super) fn time_out(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Loss { .. }) {
            self.reduce();
        }
        self.lose(now, self.mss);
        self.backoff += 1;
    }

    /// The path was replaced, and what was under way is gone with the old one: everything is to be sent again. The loss
    /// says nothing about the new path.
    pub(in crate::stack) fn moved(&mut self, now: Instant) {
        self.lose(now, INITIAL_SEGMENTS * self.mss);
        self.backoff = 0;
    }

    /// A part of what was under way when a loss was found is acknowledged: the segment after it is lost as well.
    pub(super) fn repair_next(&mut self, now: Instant, acked: u32, held: u32, until: u32) -> Repair {
        self.arrived = self.arrived.saturating_sub(acked.saturating_sub(self.mss)).max(held);
        let lost = until.wrapping_sub(self.una).saturating_sub(self.arrived) / self.mss;
        if lost > MOST_REPAIRS {
            self.lose(now, INITIAL_SEGMENTS * self.mss);
            return Repair::All;
        }
        self.first_again = true;
        Repair::First
    }

    /// Where what was sent again is acknowledged sooner than it could be, the first one had only been overtaken: then
    /// there was no loss (as RFC 4015, from times instead of timestamps).
    pub(super) fn undo(&mut self, now: Instant) -> bool {
        let Some(before) = self.before.take() else { return false };
        let taken = now.saturating_duration_since(before.repaired);
        if !matches!(self.phase, Phase::Recovery { .. }) || !self.rtt.is_too_soon(taken) {
            return false;
        }
        (self.window, self.threshold, self.cubic) = (before.window, before.threshold, before.cubic);
        self.phase = Phase::Open;
        self.first_again = false;
        self.reorders = true;
        true
    }

    /// Takes in that something arrived after a gap.
    pub(super) fn duplicate(&mut self, now: Instant, held: u32) -> Repair {
        self.duplicates = self.duplicates.saturating_add(1);
        self.arrived = self.arrived.saturating_add(self.mss).max(held).min(self.flight());
        let since = *self.gap_since.get_or_insert(now);
        if held > (DUPLICATES - 1) * self.mss {
            self.duplicates = self.duplicates.max(DUPLICATES);
        }
        let lost = self.duplicates >= DUPLICATES && now >= since + self.patience();
        if self.phase == Phase::Open && lost { self.recover(now) } else { Repair::Nothing }
    }

    fn recover(&mut self, now: Instant) -> Repair {
        let (window, threshold, cubic) = (self.window, self.threshold, self.cubic.clone());
        self.before = Some(Before { repaired: now, window, threshold, cubic });
        self.reduce();
        self.phase = Phase::Recovery { until: self.next };
        self.first_again = true;
        self.shown = self.window_to_show();
        Repair::First
    }

    /// Makes the window smaller that was used. Less is under way while acknowledgements are taken in.
    fn reduce(&mut self) {
        self.threshold = self.cubic.reduce(self.window.min(self.peak)).max(2 * self.mss);
        self.peak = 0;
    }

    fn lose(&mut self, now: Instant, window: u32) {
        self.phase = Phase::Loss { until: self.next };
        self.window = window;
        (self.duplicates, self.arrived) = (0, 0);
        (self.gap_since, self.before) = (None, None);
        self.first_again = false;
        self.reached = self.una;
        self.rtt.forget();
        self.armed = self.armed.map(|_| now);
        self.shown = self.window_to_show();
    }
}
