//! In which way a relay is spoken to: which rung is tried, when the next one is, and what is remembered.

use std::{collections::BTreeMap, fmt, time::Instant};

use super::{
    limits::{REMEMBER_NETWORKS, REMEMBER_RUNG},
    report::{Seen, Step},
};

/// A way to get a DERP stream out of a connection to a relay, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rung {
    /// Frames at once, because the relay's key was in its TLS certificates.
    FastStart,
    /// `Upgrade: DERP` by HTTP/1.1.
    Upgrade,
    /// WebSocket, for proxies that let only that pass.
    WebSocket,
}

/// Which local network a connection was made from: equal numbers are the same network. The shell makes them up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Network(pub u64);

/// The ladder to one region.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// Rungs that may be taken, the best first.
    allowed: &'static [Rung],
    /// Rungs that the node being tried refused.
    refused: Vec<(Rung, Refusal)>,
    remembered: BTreeMap<Network, Remembered>,
}

/// How sure it is that a rung is what does not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The stream just ended: the next rung is tried, but a relay that restarts looks the same, so nothing is remembered.
    Doubtful,
    /// It was said, or nothing was.
    Sure,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    rung: Rung,
    until: Instant,
}

impl Rung {
    const ALL: [Self; 3] = [Self::FastStart, Self::Upgrade, Self::WebSocket];

    /// The rungs that a configuration allows, the best first.
    pub(crate) const fn allowed(fast_start: bool, force_websocket: bool) -> &'static [Self] {
        match (fast_start, force_websocket) {
            (_, true) => &[Self::WebSocket],
            (false, false) => &[Self::Upgrade, Self::WebSocket],
            (true, false) => &Self::ALL,
        }
    }
}

impl Ladder {
    pub(crate) const fn new(allowed: &'static [Rung]) -> Self {
        Self { allowed, refused: Vec::new(), remembered: BTreeMap::new() }
    }

    /// The rung to take now. `fast_start`: the relay's key is known from its certificates.
    pub(crate) fn rung(&self, now: Instant, network: Network, fast_start: bool) -> Rung {
        let remembered = self.remembered.get(&network).filter(|it| it.until > now).map(|it| it.rung);
        let offered = |rung: &Rung| fast_start || *rung != Rung::FastStart;
        let ladder = remembered.into_iter().chain(self.allowed.iter().copied()).filter(offered);
        let left = ladder.clone().find(|rung| !self.is_refused(*rung));
        // Which are left depends on what the certificates offer, which may have changed: then from the top again.
        left.or(self.allowed.iter().copied().find(offered)).unwrap_or(Rung::Upgrade)
    }

    /// The rung was refused in a way that another one may not be. Whether there is one that was not tried at this node.
    pub(crate) fn refuse(&mut self, rung: Rung, refusal: Refusal) -> bool {
        if !self.is_refused(rung) {
            self.refused.push((rung, refusal));
        }
        self.allowed.iter().any(|other| *other != Rung::FastStart && !self.is_refused(*other))
    }

    /// The rung led to a login. One that was taken because a better one was refused is remembered for a while.
    pub(crate) fn worked(&mut self, now: Instant, network: Network, rung: Rung) {
        let better_refused =
            self.refused.iter().any(|(refused, how)| *refused < rung && *how == Refusal::Sure);
        let remembered = self.remembered.get(&network).is_some_and(|it| it.rung == rung && it.until > now);
        if better_refused {
            if self.remembered.len() >= REMEMBER_NETWORKS && !self.remembered.contains_key(&network) {
                let oldest =
                    self.remembered.iter().min_by_key(|(_, it)| it.until).map(|(network, _)| *network);
                oldest.map(|oldest| self.remembered.remove(&oldest));
            }
            self.remembered.insert(network, Remembered { rung, until: now + REMEMBER_RUNG });
        } else if !remembered {
            self.remembered.remove(&network);
        }
        self.refused.clear();
    }

    /// Another node, or another round: what was refused may be tried again.
    pub(crate) fn start_over(&mut self) {
        self.refused.clear();
    }

    fn is_refused(&self, rung: Rung) -> bool {
        self.refused.iter().any(|(refused, _)| *refused == rung)
    }
}

/// Whether a failure says that the rung, and not the relay or the network, is what does not work: a final status other than 101,
/// another protocol, or an answer that never comes. Failures of TCP and TLS say nothing about rungs, at whatever step they are seen.
pub(crate) const fn refusal(step: Step, seen: &Seen) -> Option<Refusal> {
    match (step, seen) {
        (Step::Resolve | Step::Connect | Step::Proxy | Step::Tls | Step::Login | Step::Connected, _) => None,
        (Step::Upgrade | Step::WebSocket | Step::ServerKey, Seen::Io(_) | Seen::Tls(_)) => None,
        (Step::Upgrade | Step::WebSocket | Step::ServerKey, Seen::End) => Some(Refusal::Doubtful),
        (Step::ServerKey, Seen::Login(_)) => None,
        // A 101 that nothing follows, or that garbage follows: the proxy said it and does not do it.
        (Step::Upgrade | Step::WebSocket | Step::ServerKey, _) => Some(Refusal::Sure),
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FastStart => "fast start",
            Self::Upgrade => "HTTP upgrade",
            Self::WebSocket => "WebSocket",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::tests::t0;

    const HOME: Network = Network(1);
    const OFFICE: Network = Network(2);

    #[test]
    fn rungs_are_taken_from_the_best_down() {
        let mut ladder = Ladder::new(&Rung::ALL);
        assert_eq!(ladder.rung(t0(), HOME, true), Rung::FastStart);
        assert!(ladder.refuse(Rung::FastStart, Refusal::Sure));
        assert_eq!(ladder.rung(t0(), HOME, true), Rung::Upgrade);
        assert!(ladder.refuse(Rung::Upgrade, Refusal::Sure));
        assert_eq!(ladder.rung(t0(), HOME, true), Rung::WebSocket);
        assert!(!ladder.refuse(Rung::WebSocket, Refusal::Sure));
        ladder.start_over();
        assert_eq!(ladder.rung(t0(), HOME, false), Rung::Upgrade);
    }

    #[test]
    fn what_worked_is_remembered_for_its_network_and_the_better_rung_tried_again() {
        let mut ladder = Ladder::new(&Rung::ALL);
        ladder.refuse(Rung::Upgrade, Refusal::Sure);
        ladder.worked(t0(), OFFICE, Rung::WebSocket);
        let later = t0() + REMEMBER_RUNG - Duration::from_secs(1);
        assert_eq!(ladder.rung(later, OFFICE, false), Rung::WebSocket);
        assert_eq!(ladder.rung(later, OFFICE, true), Rung::WebSocket);
        assert_eq!(ladder.rung(later, HOME, false), Rung::Upgrade);
        ladder.worked(later, OFFICE, Rung::WebSocket);
        assert_eq!(ladder.rung(t0() + REMEMBER_RUNG, OFFICE, false), Rung::Upgrade, "not prolonged by use");
    }

    #[test]
    fn a_remembered_rung_that_is_refused_leaves_the_others() {
        let mut ladder = Ladder::new(&Rung::ALL);
        ladder.refuse(Rung::Upgrade, Refusal::Sure);
        ladder.worked(t0(), HOME, Rung::WebSocket);
        assert!(ladder.refuse(Rung::WebSocket, Refusal::Sure));
        assert_eq!(ladder.rung(t0(), HOME, false), Rung::Upgrade);
        ladder.worked(t0(), HOME, Rung::Upgrade);
        ladder.start_over();
        assert_eq!(ladder.rung(t0(), HOME, false), Rung::Upgrade, "what was remembered is forgotten");
    }

    #[test]
    fn a_forced_websocket_is_all_there_is() {
        let mut ladder = Ladder::new(Rung::allowed(true, true));
        assert_eq!(ladder.rung(t0(), HOME, true), Rung::WebSocket);
        assert!(!ladder.refuse(Rung::WebSocket, Refusal::Sure));
        assert_eq!(ladder.rung(t0(), HOME, true), Rung::WebSocket);
    }

    #[test]
    fn without_fast_start_the_ladder_begins_lower() {
        let ladder = Ladder::new(Rung::allowed(false, false));
        assert_eq!(ladder.rung(t0(), HOME, true), Rung::Upgrade);
    }

    #[test]
    fn memory_of_networks_is_bounded() {
        let mut ladder = Ladder::new(&Rung::ALL);
        for n in 0..1000 {
            ladder.refuse(Rung::Upgrade, Refusal::Sure);
            ladder.worked(t0() + Duration::from_secs(n), Network(n), Rung::WebSocket);
        }
        assert_eq!(ladder.remembered.len(), REMEMBER_NETWORKS);
        assert_eq!(ladder.rung(t0() + Duration::from_secs(1000), Network(999), false), Rung::WebSocket);
    }

    #[test]
    fn an_end_of_the_stream_leads_on_and_is_not_remembered() {
        let mut ladder = Ladder::new(&Rung::ALL);
        assert!(ladder.refuse(Rung::Upgrade, Refusal::Doubtful));
        assert_eq!(ladder.rung(t0(), HOME, false), Rung::WebSocket);
        ladder.worked(t0(), HOME, Rung::WebSocket);
        assert_eq!(ladder.rung(t0(), HOME, false), Rung::Upgrade);
    }

    #[test]
    fn tcp_and_tls_failures_move_no_rung() {
        let spoken = [Step::Upgrade, Step::WebSocket, Step::ServerKey];
        let others = [Step::Resolve, Step::Connect, Step::Proxy, Step::Tls, Step::Login, Step::Connected];
        let (tcp, tls) = (Seen::Io(std::io::ErrorKind::HostUnreachable), Seen::Tls("bad record".to_owned()));
        for step in others {
            for seen in [&Seen::Timeout, &Seen::Status(502), &Seen::End, &tcp, &tls] {
                assert_eq!(refusal(step, seen), None, "{step:?} {seen:?}");
            }
        }
        for step in spoken {
            for seen in [&tcp, &tls] {
                assert_eq!(refusal(step, seen), None, "{step:?} {seen:?}");
            }
            assert_eq!(refusal(step, &Seen::End), Some(Refusal::Doubtful), "{step:?}");
            assert_eq!(refusal(step, &Seen::Timeout), Some(Refusal::Sure), "{step:?}");
        }
        for seen in [
            Seen::Status(200),
            Seen::Status(302),
            Seen::Status(426),
            Seen::Alpn("h2".to_owned()),
            Seen::UpgradedTo("websocket".to_owned()),
            Seen::NotHttp,
        ] {
            assert_eq!(refusal(Step::Upgrade, &seen), Some(Refusal::Sure), "{seen:?}");
        }
        let forged = Seen::Login(crate::login::LoginError::Json);
        assert_eq!(refusal(Step::ServerKey, &forged), None);
    }
}
