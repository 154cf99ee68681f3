//! Where one peer's packets go: the relay as the floor, a proven direct path above it, or WireGuard's roaming without disco.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidewire_keys::{DiscoPublic, NodePublic, PeerId};
use tidewire_transport::{Hop, RegionId};

use crate::{
    call::is_sendable,
    candidate::Met,
    discovery::{About, Discovery},
    limits::{ACTIVE, HEARTBEAT, UNANSWERED},
    local::{Cx, Local},
    route::{Event, Reason, Route, Why},
};

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) node: NodePublic,
    /// The addresses of the map, in its order.
    pub(crate) listed: Vec<SocketAddr>,
    pub(crate) way: Way,
    pub(crate) sent: Option<Instant>,
    pub(crate) heard: Option<Instant>,
    /// Since when packets go to it and nothing comes from it, and for how long that is no reason to ask.
    unanswered: Option<(Instant, Duration)>,
    /// The entry in the agenda.
    pub(crate) scheduled: Option<(Instant, Why)>,
    home: Option<RegionId>,
    /// Where it was met last, for a peer whose home is not known.
    met_region: Option<RegionId>,
    announced: Route,
    /// Why the route changed, or will.
    cause: Reason,
}

/// How its hops are found.
#[derive(Debug)]
pub(crate) enum Way {
    /// Without a disco key: WireGuard's own way. The peer is where it was last heard.
    Plain(Option<Hop>),
    /// With one.
    Disco(Box<Discovery>),
}

/// What follows from a packet that was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heard {
    /// The peer was not active, and is from here on.
    pub(crate) woke: bool,
    /// Something else is to be done, or to be done at another time.
    pub(crate) news: bool,
    /// It came from an address for which there was no room.
    pub(crate) refused: bool,
}

impl Peer {
    pub(crate) fn new(now: Instant, id: PeerId, node: NodePublic, disco: Option<DiscoPublic>) -> Self {
        let mut peer = Self {
            id,
            node,
            listed: Vec::new(),
            way: Way::Plain(None),
            sent: None,
            heard: None,
            unanswered: None,
            scheduled: None,
            home: None,
            met_region: None,
            announced: Route::None,
            cause: Reason::Map,
        };
        peer.set_disco(now, disco);
        peer
    }

    /// Takes what the map says. The caller sees to the keyring and to the schedule.
    pub(crate) fn configure(
        &mut self,
        now: Instant,
        disco: Option<DiscoPublic>,
        listed: Vec<SocketAddr>,
        home: Option<RegionId>,
    ) {
        self.cause = Reason::Map;
        self.set_disco(now, disco);
        let is_active = self.is_active(now);
        match &mut self.way {
            Way::Disco(discovery) => {
                if self.listed != listed {
                    discovery.candidates.list(now, &listed);
                }
                if self.home != home && is_active {
                    discovery.calls.tell(now);
                }
            }
            Way::Plain(hop) if self.listed != listed || hop.is_none() => {
                *hop = listed.first().map(|addr| Hop::Udp(*addr)).or(*hop);
            }
            Way::Plain(_) => {}
        }
        self.listed = listed;
        self.home = home;
    }

    /// What the route is from here on is no news.
    pub(crate) fn announce_silently(&mut self, now: Instant) {
        self.announced = self.route(now);
    }

    pub(crate) fn disco(&self) -> Option<DiscoPublic> {
        self.discovery().map(|discovery| discovery.disco)
    }

    pub(crate) fn discovery(&self) -> Option<&Discovery> {
        match &self.way {
            Way::Disco(discovery) => Some(discovery),
            Way::Plain(_) => None,
        }
    }

    pub(crate) fn discovery_mut(&mut self) -> Option<&mut Discovery> {
        match &mut self.way {
            Way::Disco(discovery) => Some(discovery),
            Way::Plain(_) => None,
        }
    }

    /// Where its packets go. Compares times, and changes nothing.
    pub(crate) fn route(&self, now: Instant) -> Route {
        let relay = self.relay();
        let one = |hop: Option<Hop>| hop.map_or(Route::None, Route::One);
        match &self.way {
            Way::Plain(hop) => one(hop.or(relay)),
            Way::Disco(discovery) => {
                let best = discovery.best.as_ref();
                let trusted = best.filter(|best| best.is_trusted(now));
                let tried = best.filter(|best| best.is_tried(now));
                match (trusted, tried, relay) {
                    (Some(best), _, _) => Route::One(Hop::Udp(best.addr)),
                    (None, Some(best), Some(relay)) => Route::Both { direct: Hop::Udp(best.addr), relay },
                    (None, _, Some(relay)) => Route::One(relay),
                    (None, _, None) => {
                        one(best.map(|best| best.addr).or_else(|| self.guess(now)).map(Hop::Udp))
                    }
                }
            }
        }
    }

    /// The floor.
    pub(crate) fn relay(&self) -> Option<Hop> {
        self.region().map(|region| Hop::Derp { region, peer_key: self.node })
    }

    pub(crate) fn region(&self) -> Option<RegionId> {
        self.home.or(self.met_region)
    }

    /// Traffic goes to it. Whether that wakes it.
    pub(crate) fn sending(&mut self, now: Instant) -> bool {
        let was_active = self.is_active(now);
        self.sent = Some(now);
        if !was_active {
            self.unanswered = Some((now, UNANSWERED));
            return self.resume(now);
        }
        let (since, patience) = *self.unanswered.get_or_insert((now, UNANSWERED));
        if now.saturating_duration_since(since) < patience {
            return false;
        }
        // Some send and never hear: they end up with the heartbeat alone.
        self.unanswered = Some((now, (2 * patience).min(HEARTBEAT)));
        self.discovery_mut().is_some_and(|discovery| discovery.unanswered(now))
    }

    /// Authenticated data came from it.
    pub(crate) fn heard(&mut self, now: Instant, hop: Hop) -> Heard {
        let was_active = self.is_active(now);
        self.heard = Some(now);
        self.unanswered = None;
        let mut heard = Heard { woke: false, news: self.met(hop), refused: false };
        match &mut self.way {
            Way::Plain(current) if *current != Some(hop) => {
                *current = Some(hop);
                self.cause = Reason::Roamed;
                heard.news = true;
            }
            Way::Plain(_) => {}
            Way::Disco(discovery) => {
                if let Hop::Udp(addr) = hop
                    && is_sendable(addr)
                {
                    let (met, is_tried) = discovery.data_from(now, addr);
                    heard.refused = met == Met::Full;
                    heard.news |= is_tried;
                } else if matches!(hop, Hop::Derp { .. }) {
                    heard.news |= discovery.data_by_relay(now);
                }
            }
        }
        heard.woke = !was_active && self.resume(now);
        heard
    }

    /// The caller says where it is, if it is a plain one.
    pub(crate) fn place(&mut self, addr: SocketAddr) {
        if let Way::Plain(hop) = &mut self.way {
            *hop = Some(Hop::Udp(addr));
            self.cause = Reason::Map;
        }
    }

    /// It is at this relay, or behind it. Whether that is news.
    pub(crate) fn met(&mut self, hop: Hop) -> bool {
        let Hop::Derp { region, .. } = hop else { return false };
        let is_news = self.home.is_none() && self.met_region != Some(region);
        if is_news {
            self.cause = Reason::RelayLearned;
        }
        self.met_region = Some(region);
        is_news
    }

    /// Data goes unanswered.
    pub(crate) fn silent(&mut self, now: Instant) {
        let reason = match &mut self.way {
            Way::Disco(discovery) => discovery.silent(now),
            Way::Plain(hop) => next_listed(*hop, &self.listed).map(|next| {
                *hop = Some(next);
                Reason::Silent
            }),
        };
        self.cause = reason.unwrap_or(self.cause);
    }

    /// Does what is due, and reports a changed route.
    pub(crate) fn step(&mut self, cx: &mut Cx<'_>) {
        let about = self.about(cx.now);
        if let Way::Disco(discovery) = &mut self.way {
            self.cause = discovery.step(&about, cx).unwrap_or(self.cause);
        }
        if self.is_watched(cx.now) {
            let to = self.route(cx.now);
            let from = std::mem::replace(&mut self.announced, to);
            if from != to {
                cx.out.events.push(Event::Switched { peer: self.id, from, to, reason: self.cause });
            }
        }
    }

    /// When to do something next, and why.
    pub(crate) fn next_event(&self, now: Instant, local: &Local) -> Option<(Instant, Why)> {
        if self.is_watched(now) && self.route(now) != self.announced {
            return Some((now, Why::Report));
        }
        self.discovery()?.next_event(&self.about(now), now, local)
    }

    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.active_until(now).is_some()
    }

    pub(crate) fn about(&self, now: Instant) -> About {
        About { peer: self.id, relay: self.relay(), active_until: self.active_until(now) }
    }

    /// What made the route what it is.
    pub(crate) fn because(&mut self, reason: Option<Reason>) {
        self.cause = reason.unwrap_or(self.cause);
    }

    fn active_until(&self, now: Instant) -> Option<Instant> {
        self.sent.max(self.heard).map(|last| last + ACTIVE).filter(|until| now < *until)
    }

    /// Whether a change of route matters to anyone: the proof of a path that is not used may run out in silence.
    fn is_watched(&self, now: Instant) -> bool {
        self.discovery().is_none_or(|discovery| discovery.is_awake(&self.about(now), now))
    }

    fn set_disco(&mut self, now: Instant, disco: Option<DiscoPublic>) {
        match (&mut self.way, disco) {
            (Way::Plain(_), None) => {}
            (Way::Disco(discovery), Some(disco)) => {
                if discovery.disco != disco {
                    discovery.set_disco(now, disco);
                }
            }
            (Way::Disco(_), None) => self.way = Way::Plain(None),
            (Way::Plain(_), Some(disco)) => {
                let mut discovery = Discovery::new(disco);
                discovery.candidates.list(now, &self.listed);
                discovery.search(now);
                self.way = Way::Disco(Box::new(discovery));
            }
        }
    }

    fn resume(&mut self, now: Instant) -> bool {
        let Some(discovery) = self.discovery_mut() else { return false };
        let reason = discovery.resume(now);
        self.because(reason);
        true
    }

    /// Without a relay and without proof: an address that the map names, or that data came from. Never one that only the peer's word names, lest
    /// it have a stream sent to someone else.
    fn guess(&self, now: Instant) -> Option<SocketAddr> {
        let candidates = &self.discovery()?.candidates;
        let heard = candidates.iter().filter(|candidate| candidate.learned.data.is_some());
        let heard = heard.max_by_key(|candidate| candidate.learned.data).map(|candidate| candidate.addr);
        let is_barred = |addr| candidates.get(addr).is_some_and(|c| c.barred_until(now).is_some());
        let choices = || self.listed.iter().copied().chain(heard);
        choices().find(|addr| !is_barred(*addr)).or_else(|| choices().next())
    }
}

/// For a peer without disco, the listed address after the one in use.
fn next_listed(hop: Option<Hop>, listed: &[SocketAddr]) -> Option<Hop> {
    let at = listed.iter().position(|addr| Some(Hop::Udp(*addr)) == hop)?;
    listed.get((at + 1) % listed.len()).map(|addr| Hop::Udp(*addr)).filter(|next| Some(*next) != hop)
}
