//! One check as a machine without I/O: what is asked when, what an answer means, and when there is enough.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use tidewire_derp::{RegionId, RegionNode, Regions};
use tidewire_keys::{Drbg, Seed};
use tidewire_stun::{REQUEST_LEN, TxId};

use crate::{
    addresses::Addresses,
    asks::{Hairpin, Https, Portal},
    limits::{ENOUGH, HAIRPIN, PATIENCE, STUN, WHOLE},
    plan::{Extent, Family, Planned, plan, regions},
    report::{RegionReport, Report},
};

/// A relay of the map that a check was made with: the region, and the place in its list of nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId {
    /// Which region.
    pub region: RegionId,
    /// Which of its nodes, from 0.
    pub index: usize,
}

/// What is to be done by whoever has sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Find where this node answers STUN, and report [`resolved`](Check::resolved).
    Resolve(NodeId),
    /// Send this from the socket of the server's family; report [`unsent`](Check::unsent) if that fails, and all that
    /// arrives as [`received`](Check::received).
    Stun {
        /// Where to.
        server: SocketAddr,
        /// The number in the datagram.
        tx: TxId,
        /// What.
        datagram: [u8; REQUEST_LEN],
    },
    /// Send this from *another* socket: whether it arrives at the first one is what is asked. Report nothing if that fails.
    Hairpin {
        /// Our own global address.
        to: SocketAddrV4,
        /// What.
        datagram: [u8; REQUEST_LEN],
    },
    /// Ask this node over HTTPS how long it takes to answer, and report [`https`](Check::https).
    Https(NodeId),
    /// Ask this node over plain HTTP whether it is the relay, and report [`portal`](Check::portal).
    Portal {
        /// Whom.
        node: NodeId,
        /// What only the relay sends back.
        challenge: [u8; 16],
    },
}

/// Why the check wants to wake.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// A request of STUN is to be sent.
    Probe,
    /// Enough regions answered, and the others had their time.
    Enough,
    /// The time for STUN is over.
    StunOver,
    /// It is time to ask for a captive portal.
    Portal,
    /// What we sent to ourselves did not come back.
    Hairpin,
    /// The time is over.
    Over,
}

/// A check that is under way. Call [`process_events`](Self::process_events) first and whenever [`next_event`](Self::next_event)
/// says, do what [`pop_action`](Self::pop_action) gives, report what comes of it, until [`is_done`](Self::is_done); then
/// there is a [`report`](Self::report). It is done after [`WHOLE`] at the latest.
#[derive(Debug)]
pub struct Check {
    started: Instant,
    map: Regions,
    home: Option<RegionId>,
    /// How many times as long as the slowest answer the others may take; `None`: all the time there is.
    grace: Option<u32>,
    drbg: Drbg,
    found: BTreeMap<RegionId, RegionReport>,
    /// The regions that are asked by STUN.
    stun: BTreeSet<RegionId>,
    due: Vec<Planned>,
    /// Where nodes answer STUN; `None`: not known yet.
    places: BTreeMap<NodeId, Option<Vec<SocketAddr>>>,
    sent: BTreeMap<TxId, Sent>,
    enough_at: Option<Instant>,
    stun_over: bool,
    over: bool,
    /// Whether STUN was answered; `None`: not asked.
    udp_v4: Option<bool>,
    udp_v6: Option<bool>,
    addresses: Addresses,
    https: Https,
    portal: Portal,
    hairpin: Hairpin,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    region: RegionId,
    family: Family,
    server: SocketAddr,
}

impl Check {
    /// A check of that map. `home` is the present home region, if there is one: it is always asked. `seed` are 32 random
    /// bytes from the system.
    #[must_use]
    pub fn new(now: Instant, map: &Regions, extent: Extent<'_>, home: Option<RegionId>, seed: &Seed) -> Self {
        let asked = regions(map, extent, home);
        let due = plan(map, extent, home);
        let mut drbg = Drbg::new(seed, "netcheck");
        let portal = Portal::new(now, map, &asked, home, extent, &mut drbg);
        let stun: BTreeSet<RegionId> = due.iter().map(|planned| planned.node.region).collect();
        let places: BTreeMap<_, _> = due.iter().map(|planned| (planned.node, None)).collect();
        let actions = places.keys().copied().map(Action::Resolve).collect();
        let mut https = Https::default();
        let asked = asked.iter().filter_map(|region| map.get(*region));
        let found = asked.map(|region| (region.id, RegionReport::new(region))).collect();
        // Where there is no STUN nothing is known without HTTPS.
        map.iter()
            .filter(|region| is_without_stun(&found, &stun, region.id))
            .for_each(|region| https.add(region));
        Self {
            started: now,
            map: map.clone(),
            home,
            grace: match extent {
                Extent::Everything => None,
                Extent::Full => Some(2),
                Extent::Incremental(_) => Some(1),
            },
            drbg,
            found,
            stun,
            due,
            places,
            sent: BTreeMap::new(),
            enough_at: None,
            stun_over: false,
            over: false,
            udp_v4: None,
            udp_v6: None,
            addresses: Addresses::default(),
            https,
            portal,
            hairpin: Hairpin::new(extent),
            actions,
        }
    }

    /// A node that an action names.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&RegionNode> {
        self.map.get(node.region)?.nodes.get(node.index)
    }

    /// The next thing to do.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Where a node answers STUN: an address of each family that it has, or none.
    pub fn resolved(&mut self, now: Instant, node: NodeId, servers: Vec<SocketAddr>) {
        if let Some(place) = self.places.get_mut(&node) {
            place.get_or_insert(servers);
        }
        self.process_events(now);
    }

    /// The request with this number could not be sent.
    pub fn unsent(&mut self, now: Instant, tx: TxId) {
        self.sent.remove(&tx);
        self.process_events(now);
    }

    /// Something arrived from `source` at the socket that STUN was sent from. Whether it was for this check.
    pub fn received(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) -> bool {
        if self.hairpin.arrived(datagram) {
            return true;
        }
        let Ok((tx, mapped)) = tidewire_stun::parse_response(datagram) else { return false };
        let Some(sent) = self.sent.get(&tx).copied().filter(|sent| is_same(sent.server, source)) else {
            return false;
        };
        self.sent.remove(&tx);
        self.answered(now, sent, mapped);
        self.process_events(now);
        true
    }

    /// How long a node took to answer HTTPS, or why it did not, for a person.
    pub fn https(&mut self, now: Instant, node: NodeId, answer: Result<Duration, String>) {
        if !self.https.take(node) {
            return;
        }
        match (self.found.get_mut(&node.region), answer) {
            (Some(found), Ok(latency)) => (found.https, found.https_failure) = (Some(latency), None),
            (Some(found), Err(failure)) => {
                found.https_failure = Some(failure);
                self.https.failed(node, &self.map);
            }
            (None, _) => {}
        }
        self.process_events(now);
    }

    /// Whether the relay answered plain HTTP itself; `None` if nobody did.
    pub fn portal(&mut self, is_relay: Option<bool>) {
        self.portal.answered(is_relay);
    }

    /// Does what is due.
    pub fn process_events(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if now >= self.started + WHOLE {
            self.over = true;
            self.stun_over = true;
            self.actions.clear();
            return;
        }
        self.send_due(now);
        self.look_for_enough(now);
        let nothing_more =
            self.due.is_empty() && !self.sent.values().any(|sent| self.is_open(sent.region, sent.family));
        let in_time = self.enough_at.is_none_or(|at| now < at) && now < self.started + STUN;
        if !self.stun_over && (nothing_more || !in_time) {
            self.end_stun();
        }
        if let Some(node) = self.portal.next(now, self.has_udp()) {
            self.actions.push_back(Action::Portal { node, challenge: self.drbg.array() });
        }
        self.hairpin.expire(now);
        while let Some(node) = self.https.next() {
            self.actions.push_back(Action::Https(node));
        }
    }

    /// When [`process_events`](Self::process_events) has something to do next, and what; `None` when it is done.
    #[must_use]
    pub fn next_event(&self) -> Option<(Instant, Why)> {
        if self.is_done() {
            return None;
        }
        let sendable = |planned: &&Planned| self.places.get(&planned.node).is_some_and(Option::is_some);
        let stun = [
            self.due.iter().find(sendable).map(|planned| (self.started + planned.after, Why::Probe)),
            self.enough_at.map(|at| (at, Why::Enough)),
            Some((self.started + STUN, Why::StunOver)),
        ];
        let stun = stun.into_iter().flatten().filter(|_| !self.stun_over);
        let others = [
            self.portal.due().map(|at| (at, Why::Portal)),
            self.hairpin.due().map(|at| (at, Why::Hairpin)),
            Some((self.started + WHOLE, Why::Over)),
        ];
        stun.chain(others.into_iter().flatten()).min()
    }

    /// Whether there is nothing more to find out, or no more time.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let asked = self.https.is_done() && self.portal.is_done() && self.hairpin.due().is_none();
        self.over || (self.stun_over && asked)
    }

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            udp_v4: self.udp_v4,
            udp_v6: self.udp_v6,
            global_v4: self.addresses.global_v4(),
            global_v6: self.addresses.global_v6(),
            mapping_varies: self.addresses.mapping_varies(),
            hairpin: self.hairpin.found(),
            captive_portal: self.portal.found(),
            regions: self.found.values().cloned().collect(),
        }
    }

    const fn has_udp(&self) -> bool {
        matches!(self.udp_v4, Some(true)) || matches!(self.udp_v6, Some(true))
    }

    /// Whether a region has yet to answer in a family.
    fn is_open(&self, region: RegionId, family: Family) -> bool {
        self.found.get(&region).is_some_and(|found| match family {
            Family::V4 => found.stun_v4.is_none(),
            Family::V6 => found.stun_v6.is_none(),
        })
    }

    /// Sends what is due and where it is known where to.
    fn send_due(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        due.retain(|planned| {
            if !self.is_open(planned.node.region, planned.family) {
                return false;
            }
            if now < self.started + planned.after {
                return true;
            }
            let Some(Some(servers)) = self.places.get(&planned.node) else { return true };
            let server = servers.iter().find(|server| server.is_ipv4() == (planned.family == Family::V4));
            if let Some(server) = server.copied() {
                self.send(now, planned, server);
            }
            false
        });
        self.due = due;
    }

    fn send(&mut self, now: Instant, planned: &Planned, server: SocketAddr) {
        let tx = TxId(self.drbg.array());
        let sent = Sent { at: now, region: planned.node.region, family: planned.family, server };
        self.sent.insert(tx, sent);
        let works = match planned.family {
            Family::V4 => &mut self.udp_v4,
            Family::V6 => &mut self.udp_v6,
        };
        works.get_or_insert(false);
        self.actions.push_back(Action::Stun { server, tx, datagram: tidewire_stun::request(&tx) });
    }

    fn answered(&mut self, now: Instant, sent: Sent, mapped: SocketAddr) {
        let latency = now.saturating_duration_since(sent.at);
        let Some(found) = self.found.get_mut(&sent.region) else { return };
        let (best, works) = match sent.family {
            Family::V4 => (&mut found.stun_v4, &mut self.udp_v4),
            Family::V6 => (&mut found.stun_v6, &mut self.udp_v6),
        };
        *best = Some(best.map_or(latency, |best| best.min(latency)));
        *works = Some(true);
        // Behind a translator between the families the relay sees the other one, which is not ours.
        if mapped.is_ipv4() == (sent.family == Family::V4) {
            self.addresses.learn(sent.server, mapped);
        }
        if let (Hairpin::Wanted, Some(to)) = (self.hairpin, self.addresses.global_v4()) {
            let tx = TxId(self.drbg.array());
            self.hairpin.start(now, tx, HAIRPIN);
            self.actions.push_back(Action::Hairpin { to, datagram: tidewire_stun::request(&tx) });
        }
    }

    /// Where enough regions have answered, the home among them, the others get a little more time.
    fn look_for_enough(&mut self, now: Instant) {
        let Some(grace) = self.grace.filter(|_| self.enough_at.is_none()) else { return };
        let latencies = || self.stun.iter().filter_map(|region| self.found.get(region)?.latency());
        let home_answered = self.home.is_none_or(|home| {
            !self.stun.contains(&home) || self.found.get(&home).is_some_and(|found| found.latency().is_some())
        });
        if home_answered && latencies().count() >= ENOUGH.min(self.stun.len()) {
            let slowest = latencies().max().unwrap_or_default();
            self.enough_at = Some(now + (slowest * grace).max(PATIENCE));
        }
    }

    /// Where nothing was heard at all, UDP is blocked, and HTTPS tells what STUN could not.
    fn end_stun(&mut self) {
        self.stun_over = true;
        self.due.clear();
        self.sent.clear();
        if !self.has_udp() {
            self.stun
                .iter()
                .filter_map(|region| self.map.get(*region))
                .for_each(|region| self.https.add(region));
        }
    }
}

fn is_without_stun(
    found: &BTreeMap<RegionId, RegionReport>,
    stun: &BTreeSet<RegionId>,
    region: RegionId,
) -> bool {
    found.contains_key(&region) && !stun.contains(&region)
}

/// The same address and port, however a socket of both families writes it.
fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
}
