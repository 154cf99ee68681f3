//! One machine under test and a peer that the test plays by hand.

use std::{net::SocketAddr, time::Instant};

use tidewire_disco::{Envelope, Message, Ping, Pong, TxId};
use tidewire_keys::{PeerId, Seed, SharedBox};
use tidewire_path::{Discard, Event, Explanation, Out, Paths, PeerConfig, Reason, Route};
use tidewire_transport::{Hop, RegionId};

use super::{Keys, addr, ms, t0};

pub(crate) const REGION: RegionId = RegionId(900);
pub(crate) const PEER: PeerId = PeerId(1);

/// The machine, the time, and the keys of the peer.
pub(crate) struct Lone {
    pub(crate) paths: Paths,
    pub(crate) now: Instant,
    pub(crate) me: Keys,
    pub(crate) peer: Keys,
    pub(crate) config: PeerConfig,
    out: Out,
    sent: Vec<Sent>,
    /// Requests to STUN servers, with their times.
    asked: Vec<(u64, SocketAddr, tidewire_stun::TxId)>,
    asked_seen: usize,
    pub(crate) events: Vec<Event>,
    nonce: u64,
    shared: SharedBox,
}

/// A message that the machine sent to the peer.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Milliseconds after the start.
    pub(crate) at: u64,
    pub(crate) hop: Hop,
    pub(crate) message: Message,
}

impl Lone {
    /// With one peer that has a home and no address.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With one peer that has a home and these addresses in the map.
    pub(crate) fn with(candidates: &[&str]) -> Self {
        let (me, peer) = (Keys::new("me"), Keys::new("peer"));
        let config = PeerConfig {
            node: peer.node.public(),
            disco: Some(peer.disco.public()),
            candidates: candidates.iter().map(|text| addr(text)).collect(),
            home: Some(REGION),
        };
        let mut lone = Self {
            paths: Paths::new(t0(), me.identity(), &Seed::new([1; 32])),
            now: t0(),
            shared: peer.disco.shared(&me.disco.public()),
            me,
            peer,
            config: config.clone(),
            out: Out::default(),
            sent: Vec::new(),
            asked: Vec::new(),
            asked_seen: 0,
            events: Vec::new(),
            nonce: 0,
        };
        lone.paths.set_local(lone.now, vec![addr("192.168.7.7:41641")], &mut lone.out);
        lone.configure(config);
        lone.events.clear();
        lone
    }

    /// The peer has another disco key from here on.
    pub(crate) fn rekey(&mut self) {
        self.sent();
        self.shared = self.peer.disco.shared(&self.me.disco.public());
    }

    pub(crate) fn configure(&mut self, config: PeerConfig) {
        self.config = config.clone();
        self.call(|paths, now, out| paths.set_peer(now, PEER, config, out));
    }

    /// Makes a call, and collects what it produced.
    pub(crate) fn call<T>(&mut self, f: impl FnOnce(&mut Paths, Instant, &mut Out) -> T) -> T {
        let result = f(&mut self.paths, self.now, &mut self.out);
        self.collect();
        result
    }

    /// Lets time pass, with every event at its time, up to and including this many milliseconds after the start.
    pub(crate) fn run_to(&mut self, at: u64) {
        let end = t0() + ms(at);
        while let Some((at, _)) = self.paths.next_event().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.process();
        }
        self.now = self.now.max(end);
    }

    /// Lets this many milliseconds pass.
    pub(crate) fn run(&mut self, for_ms: u64) {
        self.run_to(self.at() + for_ms);
    }

    pub(crate) fn process(&mut self) {
        self.call(|paths, now, out| paths.process_events(now, out));
        let next = self.paths.next_event();
        assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} is not after {:?}", self.now);
    }

    /// Traffic of the user: the peer becomes, or stays, active.
    pub(crate) fn send(&mut self) {
        self.paths.sending(self.now, PEER);
        self.run(0);
    }

    /// Traffic each second, up to this many milliseconds after the start.
    pub(crate) fn chat_to(&mut self, at: u64) {
        while self.at() < at {
            self.send();
            self.run_to((self.at() + 1_000).min(at));
        }
    }

    /// A message of the peer comes by `hop`.
    pub(crate) fn receive(&mut self, hop: Hop, message: &Message) {
        let mut datagram = self.seal(message);
        self.call(|paths, now, out| paths.disco(now, hop, false, &mut datagram, out));
        self.run(0);
    }

    /// The peer seals these bytes as they stand.
    pub(crate) fn receive_plain(&mut self, hop: Hop, plain: &[u8]) {
        let empty = self.seal(&Message::CallMeMaybe(Vec::new()));
        let mut datagram = empty[..tidewire_disco::HEADER_LEN].to_vec();
        let nonce = datagram[datagram.len() - 24..].try_into().unwrap();
        self.shared.seal_into(&nonce, plain, &mut datagram);
        self.call(|paths, now, out| paths.disco(now, hop, false, &mut datagram, out));
        self.run(0);
    }

    /// A message of the peer, sealed.
    pub(crate) fn seal(&mut self, message: &Message) -> Vec<u8> {
        self.nonce += 1;
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.nonce.to_le_bytes());
        tidewire_disco::seal(message, &self.peer.disco.public(), &self.shared, nonce)
    }

    /// A ping of the peer comes by `hop`.
    pub(crate) fn ping_from(&mut self, hop: Hop, tx: u8) {
        let ping = Ping { tx: TxId([tx; 12]), node: Some(self.peer.node.public()), padding: 0 };
        self.receive(hop, &Message::Ping(ping));
    }

    /// A CallMeMaybe of the peer comes by its relay.
    pub(crate) fn call_from(&mut self, addrs: &[&str]) {
        let addrs: Vec<_> = addrs.iter().map(|text| addr(text)).collect();
        self.receive(self.relay(), &Message::CallMeMaybe(addrs));
    }

    /// The peer answers these pings from where they went to, at once.
    pub(crate) fn answer(&mut self, pings: &[(Hop, TxId)]) {
        for (hop, tx) in pings {
            self.pong(*hop, *tx);
        }
    }

    pub(crate) fn pong(&mut self, hop: Hop, tx: TxId) {
        self.receive(hop, &Message::Pong(Pong { tx, src: addr("192.0.2.99:9") }));
    }

    /// The direct path by this address is proven, with that latency.
    pub(crate) fn prove(&mut self, address: &str, latency: u64) {
        self.send();
        let pings = self.pings_to(address);
        assert!(!pings.is_empty(), "{address} was not pinged");
        self.run(latency);
        self.answer(&pings[pings.len() - 1..]);
        assert_eq!(self.route(), Route::One(Hop::Udp(addr(address))));
        self.sent();
    }

    /// Traffic, and the peer answers every ping to `address` after `latency` ms, until then.
    pub(crate) fn alive_to(&mut self, address: &str, latency: u64, at: u64) {
        while self.at() < at {
            self.send();
            self.answering_to(address, latency, (self.at() + 100).min(at));
        }
    }

    /// The peer answers every ping to `address` after `latency` ms, until then; there is no traffic.
    pub(crate) fn answering_to(&mut self, address: &str, latency: u64, at: u64) {
        while self.at() < at {
            for (hop, tx) in self.pings_to(address) {
                self.run(latency);
                self.pong(hop, tx);
            }
            self.run_to((self.at() + 100).min(at));
        }
    }

    /// A STUN server answers the last request to it.
    pub(crate) fn stun_answer(&mut self, server: &str, saw: &str) {
        let (.., tx) = *self.asked.iter().rev().find(|(_, to, _)| *to == addr(server)).expect("it was asked");
        self.stun_response(server, tx, saw);
    }

    /// A STUN response comes.
    pub(crate) fn stun_response(&mut self, from: &str, tx: tidewire_stun::TxId, saw: &str) {
        let mut response = [0; tidewire_stun::RESPONSE_LEN];
        let len = tidewire_stun::response(&tx, addr(saw), &mut response);
        let hop = Hop::Udp(addr(from));
        self.call(|paths, now, out| paths.stun(now, hop, &response[..len], out));
        self.run(0);
    }

    /// Takes the requests to STUN servers since the last look, with their times.
    pub(crate) fn stun_requests(&mut self) -> Vec<(u64, SocketAddr, tidewire_stun::TxId)> {
        self.collect();
        let seen = std::mem::replace(&mut self.asked_seen, self.asked.len());
        self.asked[seen..].to_vec()
    }

    /// Milliseconds after the start.
    pub(crate) fn at(&self) -> u64 {
        self.now.duration_since(t0()).as_millis() as u64
    }

    pub(crate) fn route(&self) -> Route {
        self.paths.current(PEER, self.now)
    }

    pub(crate) fn relay(&self) -> Hop {
        Hop::Derp { region: REGION, peer_key: self.peer.node.public() }
    }

    pub(crate) fn explained(&self) -> Explanation {
        self.paths.explain(PEER, self.now).unwrap()
    }

    /// How the route changed: from, to, why.
    pub(crate) fn switches(&self) -> Vec<(Route, Route, Reason)> {
        let switch = |event: &Event| match event {
            Event::Switched { from, to, reason, .. } => Some((*from, *to, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(switch).collect()
    }

    /// Why the route changed last.
    pub(crate) fn last_reason(&self) -> Option<Reason> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Switched { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    pub(crate) fn discarded(&self, reason: Discard) -> u64 {
        self.paths.discards().get(reason)
    }

    /// Takes what was sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        self.collect();
        std::mem::take(&mut self.sent)
    }

    /// Takes what was sent since the last look; the pings among it that went to an address.
    pub(crate) fn pings_to(&mut self, address: &str) -> Vec<(Hop, TxId)> {
        let hop = Hop::Udp(addr(address));
        self.pings().into_iter().filter(|(to, _, _)| *to == hop).map(|(hop, tx, _)| (hop, tx)).collect()
    }

    /// Takes what was sent since the last look; the pings among it, with their times.
    pub(crate) fn pings(&mut self) -> Vec<(Hop, TxId, u64)> {
        let ping = |sent: Sent| match sent.message {
            Message::Ping(ping) => Some((sent.hop, ping.tx, sent.at)),
            _ => None,
        };
        self.sent().into_iter().filter_map(ping).collect()
    }

    /// Takes what was sent since the last look; the times of the pings to an address.
    pub(crate) fn ping_times(&mut self, address: &str) -> Vec<u64> {
        let hop = Hop::Udp(addr(address));
        self.pings().into_iter().filter(|(to, _, _)| *to == hop).map(|(_, _, at)| at).collect()
    }

    /// Takes what was sent since the last look; the pongs among it.
    pub(crate) fn pongs(&mut self) -> Vec<(Hop, Pong)> {
        let pong = |sent: Sent| match sent.message {
            Message::Pong(pong) => Some((sent.hop, pong)),
            _ => None,
        };
        self.sent().into_iter().filter_map(pong).collect()
    }

    /// Takes what was sent since the last look; the CallMeMaybes among it, with their times.
    pub(crate) fn calls(&mut self) -> Vec<(u64, Vec<SocketAddr>)> {
        let call = |sent: Sent| match sent.message {
            Message::CallMeMaybe(addrs) => {
                assert!(sent.hop.is_derp(), "a CallMeMaybe by {}", sent.hop);
                Some((sent.at, addrs))
            }
            _ => None,
        };
        self.sent().into_iter().filter_map(call).collect()
    }

    fn collect(&mut self) {
        self.events.append(&mut self.out.events);
        for (hop, datagram) in self.out.datagrams.drain(..) {
            let at = self.now.duration_since(t0()).as_millis() as u64;
            if let Ok(tx) = tidewire_stun::parse_request(&datagram) {
                self.asked.push((at, hop.socket_addr().expect("by UDP"), tx));
                continue;
            }
            let envelope = Envelope::parse(&datagram).expect("STUN or disco");
            assert_eq!(envelope.sender, self.me.disco.public());
            let message = envelope.open(&self.shared).expect("sealed for the peer");
            self.sent.push(Sent { at, hop, message });
        }
    }
}
