//! The connections to all relays of a map as one machine without I/O: what to open, what to write, when to wake, and why.
//!
//! Time is an argument, randomness comes from a seed, and streams are opened, read and written by whoever drives it (the
//! feature `client` does). The contract: after any call, take all [`Action`]s, offer each open stream what
//! [`to_write`](Machine::to_write) gives, and sleep until [`next_event`](Machine::next_event) at the latest.

mod around;
mod attempts;
mod backoff;
mod bucket;
mod driving;
pub(crate) mod events;
pub(crate) mod http;
mod ladder;
pub mod limits;
mod link;
mod liveness;
mod outbox;
mod report;
mod routes;
mod shared;
mod site;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use tidewire_keys::{Drbg, NodePublic, NodeSecret, Seed};
use tidewire_transport::RegionId;

use self::{
    around::{Heard, Identity},
    routes::Routes,
    shared::Shared,
    site::Site,
};
pub use self::{
    driving::{Action, Dial, LinkId, Opened, Why},
    events::Failures,
    http::DERP_PATH,
    ladder::{Network, Rung},
    report::{
        Counters, Discard, Discards, DownReason, Event, Failure, LinkState, RegionStatus, Seen, Status, Step,
    },
    routes::{Situation, choose},
};
use crate::{login::ClientInfo, proxy::Proxies, region::Regions};

/// The longest name of a program that is sent to relays, in bytes.
const APP_NAME: usize = 128;

/// What the machine is made with.
#[derive(Debug)]
pub struct Config {
    /// Who logs in.
    pub key: NodeSecret,
    /// The relays.
    pub regions: Regions,
    /// The region where peers look for us: always connected, and told so.
    pub home: Option<RegionId>,
    /// Further regions to stay connected to.
    pub kept: Vec<RegionId>,
    /// Through which proxy which node is reached.
    pub proxies: Proxies,
    /// Take fast start where it is offered. Off, the ladder begins one rung lower.
    pub fast_start: bool,
    /// Take no rung but WebSocket.
    pub force_websocket: bool,
    /// Name of the program, for the relay's operator.
    pub app_name: Option<String>,
}

/// The machine.
pub struct Machine {
    shared: Shared,
    sites: BTreeMap<RegionId, Site>,
    routes: Routes,
    home: Option<RegionId>,
    kept: BTreeSet<RegionId>,
    rungs: &'static [Rung],
}

impl Machine {
    /// A machine that begins to connect at once.
    #[must_use]
    pub fn new(now: Instant, config: Config, seed: &Seed) -> Self {
        let Config { key, regions, home, kept, proxies, fast_start, force_websocket, app_name } = config;
        let app_name = app_name.filter(|name| !name.is_empty() && name.len() <= APP_NAME);
        let info = ClientInfo { app_name, ..ClientInfo::new() };
        let identity = Identity { public: key.public(), key, info };
        let shared = Shared::new(identity, Drbg::new(seed, "derp"), proxies);
        let rungs = Rung::allowed(fast_start, force_websocket);
        let kept = kept.into_iter().collect();
        let mut machine = Self { shared, sites: BTreeMap::new(), routes: Routes::new(), home, kept, rungs };
        machine.set_regions(now, regions);
        machine
    }

    /// Mixes fresh random bytes in.
    pub fn reseed(&mut self, seed: &Seed) {
        self.shared.drbg.reseed(seed);
    }

    /// Replaces the map. Regions that are described as before keep their connections; all others lose them.
    pub fn set_regions(&mut self, now: Instant, regions: Regions) {
        let same = |id: &RegionId, site: &Site| regions.get(*id) == Some(&site.region);
        for (id, site) in &mut self.sites {
            if !same(id, site) {
                site.leave(&mut self.shared);
            }
        }
        self.sites.retain(|id, site| same(id, site));
        for region in Vec::from(regions) {
            self.sites.entry(region.id).or_insert_with(|| Site::new(region, self.rungs));
        }
        self.set_kept(now, self.kept.clone().into_iter().collect());
        self.set_home(now, self.home);
    }

    /// Makes another region the home, or none. Relays are told. The map may bring that region later.
    pub fn set_home(&mut self, now: Instant, home: Option<RegionId>) {
        self.home = home;
        self.shared.revision += 1;
        for (id, site) in &mut self.sites {
            site.set_home(now, Some(*id) == home);
            site.poke(now, &mut self.shared);
        }
        self.settle();
    }

    /// Replaces the regions to stay connected to beside the home.
    pub fn set_kept(&mut self, now: Instant, kept: Vec<RegionId>) {
        self.kept = kept.into_iter().collect();
        for (id, site) in &mut self.sites {
            site.kept = self.kept.contains(id);
            site.poke(now, &mut self.shared);
        }
        self.settle();
    }

    /// The local network is another one: open connections are asked whether they still live, all others begin anew at once.
    pub fn network_changed(&mut self, now: Instant) {
        self.shared.ipv6_worked = false;
        for site in self.sites.values_mut() {
            site.network_changed(now, &mut self.shared);
        }
        self.settle();
    }

    /// Puts packets in for the peer `to`, whose home is `region`: they go through that region, or through the one where
    /// the peer was last heard (see [`choose`]).
    pub fn send<'p>(
        &mut self,
        now: Instant,
        region: RegionId,
        to: NodePublic,
        packets: impl Iterator<Item = &'p [u8]>,
    ) {
        let site = self.route(region, &to).and_then(|region| self.sites.get_mut(&region));
        let Some(site) = site else {
            return self.shared.counters.discards.add(Discard::NoRegion, packets.count() as u64);
        };
        for packet in packets {
            self.shared.counters.sent_packets += 1;
            site.push(now, to, packet, &mut self.shared);
        }
        site.poke(now, &mut self.shared);
    }

    /// A stream that was dialed is open.
    pub fn opened(&mut self, now: Instant, link: LinkId, opened: &Opened) {
        let Some(site) = current(&mut self.sites, link) else { return };
        let ipv6 = opened.ipv6;
        site.opened(now, opened, &mut self.shared);
        self.shared.ipv6_worked |= ipv6;
        self.settle();
    }

    /// The WebSocket handshake on a stream is done.
    pub fn websocket_opened(&mut self, now: Instant, link: LinkId) {
        let found = self.sites.get_mut(&link.region).and_then(|site| site.link(link));
        if let Some(link) = found.filter(|link| link.is_in_websocket_handshake()) {
            link.websocket_open(now);
        }
    }

    /// Bytes arrived on a stream. `packets` gets each packet in them and whom it is from.
    pub fn received(
        &mut self,
        now: Instant,
        link: LinkId,
        input: &[u8],
        mut packets: impl FnMut(NodePublic, &[u8]),
    ) {
        let Self { sites, shared, routes, .. } = self;
        // Nothing is no sign of life.
        let Some(site) = current(sites, link).filter(|_| !input.is_empty()) else { return };
        let mut notes = Vec::new();
        let mut count = 0;
        let result = site.received(now, input, shared, |heard| match heard {
            Heard::Packet { from, packet } => {
                count += 1;
                routes.learn(from, link);
                packets(from, packet);
            }
            Heard::Up => notes.push(Note::Up),
            Heard::Rtt => notes.push(Note::Rtt),
            Heard::Gone { peer, reason } => {
                routes.forget(&peer, link);
                notes.push(Note::Event(Event::PeerGone { region: link.region, peer, reason }));
            }
            Heard::Health(problem) => notes.push(Note::Health(problem)),
            Heard::Restarting { reconnect_in, try_for } => {
                notes.push(Note::Restarting(reconnect_in, try_for))
            }
            Heard::Discard(reason) => notes.push(Note::Discard(reason)),
        });
        shared.counters.received_packets += count;
        for note in notes {
            match note {
                Note::Up => site.admitted(now, shared),
                Note::Rtt => shared.revision += 1,
                Note::Event(event) => shared.tell(event),
                Note::Health(problem) => site.health(problem, shared),
                Note::Restarting(reconnect_in, try_for) => {
                    site.restarting(now, reconnect_in, try_for, shared)
                }
                Note::Discard(reason) => shared.counters.discards.add(reason, 1),
            }
        }
        if let Err(broken) = result {
            site.fail(now, broken, shared);
            self.settle();
        }
    }

    /// A stream could not be opened, or the WebSocket handshake on it failed, at this step.
    pub fn failed(&mut self, now: Instant, link: LinkId, step: Step, seen: Seen) {
        let Some(site) = current(&mut self.sites, link) else { return };
        site.fail(now, (step, seen), &mut self.shared);
        self.settle();
    }

    /// An open stream ended, or failed. Which step that was the machine knows.
    pub fn ended(&mut self, now: Instant, link: LinkId, seen: Seen) {
        let Some(site) = current(&mut self.sites, link) else { return };
        let step = site.link.as_ref().map_or(Step::Connect, |link| link.step());
        site.fail(now, (step, seen), &mut self.shared);
        self.settle();
    }

    /// What is to be written to a stream next; empty if nothing is.
    #[must_use]
    pub fn to_write(&self, now: Instant, link: LinkId) -> &[u8] {
        let Some(site) = self.sites.get(&link.region) else { return &[] };
        match &site.link {
            Some(current) if current.id == link => site.outbox.next(current.allowance(now)),
            _ => &[],
        }
    }

    /// The stream took the first `count` bytes of [`to_write`](Self::to_write). Call that again: there may be more.
    pub fn wrote(&mut self, now: Instant, link: LinkId, count: usize) {
        let Some(site) = self.sites.get_mut(&link.region) else { return };
        if site.link(link).is_none() {
            return;
        }
        let packets = site.outbox.wrote(count);
        if let Some(link) = &mut site.link {
            link.wrote(now, packets);
        }
    }

    /// Whether the stream takes nothing at the moment although something waits, in [`to_write`](Self::to_write) or below it.
    pub fn set_blocked(&mut self, now: Instant, link: LinkId, blocked: bool) {
        if let Some(link) = self.sites.get_mut(&link.region).and_then(|site| site.link(link)) {
            link.set_blocked(now, blocked);
        }
    }

    /// The stream is not being read, because there is no room for what it brings: its silence is ours.
    pub fn held_back(&mut self, now: Instant, link: LinkId) {
        if let Some(link) = self.sites.get_mut(&link.region).and_then(|site| site.link(link)) {
            link.held_back(now);
        }
    }

    /// So many packets that were received had no room on their way to the data plane.
    pub fn not_taken(&mut self, count: u64) {
        self.shared.counters.discards.add(Discard::NotTaken, count);
    }

    /// So many events were not fetched in time from whoever took them out of here.
    pub fn events_lost(&mut self, count: u64) {
        self.shared.counters.events_lost += count;
    }

    /// Does what is due.
    pub fn process_events(&mut self, now: Instant) {
        for site in self.sites.values_mut() {
            site.process_events(now, &mut self.shared);
        }
        self.settle();
    }

    /// When [`process_events`](Self::process_events) is to be called, and why. Ask again after any other call.
    #[must_use]
    pub fn next_event(&self, now: Instant) -> Option<(Instant, Why)> {
        self.sites.values().filter_map(|site| site.next_event(now)).min()
    }

    /// The next thing to be done.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.shared.actions.pop_front()
    }

    /// The next thing to be told.
    pub fn pop_event(&mut self) -> Option<Event> {
        self.shared.events.pop()
    }

    /// Who logs in.
    #[must_use]
    pub const fn public_key(&self) -> NodePublic {
        self.shared.identity.public
    }

    /// Counts since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Grows when something changes that [`status`](Self::status) shows, counters not counted.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.shared.revision
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let regions = self.sites.values().filter_map(|site| site.status(now)).collect();
        Status { home: self.home, regions, counters: self.shared.counters }
    }

    fn route(&self, home: RegionId, to: &NodePublic) -> Option<RegionId> {
        let site = self.sites.get(&home);
        let up = site.is_some_and(Site::is_up);
        // Routes of links that ended are dropped at once, so a learned one lives.
        let heard = if up { None } else { self.routes.get(to).map(|link| link.region) };
        choose(home, Situation { known: site.is_some(), up, heard })
    }

    /// Forgets the routes through links that ended.
    fn settle(&mut self) {
        for link in self.shared.ended.drain(..) {
            self.routes.drop_link(link);
        }
    }
}

/// The region of `link`, if that is its current attempt or connection.
fn current(sites: &mut BTreeMap<RegionId, Site>, link: LinkId) -> Option<&mut Site> {
    sites.get_mut(&link.region).filter(|site| site.link.as_ref().is_some_and(|it| it.id == link))
}

/// What a relay said, until its frames are all read.
enum Note {
    Up,
    Rtt,
    Event(Event),
    Health(Option<String>),
    Restarting(Duration, Duration),
    Discard(Discard),
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("home", &self.home)
            .field("regions", &self.sites.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The base of all times in this crate's unit tests.
    pub(crate) fn t0() -> Instant {
        static T0: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        #[allow(clippy::disallowed_methods, reason = "the one base time of the tests")]
        *T0.get_or_init(Instant::now)
    }
}
