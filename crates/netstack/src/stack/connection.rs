//! What the stack knows of a TCP connection beyond smoltcp: who has heard what, and how long that may last.

use std::time::{Duration, Instant};

use smoltcp::socket::tcp::{Socket, State};

use super::{
    Why,
    inspect::Flow,
    sender::{MOST_BACKOFF, Sender},
};
use crate::{End, Local, config::Timeouts};

/// A connection that has heard nothing for this long, while an answer is owed, sends again on a nudge.
const STALLED: Duration = Duration::from_secs(1);

/// How long an incoming handshake may go without a sign of life.
const HALF_OPEN: Duration = Duration::from_secs(20);

/// How long a connection that nobody holds any more may go without a sign of life (as Linux's `tcp_fin_timeout`).
const ABANDONED: Duration = Duration::from_secs(60);

/// smoltcp forgets a connection 10 s after both sides closed it, unread bytes included. Until a bit before that it may
/// answer; then it is not asked any more until they are read.
const TIME_WAIT_ANSWERS: Duration = Duration::from_secs(9);

/// How a connection came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    Dialled,
    /// Through the listener there.
    Accepted(Local),
}

/// One TCP connection.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) flow: Flow,
    pub(super) origin: Origin,
    /// smoltcp's state when it was last looked at.
    pub(super) seen: State,
    /// How it ended, once it has.
    pub(super) end: Option<End>,
    /// Whether the handshake was ever finished.
    pub(super) established: bool,
    /// Whether its user has let go of it.
    pub(super) abandoned: bool,
    /// Segments with payload since something was last sent.
    pub(super) unanswered: u8,
    /// Whether this half is to be closed as soon as all but the last segment was sent.
    pub(super) closing: bool,
    /// Since when it merely answers late packets and could make room for another, if it does.
    pub(super) lingers: Option<Instant>,
    pub(super) sender: Sender,
    /// Bytes that its user has read.
    pub(super) read: u32,
    /// The other end's first byte.
    pub(super) first: u32,
    began: Instant,
    heard: Instant,
    // When it was last made to send again.
    resent: Instant,
    // Since when an answer is owed: the last sign of life, or the first unanswered packet after a quiet time.
    waiting_since: Instant,
    waiting: bool,
    entered: Instant,
}

impl Tcp {
    /// A connection whose segments have at most `mss` bytes of payload.
    pub(super) fn new(now: Instant, flow: Flow, origin: Origin, mss: usize) -> Self {
        Self {
            flow,
            origin,
            seen: State::Closed,
            end: None,
            established: false,
            abandoned: false,
            unanswered: 0,
            closing: false,
            lingers: None,
            sender: Sender::new(mss),
            read: 0,
            first: 0,
            began: now,
            heard: now,
            resent: now,
            waiting_since: now,
            waiting: false,
            entered: now,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.waiting_since = now;
    }

    pub(super) fn resent(&mut self, now: Instant) {
        self.resent = now;
    }

    /// Says that smoltcp's state is another one. Returns the one before.
    pub(super) fn enter(&mut self, now: Instant, state: State) -> State {
        self.entered = now;
        std::mem::replace(&mut self.seen, state)
    }

    /// Takes note of whether an answer is owed.
    pub(super) fn update(&mut self, now: Instant, socket: &Socket<'_>) {
        let waiting = is_waiting(socket);
        if waiting && !self.waiting {
            self.waiting_since = now;
        }
        self.waiting = waiting;
    }

    pub(super) fn abandon(&mut self, now: Instant) {
        self.abandoned = true;
        self.waiting_since = now;
    }

    /// Whether smoltcp must not be asked, because it would forget bytes that were not read.
    pub(super) fn must_rest(&self, now: Instant, socket: &Socket<'_>) -> bool {
        self.seen == State::TimeWait
            && !self.abandoned
            && socket.can_recv()
            && now.saturating_duration_since(self.entered) >= TIME_WAIT_ANSWERS
    }

    /// The sequence number that the other end's next segment has, if it sends nothing twice.
    pub(super) fn expected(&self, socket: &Socket<'_>) -> u32 {
        let closed =
            matches!(socket.state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        let arrived = u32::try_from(socket.recv_queue()).unwrap_or(u32::MAX).wrapping_add(u32::from(closed));
        self.first.wrapping_add(self.read).wrapping_add(arrived)
    }

    /// Whether its losses can be repaired: it is neither about to open nor over.
    pub(super) const fn is_open(&self) -> bool {
        self.established && !matches!(self.seen, State::Closed | State::TimeWait)
    }

    /// Whether retransmission has begun to wait for longer and longer.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.waiting && (self.sender.has_backed_off() || now.saturating_duration_since(self.heard) >= STALLED)
    }

    /// When to send again at the latest, or to ask, if an answer is owed.
    pub(super) fn resend_by(&self) -> Option<Instant> {
        if self.is_open()
            && let Some(at) = self.sender.timeout_at()
        {
            return Some(at);
        }
        self.waiting.then(|| self.waiting_since.max(self.resent) + MOST_BACKOFF)
    }

    /// When to give up.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Why)> {
        match self.seen {
            State::SynSent => Some((self.began + timeouts.dial, Why::Dial)),
            State::SynReceived => Some((self.heard + HALF_OPEN, Why::HalfOpen)),
            State::Listen | State::Closed | State::TimeWait => None,
            _ if self.abandoned => Some((self.waiting_since + ABANDONED, Why::Abandoned)),
            _ => {
                let patience = timeouts.dead?;
                let idle = if self.waiting { Duration::ZERO } else { timeouts.keepalive? };
                Some((self.waiting_since + idle + patience, Why::Dead))
            }
        }
    }

    /// What a timer of smoltcp's is about.
    pub(super) const fn why(&self) -> Why {
        match self.seen {
            State::TimeWait => Why::TimeWait,
            _ if self.waiting => Why::Retransmit,
            _ => Why::KeepAlive,
        }
    }
}

/// Whether the other end owes an answer: to data, to the opening or to the closing.
fn is_waiting(socket: &Socket<'_>) -> bool {
    socket.send_queue() > 0
        || matches!(
            socket.state(),
            State::SynSent | State::SynReceived | State::FinWait1 | State::Closing | State::LastAck
        )
}
