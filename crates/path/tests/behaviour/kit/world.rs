//! A small internet in virtual time: nodes, NATs, a DERP relay, a STUN server, and cuts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tidewire_keys::{Drbg, PeerId, Seed};
use tidewire_path::{Event, Out, Paths, PeerConfig, Route};
use tidewire_transport::{Hop, RegionId};

use super::{Keys, addr, ms, t0};

const REGION: RegionId = RegionId(1);
const STUN: &str = "198.51.100.1:3478";
/// One way.
const UDP_DELAY: Duration = ms(10);
const RELAY_DELAY: Duration = ms(25);

/// What stands between a node and the internet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nat {
    /// Nothing.
    None,
    /// One port for all destinations; lets in only who was sent to (Linux masquerade).
    Port,
    /// Another port for each destination (masquerade random).
    Random,
}

/// A node and what was seen of it.
pub(crate) struct Node {
    pub(crate) paths: Paths,
    keys: Keys,
    inside: SocketAddr,
    public: IpAddr,
    nat: Nat,
    ports: BTreeMap<Option<SocketAddr>, u16>,
    open: BTreeSet<(u16, SocketAddr)>,
    out: Out,
    /// With milliseconds after the start.
    pub(crate) events: Vec<(u64, Event)>,
    /// Disco and STUN datagrams sent.
    pub(crate) probes: usize,
    /// Milliseconds after the start, and by which kind of hop, of each data packet received.
    pub(crate) got: Vec<(u64, bool)>,
}

enum Payload {
    Probe(Vec<u8>),
    Data,
}

struct Arrival {
    to: usize,
    /// Who sent it, for data.
    from: usize,
    hop: Hop,
    payload: Payload,
}

/// All of it.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    count: u64,
    flows: Vec<(usize, usize, Duration, Instant)>,
    pub(crate) udp_is_cut: bool,
    pub(crate) data_is_cut: bool,
    pub(crate) stun_is_cut: bool,
    /// Of a hundred probes by UDP.
    pub(crate) probes_lost: u64,
    pub(crate) udp_delay: Duration,
    chance: Drbg,
}

impl World {
    /// Two nodes that know each other's keys and home, and nothing else. The first talks to the second, which answers.
    pub(crate) fn pair(one: Nat, other: Nat) -> Self {
        let mut world = Self {
            now: t0(),
            nodes: Vec::new(),
            arrivals: BTreeMap::new(),
            count: 0,
            flows: Vec::new(),
            udp_is_cut: false,
            data_is_cut: false,
            stun_is_cut: false,
            probes_lost: 0,
            chance: Drbg::new(&Seed::new([0; 32]), "world"),
            udp_delay: UDP_DELAY,
        };
        for (number, nat) in [one, other].into_iter().enumerate() {
            world.add(number as u8 + 1, nat);
        }
        for (this, that) in [(0, 1), (1, 0)] {
            let config = PeerConfig {
                node: world.nodes[that].keys.node.public(),
                disco: Some(world.nodes[that].keys.disco.public()),
                candidates: Vec::new(),
                home: Some(REGION),
            };
            let now = world.now;
            let Node { paths, out, .. } = &mut world.nodes[this];
            paths.set_peer(now, PeerId(that as u32), config, out);
        }
        world
    }

    fn add(&mut self, number: u8, nat: Nat) {
        let public = IpAddr::from([203, 0, 113, number]);
        let ip = if nat == Nat::None { public } else { IpAddr::from([10, 0, number, 2]) };
        let keys = Keys::new(&format!("node {number}"));
        let mut node = Node {
            paths: Paths::new(self.now, keys.identity(), &Seed::new([number; 32])),
            keys,
            inside: SocketAddr::new(ip, 41_641),
            public,
            nat,
            ports: BTreeMap::new(),
            open: BTreeSet::new(),
            out: Out::default(),
            events: Vec::new(),
            probes: 0,
            got: Vec::new(),
        };
        node.paths.set_local(self.now, vec![node.inside], &mut node.out);
        node.paths.set_stun_servers(self.now, vec![addr(STUN)]);
        self.nodes.push(node);
    }

    /// The first node sends a packet that often; the other answers each.
    pub(crate) fn talk(&mut self, every: Duration) {
        self.flows.push((0, 1, every, self.now));
    }

    /// Loses others than before.
    pub(crate) fn shuffle(&mut self, seed: u8) {
        self.chance = Drbg::new(&Seed::new([seed; 32]), "world");
    }

    pub(crate) fn silent(&mut self, this: usize) {
        let now = self.now;
        let Node { paths, out, .. } = &mut self.nodes[this];
        paths.silent(now, PeerId(1 - this as u32), out);
        self.flush(this);
    }

    pub(crate) fn hush(&mut self) {
        self.flows.clear();
    }

    /// Lets this many milliseconds pass.
    pub(crate) fn run(&mut self, for_ms: u64) {
        let end = self.now + ms(for_ms);
        loop {
            let timer = self.nodes.iter().filter_map(|node| node.paths.next_event()).map(|(at, _)| at).min();
            let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
            let flow = self.flows.iter().map(|(_, _, _, at)| *at).min();
            let Some(next) = [timer, arrival, flow].into_iter().flatten().min().filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Runs until this holds, or fails after so many milliseconds. How long it took.
    pub(crate) fn run_until(&mut self, limit: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let start = self.now;
        while !holds(self) {
            let took = self.now.duration_since(start).as_millis() as u64;
            assert!(took < limit, "not within {limit} ms: {}", self.routes());
            self.run(1);
        }
        self.now.duration_since(start).as_millis() as u64
    }

    pub(crate) fn route(&self, this: usize) -> Route {
        self.nodes[this].paths.current(PeerId(1 - this as u32), self.now)
    }

    pub(crate) fn is_direct(&self) -> bool {
        (0..2).all(|this| matches!(self.route(this), Route::One(Hop::Udp(_))))
    }

    pub(crate) fn is_relayed(&self) -> bool {
        (0..2).all(|this| matches!(self.route(this), Route::One(Hop::Derp { .. })))
    }

    pub(crate) fn routes(&self) -> String {
        (0..2).map(|this| self.route(this).to_string()).collect::<Vec<_>>().join(" | ")
    }

    pub(crate) fn network_changed(&mut self, this: usize) {
        let now = self.now;
        let Node { paths, out, .. } = &mut self.nodes[this];
        paths.network_changed(now, out);
        self.flush(this);
    }

    /// A node goes to another address. Its old one is gone.
    pub(crate) fn moves(&mut self, this: usize, public: [u8; 4]) {
        let node = &mut self.nodes[this];
        assert_eq!(node.nat, Nat::None);
        node.public = IpAddr::from(public);
        node.inside.set_ip(node.public);
        let now = self.now;
        let Node { paths, out, inside, .. } = node;
        paths.set_local(now, vec![*inside], out);
        self.flush(this);
    }

    /// The longest time without a data packet received by `this`, within the last `within` ms.
    pub(crate) fn longest_gap(&self, this: usize, within: u64) -> u64 {
        let now = self.now.duration_since(t0()).as_millis() as u64;
        let from = now - within;
        let times = self.nodes[this].got.iter().map(|(at, _)| *at).filter(|at| *at >= from);
        let mut last = from;
        let mut longest = 0;
        for at in times.chain([now]) {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }

    fn step(&mut self) {
        for this in 0..self.nodes.len() {
            let node = &mut self.nodes[this];
            if node.paths.next_event().is_some_and(|(at, _)| at <= self.now) {
                node.paths.process_events(self.now, &mut node.out);
                let next = node.paths.next_event();
                assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?}");
                self.flush(this);
            }
        }
        while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let arrival = entry.remove();
            self.arrive(arrival);
        }
        for number in 0..self.flows.len() {
            let (from, to, every, at) = self.flows[number];
            if at <= self.now {
                self.flows[number].3 = at + every;
                self.send_data(from, to);
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { to, from, hop, payload } = arrival;
        let now = self.now;
        let node = &mut self.nodes[to];
        match payload {
            Payload::Probe(mut datagram) if datagram.starts_with(b"TS") => {
                node.paths.disco(now, hop, false, &mut datagram, &mut node.out);
            }
            Payload::Probe(datagram) => node.paths.stun(now, hop, &datagram, &mut node.out),
            Payload::Data => {
                node.got.push((now.duration_since(t0()).as_millis() as u64, hop.is_derp()));
                node.paths.heard(now, PeerId(from as u32), hop);
                if to == 1 {
                    self.send_data(to, from);
                }
            }
        }
        self.flush(to);
    }

    fn send_data(&mut self, from: usize, to: usize) {
        let now = self.now;
        let paths = &mut self.nodes[from].paths;
        paths.sending(now, PeerId(to as u32));
        let hops = match paths.current(PeerId(to as u32), now) {
            Route::None => vec![],
            Route::One(hop) => vec![hop],
            Route::Both { direct, relay } => vec![direct, relay],
        };
        for hop in hops {
            self.send(from, hop, Payload::Data);
        }
    }

    fn flush(&mut self, this: usize) {
        let out = std::mem::take(&mut self.nodes[this].out);
        let at = self.now.duration_since(t0()).as_millis() as u64;
        self.nodes[this].events.extend(out.events.into_iter().map(|event| (at, event)));
        for (hop, datagram) in out.datagrams {
            self.nodes[this].probes += 1;
            self.send(this, hop, Payload::Probe(datagram));
        }
    }

    fn send(&mut self, from: usize, hop: Hop, payload: Payload) {
        let (delay, to, hop) = match hop {
            Hop::Derp { region, peer_key } => {
                let Some(to) = self.nodes.iter().position(|node| node.keys.node.public() == peer_key) else {
                    return;
                };
                let peer_key = self.nodes[from].keys.node.public();
                (RELAY_DELAY, to, Hop::Derp { region, peer_key })
            }
            Hop::Udp(dst) if dst == addr(STUN) => return self.ask_stun(from, &payload),
            Hop::Udp(dst) => {
                let is_lost = match payload {
                    Payload::Data => self.data_is_cut,
                    Payload::Probe(_) => self.chance.below(100) < self.probes_lost,
                };
                let is_cut = self.udp_is_cut || is_lost;
                let src = self.nodes[from].translate(dst);
                let Some(to) = self.nodes.iter().position(|node| node.lets_in(dst, src)).filter(|_| !is_cut)
                else {
                    return;
                };
                (self.udp_delay, to, Hop::Udp(src))
            }
            Hop::Relayed { .. } => return,
        };
        self.push(delay, Arrival { to, from, hop, payload });
    }

    fn ask_stun(&mut self, from: usize, payload: &Payload) {
        let src = self.nodes[from].translate(addr(STUN));
        let Payload::Probe(datagram) = payload else { return };
        let tx = tidewire_stun::parse_request(datagram).expect("a request as relays want it");
        if self.stun_is_cut || self.udp_is_cut {
            return;
        }
        let mut response = [0; tidewire_stun::RESPONSE_LEN];
        let len = tidewire_stun::response(&tx, src, &mut response);
        let payload = Payload::Probe(response[..len].to_vec());
        self.push(2 * self.udp_delay, Arrival { to: from, from, hop: Hop::Udp(addr(STUN)), payload });
    }

    fn push(&mut self, delay: Duration, arrival: Arrival) {
        self.count += 1;
        self.arrivals.insert((self.now + delay, self.count), arrival);
    }
}

impl Node {
    /// Sends something out; the source as the internet sees it.
    fn translate(&mut self, dst: SocketAddr) -> SocketAddr {
        let next = 40_000 + self.ports.len() as u16 + 1;
        let port = match self.nat {
            Nat::None => return self.inside,
            Nat::Port => *self.ports.entry(None).or_insert(next),
            Nat::Random => *self.ports.entry(Some(dst)).or_insert(next),
        };
        self.open.insert((port, dst));
        SocketAddr::new(self.public, port)
    }

    /// Whether a datagram to `dst` is for this node, and its NAT lets it in.
    fn lets_in(&self, dst: SocketAddr, src: SocketAddr) -> bool {
        match self.nat {
            Nat::None => dst == self.inside,
            Nat::Port => dst.ip() == self.public && self.open.contains(&(dst.port(), src)),
            Nat::Random => {
                let is_its = self.ports.get(&Some(src)) == Some(&dst.port());
                dst.ip() == self.public && is_its && self.open.contains(&(dst.port(), src))
            }
        }
    }
}
