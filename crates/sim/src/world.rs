//! What moves: virtual time, datagrams on links, and the cores that they reach.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tidewire_dataplane::{Change, Command, DataPlane, Event, Out, Peer, Route, Why};
use tidewire_keys::{Drbg, NodePublic, PresharedKey, Seed};
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_transport::{FromOverlay, FromUnderlay, Hop, OverlayId, RegionId};

use crate::{
    host::{Host, HostId, PORT},
    link::Link,
    nat::Nat,
    packet,
};

/// A network in virtual time. Everything that happens follows from the seed and the calls.
pub struct World {
    start: Instant,
    now: Instant,
    random: Drbg,
    pool: Pool,
    link: Link,
    relay_link: Link,
    relay_up: bool,
    hosts: Vec<Host>,
    flying: BinaryHeap<Reverse<Flight>>,
    flights: u64,
    wake_ups: Vec<(HostId, Why)>,
}

/// The region of the one relay, which every host has as its home.
const REGION: RegionId = RegionId(900);

/// Where the STUN server stands.
const STUN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 3478);

/// A datagram on its way. Ordered by arrival, then by departure.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    number: u64,
    target: Target,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Udp { from: SocketAddr, to: SocketAddr },
    Relay { from: NodePublic, to: NodePublic },
}

/// The most events at one instant before a run is called a busy loop.
const BUSY: u32 = 10_000;

impl World {
    /// The UDP port on which every host listens.
    pub const PORT: u16 = PORT;

    /// An empty network. The seed decides keys, chances and losses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            start: t0(),
            now: t0(),
            random: Drbg::new(&Seed::new(bytes), "world"),
            pool: Pool::default(),
            link: Link::default(),
            relay_link: Link::default(),
            relay_up: true,
            hosts: Vec::new(),
            flying: BinaryHeap::new(),
            flights: 0,
            wake_ups: Vec::new(),
        }
    }

    /// A host at this address, connected to the relay and knowing the STUN server. Its overlay address is
    /// 100.64.0.1 for the first, and so on.
    pub fn add_host(&mut self, ip: impl Into<Ipv4Addr>) -> HostId {
        let id = HostId(self.hosts.len());
        let number = u8::try_from(id.0 + 1).expect("a simulated network has at most 255 hosts");
        let host = Host::new(self.now, number, ip.into(), &mut self.random, self.pool.clone());
        let own = vec![(IpNet::from(IpAddr::from(host.overlay)), OverlayId(0))];
        let addr = host.addr;
        self.hosts.push(host);
        for change in [
            Change::Own(own),
            Change::LocalAddresses(vec![addr]),
            Change::StunServers(vec![STUN]),
            Change::Relay { region: REGION, up: true },
        ] {
            self.call(id, |core, now, out| core.apply(now, change, out))
                .expect("a fresh host refuses nothing");
        }
        id
    }

    /// Puts the host behind a NAT. Its own interface address is private from then on.
    pub fn set_nat(&mut self, host: HostId, nat: Nat) {
        self.hosts[host.0].nat = Some(nat);
    }

    /// The link between any two hosts by UDP.
    pub fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// The link by which this host sends by UDP, instead of the common one.
    pub fn set_uplink(&mut self, host: HostId, link: Link) {
        self.hosts[host.0].uplink = Some(link);
    }

    /// The way through the relay.
    pub fn set_relay_link(&mut self, link: Link) {
        self.relay_link = link;
    }

    /// Whether the relay carries anything.
    pub fn set_relay_up(&mut self, up: bool) {
        self.relay_up = up;
    }

    /// Whether a firewall at this host loses all its UDP, both ways.
    pub fn block_udp(&mut self, host: HostId, blocked: bool) {
        self.hosts[host.0].udp_blocked = blocked;
    }

    /// Gives each of two hosts the other as a peer, with keys, overlay address and home region and nothing else.
    pub fn introduce(&mut self, a: HostId, b: HostId) {
        for (whom, whose) in [(a, b), (b, a)] {
            let mut peers = self.peers_of(whom);
            peers.push(self.peer(whose));
            self.set_peers(whom, peers);
        }
    }

    /// What a map would say of this host.
    #[must_use]
    pub fn peer(&self, host: HostId) -> Peer {
        let host = &self.hosts[host.0];
        Peer {
            key: host.key,
            psk: PresharedKey::from_bytes([0; 32]),
            disco: Some(host.disco),
            prefixes: vec![IpNet::from(IpAddr::from(host.overlay))],
            candidates: Vec::new(),
            home: Some(REGION),
            keepalive: None,
        }
    }

    /// Replaces the host's peers.
    ///
    /// # Panics
    /// If the core refuses them.
    pub fn set_peers(&mut self, host: HostId, peers: Vec<Peer>) {
        self.call(host, |core, now, out| core.apply(now, Change::Peers(peers), out))
            .expect("the peers are sound");
    }

    /// The UDP address of the host itself, behind its NAT if it has one.
    #[must_use]
    pub fn addr(&self, host: HostId) -> SocketAddr {
        self.hosts[host.0].addr
    }

    /// Sends a UDP packet with this payload through the overlay.
    pub fn send(&mut self, from: HostId, to: HostId, payload: &[u8]) {
        self.send_all(from, to, [payload]);
    }

    /// Sends UDP packets with these payloads through the overlay, as one batch.
    pub fn send_all<'a>(&mut self, from: HostId, to: HostId, payloads: impl IntoIterator<Item = &'a [u8]>) {
        let (source, destination) = (self.hosts[from.0].overlay, self.hosts[to.0].overlay);
        let mut batch: Batch<Plain> = self.pool.batch(Class::Send);
        for payload in payloads {
            batch.push(&packet::udp(source, destination, payload)).expect("tests send what fits a slab");
        }
        let mut item = FromOverlay { from: OverlayId(0), batch };
        self.call(from, |core, now, out| core.process_outbound(now, &mut item, out));
    }

    /// Lets a datagram of somebody's making arrive at a host by UDP.
    pub fn inject(&mut self, to: HostId, from: SocketAddr, datagram: &[u8]) {
        self.arrive(to, Hop::udp(from), datagram);
    }

    /// Tells the host's core something.
    pub fn command(&mut self, host: HostId, command: Command) {
        self.call(host, |core, now, out| core.command(now, command, out));
    }

    /// Calls the host's core; what it produces is sent.
    pub fn call<R>(&mut self, host: HostId, call: impl FnOnce(&mut DataPlane, Instant, &mut Out) -> R) -> R {
        let Host { core, out, .. } = &mut self.hosts[host.0];
        let result = call(core, self.now, out);
        self.drain(host);
        result
    }

    /// Lets time pass, and everything happen that happens in it.
    ///
    /// # Panics
    /// If a core wants to be called again and again at one instant.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut at_once = 0;
        while let Some((at, step)) = self.next_step().filter(|(at, _)| *at <= end) {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            assert!(at_once < BUSY, "a busy loop at {:?}", self.elapsed());
            self.now = self.now.max(at);
            match step {
                Step::Land => self.land(),
                Step::Wake(host, why) => {
                    self.wake_ups.push((host, why));
                    self.call(host, DataPlane::process_events);
                }
            }
        }
        self.now = end;
    }

    /// Virtual time since the world began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The payloads that reached the host through the overlay, in order.
    #[must_use]
    pub fn inbox(&self, host: HostId) -> &[Vec<u8>] {
        &self.hosts[host.0].inbox
    }

    /// What the host's core told, each with its time.
    #[must_use]
    pub fn events(&self, host: HostId) -> &[(Duration, Event)] {
        &self.hosts[host.0].events
    }

    /// Where the packets of `from` for `to` go at the moment.
    #[must_use]
    pub fn route(&self, from: HostId, to: HostId) -> Route {
        let key = self.hosts[to.0].key;
        self.hosts[from.0].core.peer(self.now, &key).map_or(Route::None, |report| report.route)
    }

    /// How many datagrams reached the host by UDP, and through the relay.
    #[must_use]
    pub fn received(&self, host: HostId) -> (u64, u64) {
        let host = &self.hosts[host.0];
        (host.udp_received, host.relay_received)
    }

    /// Every wake-up so far: whose, and why.
    #[must_use]
    pub fn wake_ups(&self) -> &[(HostId, Why)] {
        &self.wake_ups
    }

    /// The host's core.
    pub fn core(&mut self, host: HostId) -> &mut DataPlane {
        &mut self.hosts[host.0].core
    }

    /// The host's node key.
    #[must_use]
    pub fn key(&self, host: HostId) -> NodePublic {
        self.hosts[host.0].key
    }

    fn peers_of(&self, host: HostId) -> Vec<Peer> {
        let core = &self.hosts[host.0].core;
        core.peers().filter_map(|key| core.peer(self.now, &key)).map(|report| report.config).collect()
    }

    fn next_step(&mut self) -> Option<(Instant, Step)> {
        let landing = self.flying.peek().map(|Reverse(flight)| (flight.at, Step::Land));
        let waking = self.hosts.iter_mut().enumerate().filter_map(|(number, host)| {
            host.core.next_event().map(|(at, why)| (at, Step::Wake(HostId(number), why)))
        });
        landing.into_iter().chain(waking).min_by_key(|(at, _)| *at)
    }

    /// Sends what the host's core produced, and keeps what it delivered and told.
    fn drain(&mut self, id: HostId) {
        let elapsed = self.elapsed();
        let mut out = std::mem::take(&mut self.hosts[id.0].out);
        let host = &mut self.hosts[id.0];
        host.events.extend(out.events.drain(..).map(|event| (elapsed, event)));
        for item in out.to_overlay.drain(..) {
            host.inbox.extend(item.batch.iter().filter_map(packet::payload).map(<[u8]>::to_vec));
        }
        for item in out.to_underlay.drain(..) {
            for run in &item.runs {
                for datagram in run.range().filter_map(|i| item.batch.get(i)) {
                    self.depart(id, run.hop, datagram);
                }
            }
        }
        self.hosts[id.0].out = out;
    }

    fn depart(&mut self, id: HostId, hop: Hop, datagram: &[u8]) {
        let host = &mut self.hosts[id.0];
        let (target, link) = match hop {
            Hop::Derp { peer_key, .. } if self.relay_up => {
                (Target::Relay { from: host.key, to: peer_key }, self.relay_link)
            }
            Hop::Udp(to) | Hop::Relayed { server: to, .. } if !host.udp_blocked => {
                let from = match &mut host.nat {
                    Some(nat) => nat.outbound(self.now, host.addr, to),
                    None => host.addr,
                };
                (Target::Udp { from, to }, host.uplink.unwrap_or(self.link))
            }
            _ => return,
        };
        self.fly(link, target, datagram);
    }

    fn fly(&mut self, link: Link, target: Target, datagram: &[u8]) {
        for delay in link.arrivals(&mut self.random) {
            self.flights += 1;
            let flight =
                Flight { at: self.now + delay, number: self.flights, target, bytes: datagram.to_vec() };
            self.flying.push(Reverse(flight));
        }
    }

    fn land(&mut self) {
        let Some(Reverse(Flight { target, bytes, .. })) = self.flying.pop() else { return };
        match target {
            Target::Relay { from, to } => {
                let found = self.hosts.iter().position(|host| host.key == to);
                if let Some(number) = found {
                    self.hosts[number].relay_received += 1;
                    self.arrive(HostId(number), Hop::Derp { region: REGION, peer_key: from }, &bytes);
                }
            }
            Target::Udp { from, to } if to == STUN => self.answer_stun(from, &bytes),
            Target::Udp { from, to } => {
                if let Some(id) = self.behind(from, to) {
                    self.hosts[id.0].udp_received += 1;
                    self.arrive(id, Hop::udp(from), &bytes);
                }
            }
        }
    }

    /// Which host a datagram to this address reaches, NATs and firewalls considered.
    fn behind(&mut self, from: SocketAddr, to: SocketAddr) -> Option<HostId> {
        let now = self.now;
        let number = self.hosts.iter_mut().position(|host| match &mut host.nat {
            Some(nat) => IpAddr::V4(nat.public()) == to.ip() && nat.inbound(now, from, to.port()).is_some(),
            None => host.addr == to,
        })?;
        (!self.hosts[number].udp_blocked).then_some(HostId(number))
    }

    fn answer_stun(&mut self, from: SocketAddr, request: &[u8]) {
        let Ok(id) = tidewire_stun::parse_request(request) else { return };
        let mut answer = [0; tidewire_stun::RESPONSE_LEN];
        let len = tidewire_stun::response(&id, from, &mut answer);
        self.fly(self.link, Target::Udp { from: STUN, to: from }, &answer[..len]);
    }

    fn arrive(&mut self, id: HostId, hop: Hop, datagram: &[u8]) {
        let batch = Batch::copy_of(&self.pool, datagram).expect("a datagram fits a slab");
        let mut item = FromUnderlay { batch, runs: Vec::new() };
        item.address(0, hop);
        self.call(id, |core, now, out| core.process_inbound(now, &mut item, out));
    }
}

enum Step {
    Land,
    Wake(HostId, Why),
}

/// The instant at which every world begins.
fn t0() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "the one base of virtual time")]
    *T0.get_or_init(Instant::now)
}
