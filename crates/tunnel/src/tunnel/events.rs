//! What happens by itself: queued handshakes in portions, and timers when they are due.

use std::time::Instant;

use super::Tunnel;
use crate::{
    out::{Event, Out, Why},
    timers::{KEEPALIVE_TIMEOUT, Timer},
};

/// How much work one call may do of each kind, in units of about a cookie reply or a keepalive; data is waiting.
const WORK: u64 = 64;
/// What reading or making a handshake message costs beyond that.
const HEAVY: u64 = 16;

impl Tunnel {
    /// Does what is due at `now`, a portion of it if there is much; [`next_event`](Self::next_event) then says `now`.
    pub fn process_events(&mut self, now: Instant, out: &mut Out) {
        let (mut done, begun) = (0, self.handshakes_run);
        while done + HEAVY * (self.handshakes_run - begun) < WORK
            && let Some(queued) = self.queue.pop()
        {
            self.handle(now, &queued, out);
            done += 1;
        }
        let (mut done, begun) = (0, self.handshakes_run);
        while done + HEAVY * (self.handshakes_run - begun) < WORK
            && let Some((at, slot, timer)) = self.first_timer()
            && at <= now
        {
            self.expired(now, slot, timer, out);
            done += 1;
        }
        if !self.queue.is_loaded(now) {
            self.budget.clear();
        }
    }

    /// When [`process_events`](Self::process_events) is to be called, and why. A peer with a session always has an event.
    pub fn next_event(&mut self) -> Option<(Instant, Why)> {
        let timer = self.first_timer().map(|(at, _, timer)| (at, Why::from(timer)));
        let handshakes = self.queue.since().map(|since| (since, Why::Handshakes));
        timer.into_iter().chain(handshakes).min()
    }

    fn first_timer(&mut self) -> Option<(Instant, u32, Timer)> {
        loop {
            let (at, slot) = self.schedule.first()?;
            let timers = &mut self.peers.at(slot).timers;
            match timers.next() {
                Some((due, timer)) if due == at => return Some((due, slot, timer)),
                _ => self.schedule.renew(slot, timers),
            }
        }
    }

    fn expired(&mut self, now: Instant, slot: u32, timer: Timer, out: &mut Out) {
        let peer = self.peers.at(slot);
        peer.timers.stop(timer);
        match timer {
            Timer::Retransmit => self.begin_again(now, slot, out),
            Timer::Keepalive => {
                let another = std::mem::take(&mut peer.wants_another_keepalive);
                self.send_keepalive(now, slot, out);
                if another {
                    self.arm(slot, Timer::Keepalive, now + KEEPALIVE_TIMEOUT);
                }
            }
            Timer::NoAnswer => {
                out.events.push(Event::Silent { peer: peer.id });
                self.want_handshake(now, slot, out);
            }
            Timer::Persistent => {
                if let Some(every) = peer.keepalive {
                    self.arm(slot, Timer::Persistent, now + every);
                }
                self.send_keepalive(now, slot, out);
            }
            Timer::Wipe => self.wipe(slot, out),
        }
    }

    fn arm(&mut self, slot: u32, timer: Timer, at: Instant) {
        let timers = &mut self.peers.at(slot).timers;
        timers.set(timer, at);
        self.schedule.note(slot, timers);
    }
}

impl From<Timer> for Why {
    fn from(timer: Timer) -> Self {
        match timer {
            Timer::Retransmit => Self::Initiation,
            Timer::Keepalive => Self::Keepalive,
            Timer::NoAnswer => Self::NoAnswer,
            Timer::Persistent => Self::PersistentKeepalive,
            Timer::Wipe => Self::Wipe,
        }
    }
}
