//! Which pings of a peer are waited for, and whose answers a caller waits for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tidewire_disco::TxId;
use tidewire_transport::Hop;

use crate::limits::{MAX_ASKED, MAX_PROBES, PING_TIMEOUT};

/// The pings of one peer that can still be answered.
#[derive(Default, Debug)]
pub(crate) struct Probes {
    /// In the order in which they were sent.
    sent: VecDeque<Probe>,
    asked: Vec<Asked>,
}

/// A ping that can still be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    tx: TxId,
    /// Where it was sent to; its pong proves this path, wherever the pong comes from.
    pub(crate) to: Hop,
    pub(crate) at: Instant,
    token: Option<u64>,
}

/// A ping that a caller asked for, sent to one or more hops.
#[derive(Clone, Copy, Debug)]
struct Asked {
    token: u64,
    until: Instant,
}

impl Probes {
    /// Remembers a ping. The oldest is forgotten when there are too many.
    pub(crate) fn sent(&mut self, now: Instant, tx: TxId, to: Hop, token: Option<u64>) {
        self.purge(now);
        if self.sent.len() >= MAX_PROBES {
            self.sent.pop_front();
        }
        self.sent.push_back(Probe { tx, to, at: now, token });
    }

    /// The ping that a pong answers.
    pub(crate) fn find(&mut self, now: Instant, tx: TxId) -> Option<Probe> {
        self.purge(now);
        self.sent.iter().find(|probe| probe.tx == tx).copied()
    }

    /// Takes a ping for answered. Returns the caller's token if this is the first answer to what the caller asked for.
    pub(crate) fn answered(&mut self, probe: &Probe) -> Option<u64> {
        self.sent.retain(|other| other.tx != probe.tx);
        let place = self.asked.iter().position(|asked| Some(asked.token) == probe.token)?;
        Some(self.asked.remove(place).token)
    }

    /// Remembers that a caller waits for an answer; not if too many do already.
    pub(crate) fn ask(&mut self, now: Instant, token: u64) -> bool {
        let has_room = self.asked.len() < MAX_ASKED;
        if has_room {
            self.asked.push(Asked { token, until: now + PING_TIMEOUT });
        }
        has_room
    }

    /// The tokens that are given up.
    pub(crate) fn timed_out(&mut self, now: Instant) -> impl Iterator<Item = u64> + use<'_> {
        self.asked.extract_if(.., move |asked| asked.until <= now).map(|asked| asked.token)
    }

    /// When the next token is given up.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.asked.iter().map(|asked| asked.until).min()
    }

    /// Forgets pings that went out over another network, or under another key; a caller still gets its timeout.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
    }

    fn purge(&mut self, now: Instant) {
        let is_late = |probe: &Probe| now.saturating_duration_since(probe.at) > PING_TIMEOUT;
        while self.sent.front().is_some_and(is_late) {
            self.sent.pop_front();
        }
    }
}

impl Probe {
    /// How long the answer took.
    pub(crate) fn rtt(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::t0;

    const HOP: Hop =
        Hop::Udp(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1));

    const fn tx(n: u8) -> TxId {
        TxId([n; 12])
    }

    #[test]
    fn a_pong_4_7_s_late_counts_and_5_3_s_does_not() {
        let mut probes = Probes::default();
        probes.sent(t0(), tx(1), HOP, None);
        assert!(probes.find(t0() + Duration::from_millis(4_700), tx(1)).is_some());
        assert!(probes.find(t0() + Duration::from_millis(5_300), tx(1)).is_none());
    }

    #[test]
    fn a_pong_counts_once() {
        let mut probes = Probes::default();
        probes.sent(t0(), tx(1), HOP, None);
        let probe = probes.find(t0(), tx(1)).unwrap();
        assert_eq!(probes.answered(&probe), None);
        assert!(probes.find(t0(), tx(1)).is_none());
    }

    #[test]
    fn the_first_of_several_answers_is_the_callers() {
        let mut probes = Probes::default();
        assert!(probes.ask(t0(), 7));
        for n in [1, 2] {
            probes.sent(t0(), tx(n), HOP, Some(7));
        }
        let first = probes.find(t0(), tx(2)).unwrap();
        let second = probes.find(t0(), tx(1)).unwrap();
        assert_eq!(probes.answered(&first), Some(7));
        assert_eq!(probes.answered(&second), None);
        assert_eq!(probes.next_timeout(), None);
    }

    #[test]
    fn what_is_waited_for_is_bounded() {
        let mut probes = Probes::default();
        for n in 0..2 * MAX_PROBES {
            let mut tx = [0; 12];
            tx[..8].copy_from_slice(&n.to_le_bytes());
            probes.sent(t0(), TxId(tx), HOP, None);
        }
        assert_eq!(probes.sent.len(), MAX_PROBES);
        assert_eq!((0..100).filter(|&token| probes.ask(t0(), token)).count(), MAX_ASKED);
        assert_eq!(probes.timed_out(t0() + PING_TIMEOUT).count(), MAX_ASKED);
    }
}
