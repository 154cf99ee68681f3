//! Who is let in: the first frame of a stream, judged and answered.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use tidewire_derp::{ClientInfo, Frame, ServerInfo, frame::Sealed};
use tidewire_keys::{NONCE_LEN, NodePublic};

use super::{ClientId, Closed, Core, Event, Why, client::Sender};

/// `KeepAlive` comes once in this time and up to the jitter more; what it is, is drawn once for each client.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_JITTER: Duration = Duration::from_secs(5);
/// How many logins are remembered, so that a recorded one does not work again.
const REMEMBERED: usize = 4096;

/// The nonces of the last logins.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    known: BTreeSet<[u8; NONCE_LEN]>,
    order: VecDeque<[u8; NONCE_LEN]>,
}

impl Nonces {
    /// Notes a nonce; `false` if it is known.
    fn insert(&mut self, nonce: [u8; NONCE_LEN]) -> bool {
        if !self.known.insert(nonce) {
            return false;
        }
        self.order.push_back(nonce);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Core {
    /// Judges a login and answers it. `Err`: the client is to be turned away.
    pub(super) fn log_in(
        &mut self,
        now: Instant,
        id: ClientId,
        key: NodePublic,
        sealed: &Sealed<'_>,
    ) -> Result<Sender, Closed> {
        // The list is asked first: it costs less than the box, and a stranger could find out either way.
        if !self.admission.allows(&key) {
            return Err(Closed::NotAllowed);
        }
        if self.stats.clients >= self.limits.clients as u64 {
            return Err(Closed::Full);
        }
        let shared = self.secret.shared(&key);
        ClientInfo::open(&key, &shared, sealed).map_err(Closed::Login)?;
        if !self.nonces.insert(*sealed.nonce) {
            return Err(Closed::Replayed);
        }
        let mut answer = Vec::new();
        ServerInfo::new().encode(&shared, &self.drbg.array(), &mut answer);
        self.admit(now, id, key, &answer);
        Ok(Sender::new(now, id, key, self.limits.rate))
    }

    fn admit(&mut self, now: Instant, id: ClientId, key: NodePublic, answer: &[u8]) {
        let jitter_ms = u64::try_from(KEEP_ALIVE_JITTER.as_millis()).unwrap_or(u64::MAX);
        let keep_alive = KEEP_ALIVE + Duration::from_millis(self.drbg.below(jitter_ms));
        let Some(client) = self.clients.get_mut(id) else { return };
        client.key = Some(key);
        client.keep_alive = keep_alive;
        client.outbox.push_encoded(answer);
        self.pending_count -= 1;
        self.stats.clients += 1;
        self.stats.logins += 1;
        self.set_timer(id, Why::Setup, None);
        self.set_timer(id, Why::KeepAlive, Some(now + keep_alive));
        self.roster.join(key, id);
        self.events.push_back(Event::LoggedIn { id, key });
        self.mark_dirty(id);
    }

    /// The first frame that a client sees.
    pub(super) fn greet(&mut self, id: ClientId) {
        self.tell(id, Frame::ServerKey(self.public));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_logins_is_remembered() {
        let nonce = |at: usize| {
            let mut nonce = [0; NONCE_LEN];
            nonce[..8].copy_from_slice(&at.to_le_bytes());
            nonce
        };
        let mut nonces = Nonces::default();
        for at in 0..10 * REMEMBERED {
            assert!(nonces.insert(nonce(at)));
            assert!(!nonces.insert(nonce(at)));
        }
        assert_eq!((nonces.known.len(), nonces.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!nonces.insert(nonce(9 * REMEMBERED)), "the oldest that is remembered");
    }
}
