//! Which addresses a peer may have, where each was learned, and how long it is kept.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidewire_disco::TxId;
use tidewire_transport::Hop;

use crate::{
    limits::{BAR, BAR_FORGIVEN, BAR_MAX, CANDIDATE_LIFETIME, EARLY, IN_USE, MAX_MET, PING_TIMEOUT, TRUST},
    order::Standing,
};

/// An address that a peer may have.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) addr: SocketAddr,
    pub(crate) learned: Learned,
    /// When it is to be pinged next in a search.
    pub(crate) due: Option<Instant>,
    /// How many pings it got since the search began.
    pub(crate) tries: usize,
    pub(crate) last_ping: Option<Instant>,
    pub(crate) unanswered: u32,
    pub(crate) last_pong: Option<Instant>,
    latencies: Latencies,
    bar: Option<Bar>,
    last_tx: Option<TxId>,
}

/// Where an address was learned. Each source speaks for itself: an address is kept as long as one of them names it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Learned {
    pub(crate) map: bool,
    pub(crate) call: bool,
    /// The last ping from there.
    pub(crate) ping: Option<Instant>,
    /// The last authenticated WireGuard packet from there.
    pub(crate) data: Option<Instant>,
}

/// The round trip times of the last few pongs. The least counts: it is what the path can do, while a full queue passes.
#[derive(Clone, Copy, Default, Debug)]
struct Latencies {
    last: [Option<Duration>; 4],
    next: usize,
}

/// Data went unanswered over this path, so it is not used for a while.
#[derive(Clone, Copy, Debug)]
struct Bar {
    until: Instant,
    times: u32,
}

impl Candidate {
    fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            learned: Learned::default(),
            due: None,
            tries: 0,
            last_ping: None,
            unanswered: 0,
            last_pong: None,
            latencies: Latencies::default(),
            bar: None,
            last_tx: None,
        }
    }

    pub(crate) const fn hop(&self) -> Hop {
        Hop::Udp(self.addr)
    }

    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latencies.last.iter().flatten().min().copied()
    }

    /// How it compares with others, if it ever answered.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.latency().map(|latency| Standing::new(self.hop(), latency))
    }

    /// Takes note of an answer.
    pub(crate) fn answered(&mut self, now: Instant, latency: Duration) {
        let Latencies { last, next } = &mut self.latencies;
        last[*next] = Some(latency);
        *next = (*next + 1) % last.len();
        self.last_pong = Some(now);
        self.unanswered = 0;
    }

    /// Answered so lately that it may be used at once.
    pub(crate) fn is_proven(&self, now: Instant) -> bool {
        self.last_pong.is_some_and(|at| now.saturating_duration_since(at) < TRUST)
    }

    /// When something last came from there that proves that the peer is at its other end.
    pub(crate) fn last_proof(&self) -> Option<Instant> {
        self.last_pong.max(self.learned.data)
    }

    /// A ping that could still be answered is on its way.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        self.unanswered > 0
            && self.last_ping.is_some_and(|at| now.saturating_duration_since(at) < PING_TIMEOUT)
    }

    /// Data or heartbeats came from there so lately that the peer uses this path.
    pub(crate) fn is_in_use(&self, now: Instant) -> bool {
        self.learned.data.max(self.learned.ping).is_some_and(|at| now.saturating_duration_since(at) < IN_USE)
    }

    /// Starts a search for it from the beginning.
    pub(crate) fn search(&mut self, now: Instant) {
        self.due = Some(now);
        self.tries = 0;
    }

    /// Asks it out of turn.
    pub(crate) const fn ask(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// Data went unanswered over it: not to be used until then, each time longer.
    pub(crate) fn bar(&mut self, now: Instant) {
        let times = self.bar.filter(|bar| now < bar.until + BAR_FORGIVEN).map_or(0, |bar| bar.times + 1);
        let length = BAR.saturating_mul(1 << times.min(16)).min(BAR_MAX);
        self.bar = Some(Bar { until: now + length, times });
    }

    pub(crate) fn barred_until(&self, now: Instant) -> Option<Instant> {
        self.bar.map(|bar| bar.until).filter(|until| now < *until)
    }

    /// What was learned of it over a network that is gone.
    fn forget_answers(&mut self) {
        self.latencies = Latencies::default();
        self.last_pong = None;
        self.bar = None;
        self.unanswered = 0;
    }

    /// Nobody but packets from there ever named it.
    const fn is_met_only(&self) -> bool {
        !self.learned.map && !self.learned.call
    }

    fn last_sign(&self) -> Option<Instant> {
        self.learned.ping.max(self.last_proof())
    }
}

/// What a packet from an address says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    /// It was known.
    Known,
    /// It was not, and is from here on.
    New,
    /// It was not, and there is no room.
    Full,
}

/// The addresses a peer may have, each once.
#[derive(Default, Debug)]
pub(crate) struct Candidates(BTreeMap<SocketAddr, Candidate>);

impl Candidates {
    pub(crate) fn get(&self, addr: SocketAddr) -> Option<&Candidate> {
        self.0.get(&addr)
    }

    pub(crate) fn get_mut(&mut self, addr: SocketAddr) -> Option<&mut Candidate> {
        self.0.get_mut(&addr)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.0.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.0.values_mut()
    }

    /// Replaces the addresses of the map. New ones are to be tried at once.
    pub(crate) fn list(&mut self, now: Instant, addrs: &[SocketAddr]) {
        for candidate in self.0.values_mut() {
            candidate.learned.map = false;
        }
        for &addr in addrs {
            self.insert(now, addr).learned.map = true;
        }
    }

    /// Replaces the addresses of the last CallMeMaybe. All are to be tried at once: the peer is doing the same just now.
    pub(crate) fn call(&mut self, now: Instant, addrs: &[SocketAddr]) {
        for candidate in self.0.values_mut() {
            candidate.learned.call = false;
        }
        for &addr in addrs {
            self.insert(now, addr).learned.call = true;
        }
        self.0.values_mut().for_each(|candidate| candidate.ask(now));
    }

    /// Whether `tx` is that of the last ping from `addr`.
    pub(crate) fn is_copy(&self, addr: SocketAddr, tx: TxId) -> bool {
        self.get(addr).is_some_and(|candidate| candidate.last_tx == Some(tx))
    }

    /// Takes note of a ping from an address.
    pub(crate) fn ping_from(&mut self, now: Instant, addr: SocketAddr, tx: TxId) -> Met {
        self.meet(now, addr, |candidate| {
            candidate.learned.ping = Some(now);
            candidate.last_tx = Some(tx);
        })
    }

    /// Takes note of authenticated data from an address.
    pub(crate) fn data_from(&mut self, now: Instant, addr: SocketAddr) -> Met {
        self.meet(now, addr, |candidate| candidate.learned.data = Some(now))
    }

    fn meet(&mut self, now: Instant, addr: SocketAddr, note: impl FnOnce(&mut Candidate)) -> Met {
        let known = self.0.contains_key(&addr);
        if !known && !self.has_room(now) {
            return Met::Full;
        }
        note(self.insert(now, addr));
        if known { Met::Known } else { Met::New }
    }

    /// Makes room for an address that nobody but its packets names: one that still gives signs of life is never displaced.
    fn has_room(&mut self, now: Instant) -> bool {
        let met = || self.0.values().filter(|candidate| candidate.is_met_only());
        if met().count() < MAX_MET {
            return true;
        }
        let is_stale = |sign: Option<Instant>| {
            sign.is_none_or(|at| now.saturating_duration_since(at) >= crate::limits::ACTIVE)
        };
        let oldest = met()
            .min_by_key(|candidate| (candidate.last_sign(), candidate.addr))
            .map(|c| (c.addr, c.last_sign()));
        match oldest {
            Some((addr, sign)) if is_stale(sign) => self.0.remove(&addr).is_some(),
            _ => false,
        }
    }

    fn insert(&mut self, now: Instant, addr: SocketAddr) -> &mut Candidate {
        self.0.entry(addr).or_insert_with(|| {
            let mut candidate = Candidate::new(addr);
            candidate.search(now);
            candidate
        })
    }

    /// Starts a search for all of them.
    pub(crate) fn search(&mut self, now: Instant) {
        self.0.values_mut().for_each(|candidate| candidate.search(now));
    }

    /// A path is proven: ends the search for those that have answered or had their early pings, and for all that were asked if
    /// the path is a good one.
    pub(crate) fn settle(&mut self, is_good: bool) {
        for candidate in self.0.values_mut() {
            let is_through = candidate.unanswered == 0 || candidate.tries > EARLY.len() || is_good;
            if candidate.tries > 0 && is_through {
                candidate.due = None;
            }
        }
    }

    /// Removes what no source names any longer, but for the path in use.
    pub(crate) fn purge(&mut self, now: Instant, in_use: Option<SocketAddr>) {
        self.0.retain(|addr, candidate| {
            let lives = |at: Option<Instant>| {
                at.is_some_and(|at| now.saturating_duration_since(at) < CANDIDATE_LIFETIME)
            };
            let met = candidate.learned.ping.is_some() || candidate.learned.data.is_some();
            !candidate.is_met_only() || met && lives(candidate.last_sign()) || in_use == Some(*addr)
        });
    }

    /// Keeps the addresses and forgets how they did.
    pub(crate) fn forget_answers(&mut self) {
        self.0.values_mut().for_each(Candidate::forget_answers);
    }

    /// Forgets all that was learned from the peer itself.
    pub(crate) fn forget_peer(&mut self) {
        self.0.retain(|_, candidate| candidate.learned.map);
        for candidate in self.0.values_mut() {
            candidate.learned = Learned { map: true, ..Learned::default() };
            candidate.last_tx = None;
            candidate.forget_answers();
        }
    }

    /// The best of those that may be used at once, but for `left`.
    pub(crate) fn best_proven(&self, now: Instant, left: Option<SocketAddr>) -> Option<SocketAddr> {
        let others = self.iter().filter(|candidate| Some(candidate.addr) != left);
        let usable =
            others.filter(|candidate| candidate.is_proven(now) && candidate.barred_until(now).is_none());
        usable.filter_map(|c| c.standing().map(|standing| (standing, c.addr))).min().map(|(_, addr)| addr)
    }
}
