//! How a direct path to a peer with a disco key is searched, proven, kept and left.

mod step;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidewire_disco::TxId;
use tidewire_keys::{DiscoPublic, PeerId};
use tidewire_transport::Hop;

use crate::{
    budget::Budget,
    call::Calls,
    candidate::{Candidate, Candidates, Met},
    discard::Discard,
    limits::{ALERT, GOOD_ENOUGH, HINTED, MIRROR, PINGS_PER_PEER, PONGS_PER_PEER, UNANSWERED, UPGRADE},
    local::Cx,
    order::Standing,
    probe::{Probe, Probes},
    route::{PingRefusal, Reason},
    trust::Best,
};

/// What is known of the ways to one peer that has a disco key.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) disco: DiscoPublic,
    pub(crate) candidates: Candidates,
    /// The direct path in use, or the last one, which is tried again after a pause.
    pub(crate) best: Option<Best>,
    pub(crate) probes: Probes,
    pub(crate) pongs: Budget,
    pub(crate) calls: Calls,
    pub(crate) relay_latency: Option<Duration>,
    pings: Budget,
    upgrade_at: Option<Instant>,
    /// Addresses are tried although the peer is not active: it asked for that.
    alert_until: Option<Instant>,
    /// When the peer's way of sending last spoke against the path in use.
    mirrored: Option<Instant>,
}

/// What else is known of the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) peer: PeerId,
    pub(crate) relay: Option<Hop>,
    /// Until when the peer is active, if it is.
    pub(crate) active_until: Option<Instant>,
}

impl Discovery {
    pub(crate) fn new(disco: DiscoPublic) -> Self {
        Self {
            disco,
            candidates: Candidates::default(),
            best: None,
            probes: Probes::default(),
            pongs: Budget::new(PONGS_PER_PEER),
            calls: Calls::default(),
            relay_latency: None,
            pings: Budget::new(PINGS_PER_PEER),
            upgrade_at: None,
            alert_until: None,
            mirrored: None,
        }
    }

    /// Packets go unanswered: the path in use is asked at once. Whether that is news.
    pub(crate) fn unanswered(&mut self, now: Instant) -> bool {
        self.best.as_mut().is_some_and(|best| best.is_trusted(now) && best.check(now))
    }

    /// Authenticated data came through a relay. The path in use is doubted if nothing came by it lately: the peer then sends the
    /// other way because it no longer works. Whether it is.
    pub(crate) fn data_by_relay(&mut self, now: Instant) -> bool {
        let Some(best) = self.best.as_mut().filter(|best| best.is_trusted(now)) else { return false };
        let is_old = |at: Option<Instant>, age| at.is_none_or(|at| now.saturating_duration_since(at) >= age);
        let is_silent = self
            .candidates
            .get(best.addr)
            .is_some_and(|candidate| is_old(candidate.last_proof(), UNANSWERED));
        if !is_silent || !is_old(self.mirrored, MIRROR) {
            return false;
        }
        self.mirrored = Some(now);
        best.doubt(now);
        true
    }

    /// Traffic begins after a pause.
    pub(crate) fn resume(&mut self, now: Instant) -> Option<Reason> {
        match &mut self.best {
            Some(best) if best.is_trusted(now) => {
                best.check(now);
                return None;
            }
            Some(best) => best.resume(now),
            None => {}
        }
        self.search(now);
        self.best.is_some().then_some(Reason::Resumed)
    }

    /// Looks for a direct path, from the beginning.
    pub(crate) fn search(&mut self, now: Instant) {
        self.candidates.search(now);
        self.calls.search(now);
    }

    /// Takes note that authenticated data came from an address. What it is, and whether it is to be tried.
    pub(crate) fn data_from(&mut self, now: Instant, addr: SocketAddr) -> (Met, bool) {
        let is_trusted = self.is_trusted(now);
        if let Some(candidate) = self.candidates.get_mut(addr).filter(|_| is_trusted) {
            candidate.learned.data = Some(now);
            return (Met::Known, false);
        }
        let met = self.candidates.data_from(now, addr);
        (met, self.hint(now, addr, HINTED) || met == Met::New)
    }

    /// Takes note of a ping from an address.
    pub(crate) fn ping_from(&mut self, now: Instant, addr: SocketAddr, tx: TxId) -> Met {
        let is_first = self.candidates.get(addr).is_some_and(|candidate| candidate.learned.ping.is_none());
        let met = self.candidates.ping_from(now, addr, tx);
        self.hint(now, addr, if is_first { Duration::ZERO } else { HINTED });
        if met == Met::New {
            // The peer may have moved: whether the path in use still works is better known soon.
            self.best.iter_mut().for_each(|best| _ = best.check(now));
        }
        met
    }

    /// The way from an address is open. Whether it is tried for that: only while nothing better is known, and not twice within `gap`.
    fn hint(&mut self, now: Instant, addr: SocketAddr, gap: Duration) -> bool {
        let is_trusted = self.is_trusted(now);
        let is_long_ago = |at: Instant| now.saturating_duration_since(at) >= gap;
        let candidate = self.candidates.get_mut(addr).filter(|candidate| {
            !is_trusted && !candidate.is_proven(now) && candidate.last_ping.is_some_and(is_long_ago)
        });
        candidate.is_some_and(|candidate| {
            candidate.ask(now);
            true
        })
    }

    /// Takes the addresses of a CallMeMaybe in place of those of the last one. All are tried at once.
    pub(crate) fn called(&mut self, now: Instant, addrs: &[SocketAddr]) -> Option<Reason> {
        self.calls.last_heard = Some(now);
        self.alert_until = Some(now + ALERT);
        let was_called = |addr| self.candidates.get(addr).is_some_and(|candidate| candidate.learned.call);
        let is_withdrawn =
            self.best.as_ref().is_some_and(|best| was_called(best.addr) && !addrs.contains(&best.addr));
        self.candidates.call(now, addrs);
        let best = self.best.as_mut().filter(|_| is_withdrawn)?;
        best.distrust(now);
        best.check(now);
        best.is_believed = false;
        self.calls.later(now);
        Some(Reason::Withdrawn)
    }

    /// Takes note of the answer to a ping. It proves the path that the ping went, wherever the answer came from.
    pub(crate) fn answered(&mut self, now: Instant, probe: &Probe) -> Result<Option<Reason>, Discard> {
        let Hop::Udp(addr) = probe.to else {
            self.relay_latency = Some(probe.rtt(now));
            return Ok(None);
        };
        let candidate = self.candidates.get_mut(addr).ok_or(Discard::PongRemoved)?;
        candidate.answered(now, probe.rtt(now));
        if candidate.barred_until(now).is_some() {
            return Ok(None);
        }
        let was_trusted = self.is_trusted(now);
        let reason = self.adopt(now, addr, probe.at);
        if !was_trusted {
            self.calls.settle();
            self.upgrade_at = Some(now + UPGRADE);
        }
        self.candidates.settle(self.is_good(now));
        Ok(reason)
    }

    /// Data goes unanswered while probes are answered: leaves the path in use and bars it for a while.
    pub(crate) fn silent(&mut self, now: Instant) -> Option<Reason> {
        let addr = self.best.as_ref().filter(|best| best.is_trusted(now))?.addr;
        self.candidates.get_mut(addr)?.bar(now);
        self.best = None;
        if !self.promote(now, None) {
            self.search(now);
        }
        Some(Reason::Silent)
    }

    /// Nothing that was proven over the network of before holds any longer.
    pub(crate) fn network_changed(&mut self, now: Instant) -> Reason {
        self.candidates.forget_answers();
        self.probes.forget();
        if let Some(best) = &mut self.best {
            best.distrust(now);
            best.check(now);
            best.is_believed = false;
        }
        self.search(now);
        self.calls.at_once(now);
        Reason::NetworkChanged
    }

    /// The peer has another disco key: what its old one said is void.
    pub(crate) fn set_disco(&mut self, now: Instant, disco: DiscoPublic) {
        self.disco = disco;
        self.candidates.forget_peer();
        self.probes.forget();
        self.best = None;
        self.alert_until = None;
        self.search(now);
    }

    /// Pings for a caller: the path in use if there is a proven one, else every way there is.
    pub(crate) fn ask(&mut self, about: &About, token: u64, cx: &mut Cx<'_>) -> Result<(), PingRefusal> {
        let trusted = self.best.as_ref().filter(|best| best.is_trusted(cx.now)).map(|best| best.addr);
        if trusted.is_none() && about.relay.is_none() && self.candidates.iter().next().is_none() {
            return Err(PingRefusal::NoHop);
        }
        if !self.probes.ask(cx.now, token) {
            return Err(PingRefusal::Busy);
        }
        if let Some(addr) = trusted {
            self.ping(Hop::Udp(addr), Some(token), cx);
            return Ok(());
        }
        if let Some(relay) = about.relay {
            self.ping(relay, Some(token), cx);
        }
        let addrs: Vec<_> = self.candidates.iter().map(|candidate| candidate.addr).collect();
        for addr in addrs {
            self.attempt(addr, Some(token), cx);
        }
        Ok(())
    }

    /// A direct path is proven.
    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        self.best.as_ref().is_some_and(|best| best.is_trusted(now))
    }

    /// A direct path is proven, and so fast that nothing better is looked for.
    fn is_good(&self, now: Instant) -> bool {
        self.is_trusted(now) && self.latency().is_some_and(|latency| latency <= GOOD_ENOUGH)
    }

    /// Whether addresses are tried.
    pub(crate) fn is_awake(&self, about: &About, now: Instant) -> bool {
        about.active_until.is_some() || self.alert_until.is_some_and(|until| now < until)
    }

    fn latency(&self) -> Option<Duration> {
        self.candidates.get(self.best.as_ref()?.addr)?.latency()
    }

    /// Goes over to a path that has just answered, if that is better than staying.
    fn adopt(&mut self, now: Instant, addr: SocketAddr, sent: Instant) -> Option<Reason> {
        let standing = |addr| self.candidates.get(addr).and_then(Candidate::standing);
        match &mut self.best {
            Some(best) if best.addr == addr => {
                let is_news = !best.is_believed;
                best.confirm(now, sent);
                is_news.then_some(Reason::Proven)
            }
            Some(best) if best.is_trusted(now) => {
                let is_better = match (standing(addr), standing(best.addr)) {
                    (Some(this), Some(incumbent)) => Standing::supersedes(&this, &incumbent),
                    (this, _) => this.is_some(),
                };
                is_better.then(|| {
                    *best = Best::new(addr, now);
                    Reason::Better
                })
            }
            _ => {
                self.best = Some(Best::new(addr, now));
                Some(Reason::Proven)
            }
        }
    }

    /// Goes over to the best of the other paths that answered lately, and later than `since`. Whether there is one.
    fn promote(&mut self, now: Instant, since: Option<Instant>) -> bool {
        let left = self.best.as_ref().map(|best| best.addr);
        let other = self.candidates.best_proven(now, left).and_then(|addr| self.candidates.get(addr));
        let answered = other.and_then(|other| Some((other.addr, other.last_pong?)));
        let next = answered.filter(|(_, at)| Some(*at) > since).map(|(addr, at)| Best::new(addr, at));
        let is_there = next.is_some();
        self.best = next.or(self.best.take());
        is_there
    }
}
