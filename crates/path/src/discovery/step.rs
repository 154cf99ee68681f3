//! What a peer's discovery does when its time has come: heartbeats, searches, CallMeMaybes, and the end of trust.

use std::{net::SocketAddr, time::Instant};

use tidewire_disco::{Message, Ping, TxId};
use tidewire_transport::Hop;

use super::{About, Discovery};
use crate::{
    candidate::Candidate,
    discard::Discard,
    limits::{BUDGET_RETRY, DISCOVER, EARLY, MAX_IN_USE, UPGRADE},
    local::{Cx, Local},
    route::{Event, Reason, Why},
    trust::{Beat, Best},
};

impl Discovery {
    /// Does what is due. The reason, if the route changes by that.
    pub(crate) fn step(&mut self, about: &About, cx: &mut Cx<'_>) -> Option<Reason> {
        for token in self.probes.timed_out(cx.now) {
            cx.out.events.push(Event::PingTimeout { token, peer: about.peer });
        }
        self.candidates.purge(cx.now, self.best.as_ref().map(|best| best.addr));
        if !self.is_awake(about, cx.now) {
            return None;
        }
        let mut reason = None;
        if about.active_until.is_some() {
            reason = self.age(cx.now);
            self.beat(cx);
            self.upgrade(cx.now);
            self.call(about, cx);
        }
        self.discover(cx);
        reason
    }

    /// When to do something next, and why.
    pub(crate) fn next_event(&self, about: &About, now: Instant, local: &Local) -> Option<(Instant, Why)> {
        let at = |at: Option<Instant>, why| at.map(|at| (at, why));
        let asked = at(self.probes.next_timeout(), Why::PingTimeout);
        let awake = self.is_awake(about, now);
        let idle = about.active_until.max(self.alert_until.filter(|until| now < *until));
        let due = self.candidates.iter().filter_map(|candidate| candidate.due).min();
        let tries = [at(idle, Why::Idle), at(due, Why::Discover)].into_iter().flatten().filter(|_| awake);
        let active = about.active_until.is_some();
        let kept = [
            at(self.best.as_ref().map(Best::next_beat), Why::Heartbeat),
            at(self.call_at(about, now, local), Why::Call),
            at(self.upgrade_at.filter(|_| self.is_trusted(now) && !self.is_good(now)), Why::Upgrade),
            self.best
                .as_ref()
                .map(|b| (b.ends(), if b.is_believed { Why::TrustEnds } else { Why::OverlapEnds })),
        ];
        let kept = kept.into_iter().flatten().filter(|_| active);
        asked.into_iter().chain(tries).chain(kept).min_by_key(|(at, _)| *at)
    }

    /// Ends trust that has run out, or that too many lost heartbeats speak against, and the trial after it.
    fn age(&mut self, now: Instant) -> Option<Reason> {
        let best = self.best.as_mut()?;
        if best.is_believed && (best.is_doubtful(now) || !best.is_trusted(now)) {
            let reason = if best.is_trusted(now) { Reason::Doubted } else { Reason::Expired };
            best.distrust(now);
            best.is_believed = false;
            // What answered before this one fell silent may have fallen silent with it.
            let sign = self.candidates.get(best.addr).and_then(Candidate::last_proof);
            if !self.promote(now, sign) {
                self.search(now);
            }
            return Some(reason);
        }
        if !best.is_believed && !best.is_tried(now) {
            self.best = None;
            return Some(Reason::Lost);
        }
        None
    }

    /// Pings the path in use, and others that the peer uses: it forgets an address that it knows only from our pings.
    fn beat(&mut self, cx: &mut Cx<'_>) {
        let latency = self.latency();
        let Some(best) = &mut self.best else { return };
        let (addr, beat) = (best.addr, best.beat(cx.now, latency));
        let Some(beat) = beat else { return };
        self.ping(Hop::Udp(addr), None, cx);
        if beat == Beat::First {
            let is_due = |other: &Candidate| other.due.is_some_and(|due| due <= cx.now);
            let used = self.candidates.iter().filter(|other| other.addr != addr && other.is_in_use(cx.now));
            let used: Vec<_> = used.filter(|other| !is_due(other)).map(|o| o.addr).take(MAX_IN_USE).collect();
            for addr in used {
                self.ping(Hop::Udp(addr), None, cx);
            }
        }
    }

    /// Compares a path that works, but not well, with all others.
    fn upgrade(&mut self, now: Instant) {
        if !self.is_trusted(now) || self.is_good(now) || self.upgrade_at.is_none_or(|at| now < at) {
            return;
        }
        self.upgrade_at = Some(now + UPGRADE);
        let best = self.best.as_ref().map(|best| best.addr);
        for candidate in self.candidates.iter_mut().filter(|candidate| Some(candidate.addr) != best) {
            candidate.ask(now);
        }
        self.calls.tell(now);
    }

    /// Tells the peer our addresses, all of them, as fresh as can be had without making it wait for long.
    fn call(&mut self, about: &About, cx: &mut Cx<'_>) {
        let Some(relay) = about.relay else { return };
        if self.call_at(about, cx.now, cx.local).is_none_or(|at| cx.now < at) {
            return;
        }
        let message = Message::CallMeMaybe(cx.local.own.addresses().to_vec());
        cx.send(relay, &self.disco, &message);
        self.calls.sent(cx.now, !self.is_trusted(cx.now));
    }

    fn call_at(&self, about: &About, now: Instant, local: &Local) -> Option<Instant> {
        let due = self.calls.due().filter(|_| about.relay.is_some() && !local.own.addresses().is_empty())?;
        Some(local.own.wait_until(now).map_or(due, |until| due.max(until)))
    }

    /// Pings the addresses whose turn it is, as far as the budgets go.
    fn discover(&mut self, cx: &mut Cx<'_>) {
        let due = self.candidates.iter().filter(|candidate| candidate.due.is_some_and(|due| due <= cx.now));
        let due: Vec<_> = due.map(|candidate| candidate.addr).collect();
        for addr in due {
            self.attempt(addr, None, cx);
        }
    }

    /// Pings an address that may be anyone's, as far as the budgets go, and says when it is its turn again.
    pub(super) fn attempt(&mut self, addr: SocketAddr, token: Option<u64>, cx: &mut Cx<'_>) {
        let (trusted, good) = (self.is_trusted(cx.now), self.is_good(cx.now));
        let may = self.may_ping(cx);
        if may {
            self.ping(Hop::Udp(addr), token, cx);
        }
        let Some(candidate) = self.candidates.get_mut(addr) else { return };
        if !may {
            candidate.due = Some(cx.now + BUDGET_RETRY);
            return;
        }
        let early = EARLY.get(candidate.tries).filter(|_| !good);
        candidate.tries = candidate.tries.saturating_add(1);
        candidate.due = early.or(Some(&DISCOVER).filter(|_| !trusted)).map(|gap| cx.now + *gap);
    }

    /// Whether a ping to an address that nothing is known of is in the budgets.
    fn may_ping(&mut self, cx: &mut Cx<'_>) -> bool {
        let may = self.pings.has(cx.now) && cx.local.pings.take(cx.now) && self.pings.take(cx.now);
        if !may {
            cx.local.discards.count(Discard::PingBudget);
        }
        may
    }

    pub(super) fn ping(&mut self, hop: Hop, token: Option<u64>, cx: &mut Cx<'_>) {
        let tx = TxId::generate(&mut cx.local.drbg);
        self.probes.sent(cx.now, tx, hop, token);
        if let Hop::Udp(addr) = hop
            && let Some(candidate) = self.candidates.get_mut(addr)
        {
            candidate.last_ping = Some(cx.now);
            candidate.unanswered = candidate.unanswered.saturating_add(1);
        }
        let ping = Message::Ping(Ping { tx, node: Some(cx.local.node), padding: 0 });
        cx.send(hop, &self.disco, &ping);
    }
}
