//! Under which addresses this node can be reached: those of its interfaces, and those that STUN servers see.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tidewire_keys::Drbg;
use tidewire_stun::TxId;
use tidewire_transport::Hop;

use crate::{
    call::{canonical, is_tellable},
    discard::{Discard, Discards},
    limits::{
        ACTIVE, MAX_CALLED, MAX_STUN_SERVERS, STUN_FRESH, STUN_JITTER, STUN_LIFETIME, STUN_PATIENCE,
        STUN_PERIOD, STUN_REPEAT,
    },
    route::{Out, Why},
};

/// What is known of this node's own addresses.
#[derive(Default, Debug)]
pub(crate) struct Own {
    local: Vec<SocketAddr>,
    servers: Vec<SocketAddr>,
    /// What each server saw last.
    seen: BTreeMap<SocketAddr, Seen>,
    round: Option<Round>,
    /// When a round last brought an answer, or was given up.
    settled: Option<Instant>,
    /// When the next round begins by itself.
    periodic: Option<Instant>,
    /// When any peer last had traffic.
    traffic: Option<Instant>,
    addresses: Vec<SocketAddr>,
}

/// What one server saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) addr: SocketAddr,
    pub(crate) at: Instant,
}

/// The servers are being asked.
#[derive(Debug)]
struct Round {
    started: Instant,
    sent: usize,
    next: Option<Instant>,
    waiting: BTreeMap<SocketAddr, TxId>,
}

/// What a STUN answer brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// The addresses are others than before.
    pub(crate) changed: bool,
    /// Who waited for a fresh answer need not wait any longer.
    pub(crate) settled: bool,
}

impl Own {
    /// The addresses, those seen by STUN first; at most as many as fit into one CallMeMaybe.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Each server that was asked, with what it saw.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (SocketAddr, Option<Seen>)> + '_ {
        self.servers.iter().map(|server| (*server, self.seen.get(server).copied()))
    }

    /// Whether servers at different addresses see different sources: a NAT that gives each destination a mapping of its own,
    /// behind which a port learned by STUN is of no use to others. `None` until two have answered.
    pub(crate) fn mapping_varies(&self) -> Option<bool> {
        let ipv4 = || self.seen.iter().filter(|(server, seen)| server.is_ipv4() && seen.addr.is_ipv4());
        // Answers of different rounds may differ because the NAT has forgotten meanwhile.
        let (first, one) = ipv4().max_by_key(|(_, seen)| seen.at)?;
        let others =
            ipv4().filter(|(server, seen)| server.ip() != first.ip() && seen.at + STUN_PATIENCE > one.at);
        others.map(|(_, seen)| seen.addr != one.addr).reduce(|any, other| any || other)
    }

    /// Sets the addresses of the interfaces. Whether the addresses told change by that.
    pub(crate) fn set_local(&mut self, addrs: &[SocketAddr]) -> bool {
        let usable: Vec<_> = addrs.iter().copied().map(canonical).filter(|addr| is_tellable(*addr)).collect();
        let outward: Vec<_> = usable.iter().copied().filter(|addr| !addr.ip().is_loopback()).collect();
        // Without any network there are still the nodes of this machine.
        self.local = if outward.is_empty() { usable } else { outward };
        self.update()
    }

    /// Sets the STUN servers, which are asked at once if they are others than before.
    pub(crate) fn set_servers(&mut self, now: Instant, servers: &[SocketAddr], discards: &mut Discards) {
        let mut usable: Vec<_> = Vec::new();
        for server in servers.iter().copied().map(canonical) {
            if !usable.contains(&server) && is_tellable(server) && usable.len() < MAX_STUN_SERVERS {
                usable.push(server);
            }
        }
        discards.add(Discard::StunServer, servers.len() - usable.len());
        if usable == self.servers {
            return;
        }
        self.servers = usable;
        self.seen.retain(|server, _| self.servers.contains(server));
        self.round = None;
        self.settled = None;
        self.ask(now);
        // The node may be active already.
        self.periodic = self.round.is_some().then_some(now);
    }

    /// A peer has traffic after a pause. If the node was not active either, STUN is asked again, at once if the last time is long ago.
    pub(crate) fn resume(&mut self, now: Instant) {
        if self.servers.is_empty() || self.periodic.is_some_and(|at| now < at) {
            return;
        }
        let next = self.settled.map(|settled| settled + STUN_PERIOD).filter(|at| now < *at);
        if next.is_none() {
            self.ask(now);
        }
        self.periodic = Some(next.unwrap_or(now + STUN_PERIOD));
    }

    /// Traffic, of any peer.
    pub(crate) const fn traffic(&mut self, now: Instant) {
        self.traffic = Some(now);
    }

    /// The network is another one: what STUN said before is void. Whether the addresses told change by that.
    pub(crate) fn network_changed(&mut self, now: Instant) -> bool {
        self.seen.clear();
        self.round = None;
        self.settled = None;
        self.ask(now);
        self.update()
    }

    /// Until when a CallMeMaybe has to wait, so that it says all there is to say. `None` if there is nothing to wait for.
    pub(crate) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let until = self.round.as_ref().map(|round| round.started + STUN_PATIENCE);
        until.filter(|until| now < *until && !self.is_fresh(now))
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.settled.is_some_and(|settled| now.saturating_duration_since(settled) < STUN_FRESH)
    }

    /// Begins to ask all servers, unless that is under way.
    fn ask(&mut self, now: Instant) {
        if self.round.is_none() && !self.servers.is_empty() {
            self.round = Some(Round { started: now, sent: 0, next: Some(now), waiting: BTreeMap::new() });
        }
    }

    /// Does what is due. Whether the addresses told change by that.
    pub(crate) fn step(&mut self, now: Instant, drbg: &mut Drbg, out: &mut Out) -> bool {
        if self.periodic.is_some_and(|at| at <= now) {
            self.periodic = self.is_active(now).then(|| now + STUN_PERIOD + jitter(drbg));
            if self.periodic.is_some() {
                self.ask(now);
            }
        }
        let Some(round) = &mut self.round else { return false };
        if round.started + STUN_PATIENCE <= now {
            self.settled = Some(now);
            self.round = None;
            self.seen.retain(|_, seen| now.saturating_duration_since(seen.at) < STUN_LIFETIME);
            return self.update();
        }
        if round.next.is_some_and(|at| at <= now) {
            round.send(now, &self.servers, drbg, out);
        }
        false
    }

    /// Why and when to be called again.
    pub(crate) fn next_event(&self) -> Option<(Instant, Why)> {
        let round = self.round.as_ref().map(|round| match round.next {
            Some(next) => (next, Why::Stun),
            None => (round.started + STUN_PATIENCE, Why::StunEnds),
        });
        let periodic = self.periodic.map(|at| (at, Why::Stun));
        round.into_iter().chain(periodic).min_by_key(|(at, _)| *at)
    }

    /// Takes a datagram for the answer of a server.
    pub(crate) fn answer(&mut self, now: Instant, hop: Hop, datagram: &[u8]) -> Result<Told, Discard> {
        let (tx, addr) = tidewire_stun::parse_response(datagram).map_err(|_| Discard::Stun)?;
        let Hop::Udp(server) = hop else { return Err(Discard::StunUnmatched) };
        let round = self.round.as_mut().ok_or(Discard::StunUnmatched)?;
        if round.waiting.get(&server) != Some(&tx) {
            return Err(Discard::StunUnmatched);
        }
        round.waiting.remove(&server);
        if round.waiting.is_empty() {
            self.round = None;
        }
        let settled = !self.is_fresh(now);
        self.settled = Some(now);
        let addr = canonical(addr);
        if !is_tellable(addr) {
            return Err(Discard::Stun);
        }
        self.seen.insert(server, Seen { addr, at: now });
        Ok(Told { changed: self.update(), settled })
    }

    fn is_active(&self, now: Instant) -> bool {
        self.traffic.is_some_and(|at| now.saturating_duration_since(at) < ACTIVE)
    }

    /// Makes the list anew; whether it is another one.
    fn update(&mut self) -> bool {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let seen = self.servers.iter().filter_map(|server| self.seen.get(server)).map(|seen| seen.addr);
        for addr in seen.clone().chain(self.forwarded(seen)).chain(self.local.iter().copied()) {
            if !addresses.contains(&addr) && addresses.len() < MAX_CALLED {
                addresses.push(addr);
            }
        }
        let changed = addresses != self.addresses;
        self.addresses = addresses;
        changed
    }

    /// Behind a NAT whose mapping varies, the public address with the local port: its owner may have forwarded that port.
    fn forwarded(&self, mut seen: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
        let local = self.local.iter().find(|addr| addr.is_ipv4())?;
        let varies = self.mapping_varies() == Some(true);
        let public: IpAddr = seen.find(SocketAddr::is_ipv4).filter(|_| varies)?.ip();
        Some(SocketAddr::new(public, local.port()))
    }
}

impl Round {
    /// Sends to each server that has not answered; the first time to all.
    fn send(&mut self, now: Instant, servers: &[SocketAddr], drbg: &mut Drbg, out: &mut Out) {
        if self.sent == 0 {
            self.waiting = servers.iter().map(|server| (*server, TxId(drbg.array()))).collect();
        }
        for (server, tx) in &self.waiting {
            out.datagrams.push((Hop::Udp(*server), tidewire_stun::request(tx).to_vec()));
        }
        self.next = STUN_REPEAT.get(self.sent).map(|gap| now + *gap);
        self.sent += 1;
    }
}

fn jitter(drbg: &mut Drbg) -> Duration {
    Duration::from_millis(drbg.below(STUN_JITTER.as_millis() as u64 + 1))
}
