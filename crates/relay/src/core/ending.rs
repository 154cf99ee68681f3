//! How connections end: politely with a last word, at once, or all of them together.

use std::time::{Duration, Instant};

use tidewire_derp::{Frame, frame::GoneReason};

use super::{
    Admission, ClientId, Closed, Core, Discard, Event, Why,
    client::{Client, Phase},
    roster::Left,
};

/// How long a connection that has been told all may take to go.
const LINGER: Duration = Duration::from_secs(2);

impl Core {
    /// Changes who may log in. Clients that may not any more are told so and closed.
    pub fn set_admission(&mut self, now: Instant, admission: Admission) {
        self.admission = admission;
        for id in self.clients.ids() {
            let key = self.clients.get(id).and_then(|client| client.key);
            if key.is_some_and(|key| !self.admission.allows(&key)) {
                self.finish(now, id, Closed::NotAllowed);
            }
        }
    }

    /// Ends: tells each client so, and when to come back (spread over `spread`, so that they do not come all at once).
    /// Connections that are not logged in are closed. What waits for the others is still theirs: the shell sends it, and stops
    /// when all are gone, which takes at most the 2 s that each has to take it.
    pub fn shutdown(&mut self, now: Instant, spread: Duration, try_for: Duration) {
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        for id in self.clients.ids() {
            if self.clients.get(id).is_some_and(Client::is_pending) {
                self.close(id, Closed::Shutdown);
                continue;
            }
            let reconnect_in = Duration::from_millis(self.drbg.below(spread_ms.saturating_add(1)));
            self.tell(id, Frame::Health(b"the relay is shutting down"));
            self.tell(id, Frame::Restarting { reconnect_in, try_for });
            self.finish(now, id, Closed::Shutdown);
        }
    }

    /// Closes the connection that has waited longest to log in, for newer ones. `false`: all are logged in.
    pub fn make_room(&mut self) -> bool {
        while let Some(id) = self.pending.pop_front() {
            if self.clients.get(id).is_some_and(Client::is_pending) {
                self.close(id, Closed::Crowded);
                return true;
            }
        }
        false
    }

    /// Ends a connection politely: what the relay itself has to say is sent, nothing more is read.
    pub(super) fn finish(&mut self, now: Instant, id: ClientId, reason: Closed) {
        if self.clients.get(id).is_none_or(|client| client.ending.is_some()) {
            return;
        }
        if let Some(words) =
            last_words(reason).filter(|_| self.clients.get(id).is_some_and(|client| client.key.is_some()))
        {
            self.tell(id, Frame::Health(words));
        }
        self.leave(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        client.ending = Some(reason);
        client.phase = Phase::Ending;
        client.is_readable = true;
        if reason != Closed::Shutdown {
            let dropped = client.outbox.clear_packets(&mut self.pool);
            self.stats.discard(Discard::ReceiverLeft, dropped);
        }
        client.outbox.close_websocket(reason);
        self.set_timer(id, Why::KeepAlive, None);
        self.set_timer(id, Why::Resume, None);
        self.set_timer(id, Why::Setup, Some(now + LINGER));
        self.mark_dirty(id);
    }

    /// Ends a connection at once.
    pub(super) fn close(&mut self, id: ClientId, reason: Closed) {
        self.leave_quietly(id);
        let Some(mut client) = self.clients.remove(id) else { return };
        self.timers.clear(id, &mut client.deadlines);
        let dropped = client.outbox.clear_packets(&mut self.pool);
        self.stats.discard(Discard::ReceiverLeft, dropped);
        let reason = client.ending.unwrap_or(reason);
        self.stats.close(reason);
        self.events.push_back(Event::Closed { id, key: client.key, reason });
    }

    fn leave_quietly(&mut self, id: ClientId) {
        if self.clients.get(id).is_some_and(|client| client.ending.is_none()) {
            self.leave(id);
        }
    }

    /// Takes a connection out of what counts it: the pending, or the roster, where those who heard from it are told.
    fn leave(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(key) = client.key else {
            self.pending_count -= 1;
            return;
        };
        self.stats.clients -= 1;
        self.stats.at_home -= u64::from(std::mem::take(&mut client.is_at_home));
        let Some(Left::Nobody { seen_by }) = self.roster.leave(&key, id) else { return };
        for receiver in seen_by.into_iter().filter(|&receiver| receiver != id) {
            self.tell(receiver, Frame::PeerGone { peer: key, reason: GoneReason::Disconnected });
        }
    }
}

/// What a client that is logged in hears of its end, where it would not know better than to come back at once.
const fn last_words(reason: Closed) -> Option<&'static [u8]> {
    match reason {
        Closed::Mesh(_) => Some(b"this relay is in no mesh: it serves no mesh frames"),
        Closed::NotAllowed => Some(b"this key may not use this relay any more"),
        _ => None,
    }
}
