//! How much of a connection may be under way: congestion control, and what is seen of losses.
//!
//! smoltcp keeps the bytes and the states. Its own congestion control grows with the number of acknowledgements, repairs
//! one loss in a window, and waits at least a second for the second. So it is switched off, and this stands before it:
//! smoltcp is shown a window no larger than what may be under way, duplicate acknowledgements are kept from it, and it is
//! told what to send again. This is NewReno's recovery (RFC 6582) with CUBIC's growth (RFC 9438), the timeout of RFC 6298,
//! and a slow start that notices a filling queue (RFC 9406).

mod recovery;

use std::time::{Duration, Instant};

use super::{
    cubic::Cubic,
    options::Opening,
    rtt::{Rtt, SlowStart},
    sequence::{is_after, is_at_or_after},
};

/// Segments that a connection may begin with, or begin again with after a pause (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;

/// Duplicate acknowledgements that mean a loss (RFC 5681, 3.2).
const DUPLICATES: u32 = 3;

/// How far the waits between retransmissions may double. TCP's usual minute would leave a connection sitting there for
/// up to a minute after a lost path was replaced; in an overlay, paths come back.
pub(super) const MOST_BACKOFF: Duration = Duration::from_secs(4);

/// What of a segment that came in matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) ack: u32,
    /// As it stands in the header.
    pub(super) window: u16,
    /// Whether it has payload or closes something.
    pub(super) carries: bool,
    /// Bytes under way that are selectively acknowledged.
    pub(super) held: u32,
}

/// What follows from a segment that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Advice {
    /// Whether what is [shown](Sender::shown) to smoltcp changed.
    pub(super) show: bool,
    pub(super) repair: Repair,
}

/// What to send again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repair {
    Nothing,
    /// The first segment that is not acknowledged.
    First,
    /// Everything from there on.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// A loss is being repaired, segment by segment, until this is acknowledged.
    Recovery {
        until: u32,
    },
    /// Everything up to this is being sent again.
    Loss {
        until: u32,
    },
}

/// What to go back to where a loss was none.
#[derive(Debug)]
struct Before {
    repaired: Instant,
    window: u32,
    threshold: u32,
    cubic: Cubic,
}

/// The sending half of one connection.
#[derive(Debug)]
pub(super) struct Sender {
    mss: u32,
    /// By how many bits the other end's windows are scaled.
    shift: u8,
    /// Whether it acknowledges selectively.
    sacks: bool,
    /// First byte not acknowledged.
    una: u32,
    /// End of what was ever sent.
    next: u32,
    /// End of what smoltcp takes as sent; before `next` while it sends again.
    reached: u32,
    began: bool,
    open: bool,
    peer_window: u32,
    shown: u16,
    window: u32,
    threshold: u32,
    /// Most bytes under way at once since the window was last made smaller.
    peak: u32,
    phase: Phase,
    duplicates: u32,
    /// Bytes after `una` that have arrived, as far as that is known.
    arrived: u32,
    /// When the first of the duplicates came.
    gap_since: Option<Instant>,
    /// Whether segments were seen to overtake each other, so that a gap is given time to close.
    reorders: bool,
    before: Option<Before>,
    first_again: bool,
    /// Since when the oldest byte under way waits.
    armed: Option<Instant>,
    backoff: u32,
    idle_since: Option<Instant>,
    rtt: Rtt,
    cubic: Cubic,
}

impl Sender {
    /// For segments of at most `mss` bytes.
    pub(super) fn new(mss: usize) -> Self {
        let mss = u32::try_from(mss).unwrap_or(u32::MAX).clamp(1, 1 << 16);
        Self {
            mss,
            shift: 0,
            sacks: false,
            una: 0,
            next: 0,
            reached: 0,
            began: false,
            open: false,
            peer_window: 0,
            shown: 0,
            window: INITIAL_SEGMENTS * mss,
            threshold: u32::MAX,
            peak: 0,
            phase: Phase::Open,
            duplicates: 0,
            arrived: 0,
            gap_since: None,
            reorders: false,
            before: None,
            first_again: false,
            armed: None,
            backoff: 0,
            idle_since: None,
            rtt: Rtt::default(),
            cubic: Cubic::default(),
        }
    }

    /// Takes in the other end's SYN, and what it acknowledges if it does. Returns the window to show for it; a SYN's is
    /// never scaled.
    pub(super) fn opened(&mut self, now: Instant, opening: Opening, window: u16, ack: Option<u32>) -> u16 {
        if let Some(mss) = opening.mss {
            // The floor is smoltcp's, so that both count alike.
            self.mss = self.mss.min(u32::from(mss).max(48));
        }
        self.shift = opening.shift.unwrap_or(0).min(14);
        self.sacks = opening.sacks;
        self.window = INITIAL_SEGMENTS * self.mss;
        self.peer_window = u32::from(window);
        if let Some(ack) = ack
            && ack == self.next
        {
            self.acknowledged(now, ack.wrapping_sub(self.una), 0);
        }
        window.min(u16::try_from(self.window).unwrap_or(u16::MAX))
    }

    /// Bytes under way.
    pub(super) const fn flight(&self) -> u32 {
        self.next.wrapping_sub(self.una)
    }

    /// Of `queued` bytes that are not acknowledged, those that smoltcp has not sent yet, or is to send again.
    pub(super) fn unsent(&self, queued: usize) -> usize {
        queued.saturating_sub(self.reached.wrapping_sub(self.una) as usize)
    }

    /// What to show smoltcp: the first byte that is not acknowledged, and the window.
    pub(super) const fn shown(&self) -> (u32, u16) {
        (self.una, self.shown)
    }

    /// End of what was ever sent.
    pub(super) const fn next(&self) -> u32 {
        self.next
    }

    pub(super) const fn mss(&self) -> usize {
        self.mss as usize
    }

    /// Whether the waits between retransmissions have begun to double.
    pub(super) const fn has_backed_off(&self) -> bool {
        self.backoff > 0
    }

    /// When to call [`timed_out`](Self::timed_out).
    pub(super) fn timeout_at(&self) -> Option<Instant> {
        let factor = 1 << self.backoff.min(8);
        let timeout = self.rtt.timeout();
        let at = self.armed? + (timeout * factor).min(MOST_BACKOFF.max(timeout));
        let gap = self.gap_since.filter(|_| self.phase == Phase::Open && self.duplicates >= DUPLICATES);
        Some(gap.map_or(at, |since| at.min(since + self.patience())))
    }

    /// How long a gap may be due to segments that overtook each other (RFC 8985, 6.2).
    fn patience(&self) -> Duration {
        if self.reorders { self.rtt.smoothed() / 4 } else { Duration::ZERO }
    }

    /// Something is about to be sent. Returns whether the window to show is another one: after a pause, what the path
    /// takes is not known any more (RFC 5681, 4.1).
    pub(super) fn resume(&mut self, now: Instant) -> bool {
        let Some(since) = self.idle_since.take() else { return false };
        let idle = now.saturating_duration_since(since);
        self.cubic.pause(idle);
        if idle > self.rtt.timeout() {
            self.window = self.window.min(INITIAL_SEGMENTS * self.mss);
            self.peak = 0;
        }
        let before = self.shown;
        self.shown = self.window_to_show();
        before != self.shown
    }

    /// A segment of `len` bytes left, SYN and FIN counted. Returns whether smoltcp began to send again of its own accord,
    /// so that the window to show is another one.
    pub(super) fn sent(&mut self, now: Instant, seq: u32, len: u32) -> bool {
        if !self.began {
            (self.una, self.next, self.reached, self.began) = (seq, seq, seq, true);
        }
        let end = seq.wrapping_add(len);
        // What ends before the first byte under way asks whether the other end is there.
        if len == 0 || !is_after(end, self.una) {
            return false;
        }
        // What goes into a closed window asks whether it is open again; smoltcp takes it as not sent.
        if self.peer_window == 0 && self.open {
            self.next = if is_after(end, self.next) { end } else { self.next };
            return false;
        }
        if std::mem::take(&mut self.first_again) && seq == self.una {
            self.rtt.forget();
            self.armed = Some(now);
            return false;
        }
        self.armed.get_or_insert(now);
        let unasked = self.open && is_after(self.reached, seq);
        if unasked {
            self.time_out(now);
        }
        self.reached = end;
        if is_after(end, self.next) {
            self.next = end;
            self.peak = self.peak.max(self.flight());
            self.rtt.sent(now, end);
        } else {
            self.rtt.forget();
        }
        unasked
    }

    /// A segment came in that is no SYN.
    pub(super) fn received(&mut self, now: Instant, report: Report) -> Advice {
        self.open = true;
        let before = self.shown();
        let mut repair = Repair::Nothing;
        if !is_at_or_after(report.ack, self.una) || is_after(report.ack, self.next) {
            // It was overtaken.
            return Advice { show: false, repair };
        }
        let peer_window = u32::from(report.window) << self.shift;
        let same_window = std::mem::replace(&mut self.peer_window, peer_window) == peer_window;
        if report.ack != self.una {
            repair = self.acknowledged(now, report.ack.wrapping_sub(self.una), report.held);
        } else if !report.carries && same_window && peer_window > 0 && self.flight() > 0 {
            // With selective acknowledgements, one that holds nothing answers what came twice (RFC 6675, 2).
            if !self.sacks || report.held > 0 {
                repair = self.duplicate(now, report.held);
            }
        }
        self.shown = self.window_to_show();
        Advice { show: self.shown() != before, repair }
    }

    /// Takes in that more was acknowledged.
    fn acknowledged(&mut self, now: Instant, acked: u32, held: u32) -> Repair {
        let flight = self.flight();
        self.una = self.una.wrapping_add(acked);
        if is_after(self.una, self.reached) {
            self.reached = self.una;
        }
        self.backoff = 0;
        self.armed = (self.flight() > 0).then_some(now);
        self.idle_since = (self.flight() == 0).then_some(now);
        let slow_start = self.rtt.acknowledged(now, self.una, self.next);
        self.gap_since = None;
        if self.undo(now) {
            (self.duplicates, self.arrived) = (0, 0);
            return Repair::Nothing;
        }
        match self.phase {
            Phase::Recovery { until } if !is_at_or_after(self.una, until) => {
                return self.repair_next(now, acked, held, until);
            }
            Phase::Recovery { .. } => {
                self.phase = Phase::Open;
                // No burst where little is left under way (RFC 6582, 3.2, step 3).
                self.window = self.threshold.min((self.flight() + self.mss).max(INITIAL_SEGMENTS * self.mss));
            }
            Phase::Loss { until } => {
                if is_at_or_after(self.una, until) {
                    self.phase = Phase::Open;
                }
                // One acknowledgement may cover much that had arrived before (RFC 3465, 2.3).
                self.grow(now, acked.min(2 * self.mss), flight, SlowStart::Go);
            }
            Phase::Open => self.grow(now, acked, flight, slow_start),
        }
        (self.duplicates, self.arrived) = (0, 0);
        Repair::Nothing
    }

    fn grow(&mut self, now: Instant, acked: u32, flight: u32, slow_start: SlowStart) {
        if self.window < self.threshold {
            // A window that is not used says nothing about the path (RFC 7661).
            if flight.saturating_mul(2) >= self.window {
                match slow_start {
                    SlowStart::Go => self.window = self.window.saturating_add(acked),
                    SlowStart::Slowly => self.window = self.window.saturating_add(acked / 4),
                    SlowStart::Over => self.threshold = self.window,
                }
            }
        } else if flight.saturating_add(3 * self.mss) >= self.window {
            self.window = self.cubic.grow(now, self.window, acked, self.mss, self.rtt.smoothed());
        }
    }

    /// What may be under way, as far as the other end takes it. Zero only if the other end said so.
    fn window_to_show(&self) -> u16 {
        let may = match self.phase {
            // The first duplicates let one new segment out each (RFC 3042).
            Phase::Open => self.window.saturating_add(self.duplicates.min(DUPLICATES - 1) * self.mss),
            // What has arrived is under way no more.
            Phase::Recovery { .. } => self.threshold.saturating_add(self.arrived),
            Phase::Loss { .. } => self.window,
        };
        // Rounded up to what a scaled window can say: rounded down, it would cut a segment off.
        u16::try_from(may.min(self.peer_window).div_ceil(1 << self.shift)).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests;
