//! Whose turn it is to send, what is sent again, and when that is looked at next.

use std::time::{Duration, Instant};

use super::{Stack, Why, connection::Origin, sender::Repair};
use crate::End;

/// Packets that one socket may send before the next one's turn.
const QUANTUM: usize = 16;

/// The soonest that a socket which had nothing to send is asked again, whatever it says.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// What became of a socket's turn to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// It has nothing more to send.
    Over,
    /// It may have more.
    More,
    /// The batch is full.
    Blocked,
}

impl Stack {
    pub(super) fn take_turn(&mut self, index: u32) -> Turn {
        let turn = self.send_some(index);
        if turn == Turn::Over
            && let Some(slot) = self.slots.at(index)
        {
            slot.active = false;
        }
        self.settle(index);
        self.schedule(index);
        turn
    }

    fn send_some(&mut self, index: u32) -> Turn {
        let now = self.now;
        let Some(slot) = self.slots.at(index).filter(|slot| slot.active) else { return Turn::Over };
        if slot.tcp().is_some_and(|(tcp, socket)| tcp.must_rest(now, socket)) {
            return Turn::Over;
        }
        for _ in 0..QUANTUM {
            if self.engine.outgoing.is_full() {
                return Turn::Blocked;
            }
            if !self.send_one(index) {
                return Turn::Over;
            }
        }
        Turn::More
    }

    /// Lets the socket send one packet. Returns whether it did.
    pub(super) fn send_one(&mut self, index: u32) -> bool {
        let now = self.now;
        let Some(slot) = self.slots.at(index) else { return false };
        let Some((tcp, socket)) = slot.tcp() else {
            let sent = self.engine.egress(&mut slot.set).is_some();
            if sent {
                // There is room in it again.
                self.note(index);
            }
            return sent;
        };
        let (unsent, mss) = (tcp.sender.unsent(socket.send_queue()), tcp.sender.mss());
        if tcp.closing && unsent < mss {
            tcp.closing = false;
            socket.close();
        }
        // Small segments only where there is no more to send: a window opens by odd amounts.
        socket.set_nagle_enabled(unsent >= mss);
        if unsent > 0 && tcp.sender.resume(now) {
            self.show(index);
        }
        let Some(slot) = self.slots.at(index) else { return false };
        let Some(emitted) = self.engine.egress(&mut slot.set) else { return false };
        let Some((tcp, _)) = slot.tcp() else { return true };
        tcp.unanswered = 0;
        if tcp.sender.sent(now, emitted.seq, emitted.len) {
            self.show(index);
        }
        true
    }

    /// Shows smoltcp how much may be under way.
    pub(super) fn show(&mut self, index: u32) {
        self.show_again(index, 1);
    }

    fn show_again(&mut self, index: u32, times: usize) {
        let Some(slot) = self.slots.at(index) else { return };
        let Some((tcp, socket)) = slot.tcp() else { return };
        let (flow, seq, (ack, window)) = (tcp.flow, tcp.expected(socket), tcp.sender.shown());
        for _ in 0..times {
            self.engine.show(&mut slot.set, &flow, seq, ack, window);
        }
    }

    /// Sends again what is to be sent again.
    pub(super) fn repair(&mut self, index: u32, repair: Repair) {
        // smoltcp's fast retransmission does not know that the end of the stream may be all that is lost.
        let only_end = self
            .slots
            .at(index)
            .and_then(|slot| slot.tcp())
            .is_none_or(|(_, socket)| socket.send_queue() == 0);
        match repair {
            Repair::Nothing => {}
            Repair::First if !only_end => self.send_first(index),
            Repair::First | Repair::All => self.resend(index),
        }
    }

    /// Sends the first segment again that is not acknowledged: what smoltcp does at the third duplicate of an
    /// acknowledgement. It has seen none of the true ones.
    fn send_first(&mut self, index: u32) {
        self.show_again(index, 3);
        self.send_one(index);
    }

    /// Sends everything again that is not acknowledged, as far as the sender lets it, or asks where it may send nothing.
    pub(super) fn resend(&mut self, index: u32) {
        let now = self.now;
        let Some(slot) = self.slots.at(index) else { return };
        let Some((tcp, socket)) = slot.tcp() else { return };
        tcp.resent(now);
        let (flow, seq, (ack, window)) = (tcp.flow, tcp.expected(socket), tcp.sender.shown());
        let (open, flight) = (tcp.is_open(), tcp.sender.flight());
        if !open || flight > 0 {
            if open {
                // With the window closed nothing else is ready to be sent.
                self.engine.show(&mut slot.set, &flow, seq, ack, 0);
            }
            self.engine.rewind(&mut slot.set);
        }
        if open {
            self.engine.show(&mut slot.set, &flow, seq, ack, window);
            if flight == 0 || window == 0 {
                self.engine.probe(&mut slot.set, slot.handle);
            }
        }
        self.activate(index);
    }

    pub(super) fn run_timers(&mut self) {
        while let Some(&(at, index)) = self.timers.first()
            && at <= self.now
        {
            self.timers.pop_first();
            self.run_timer(index);
        }
    }

    fn run_timer(&mut self, index: u32) {
        let (now, timeouts) = (self.now, self.timeouts);
        let Some(slot) = self.slots.at(index) else { return };
        slot.timer = None;
        if let Some((tcp, _)) = slot.tcp() {
            if let Some((_, why)) = tcp.deadline(&timeouts).filter(|(at, _)| *at <= now) {
                // A reset would refuse a dial that is still being tried.
                if why == Why::HalfOpen && tcp.origin != Origin::Dialled {
                    return self.release_half_open(index);
                }
                self.end(index, End::TimedOut);
            } else if tcp.resend_by().is_some_and(|at| at <= now) {
                let is_under_way = tcp.is_open() && tcp.sender.flight() > 0;
                let repair = if is_under_way { tcp.sender.timed_out(now) } else { Repair::All };
                self.repair(index, repair);
            }
        }
        self.activate(index);
    }

    /// Sets the timer of a socket. One that is too early finds nothing to do and is set again: with every
    /// acknowledgement the time to retransmit moves, and the timer need not.
    pub(super) fn schedule(&mut self, index: u32) {
        let now = self.now;
        let Some(slot) = self.slots.at(index) else { return };
        let active = slot.active;
        let Some((tcp, socket)) = slot.tcp() else { return };
        tcp.update(now, socket);
        let mut next = earlier(tcp.deadline(&self.timeouts), tcp.resend_by().map(|at| (at, Why::Retransmit)));
        if !active && !tcp.must_rest(now, socket) {
            let why = tcp.why();
            let asked = self.engine.poll_at(&slot.set).map(|at| (at.max(now + LEAST_WAIT), why));
            next = earlier(next, asked);
        }
        let Some((at, why)) = next else { return };
        if let Some((set, _)) = slot.timer {
            if set <= at {
                return;
            }
            self.timers.remove(&(set, index));
        }
        slot.timer = Some((at, why));
        self.timers.insert((at, index));
    }
}

fn earlier(a: Option<(Instant, Why)>, b: Option<(Instant, Why)>) -> Option<(Instant, Why)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
