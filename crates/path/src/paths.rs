//! The public machine: which peers there are, whose turn it is, and what each call does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Instant,
};

use tidewire_keys::{DiscoPublic, DiscoSecret, Drbg, NodePublic, PeerId, Seed};
use tidewire_transport::{Hop, RegionId};

use crate::{
    budget::Budget,
    call::{canonical, is_sendable},
    discard::{Discard, Discards},
    explain::{self, Explanation, OwnView},
    limits::{MAX_LISTED, PINGS},
    local::{Cx, Keyring, Local},
    own::Own,
    peer::Peer,
    route::{Event, Out, PingRefusal, Route, Why},
};

/// Decides for each peer where to send its packets, and looks for better ways.
///
/// It owns no socket, clock or task. Whoever holds it passes the time and what arrived, sends the datagrams of [`Out`] to
/// their hops, and calls [`process_events`](Self::process_events) when [`next_event`](Self::next_event) says so. After
/// every call with `&mut self` the next event may be another one, `now` included.
///
/// A peer with a disco key is reached through its relay until a direct path has answered a ping, and again when it answers no
/// more. A peer without one is a plain WireGuard peer: it is where it was last heard.
#[derive(Debug)]
pub struct Paths {
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) nodes: BTreeMap<NodePublic, PeerId>,
    pub(crate) local: Local,
    agenda: BTreeSet<(Instant, PeerId)>,
}

/// Who this node is to others.
#[derive(Debug)]
pub struct Identity {
    /// The node key, told in pings.
    pub node: NodePublic,
    /// The key that disco messages are sealed with. Best kept over restarts: who has the old one drops what the new one seals.
    pub disco: DiscoSecret,
}

/// What the map says of a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// Its node key, by which relays address it.
    pub node: NodePublic,
    /// Its disco key. Without one it is a plain WireGuard peer, and the other fields are used as they stand.
    pub disco: Option<DiscoPublic>,
    /// UDP addresses that it may have, the likeliest first; [`MAX_LISTED`] of them are used.
    pub candidates: Vec<SocketAddr>,
    /// The relay where it listens. Without one it is answered through the relay it was last heard by, if any.
    pub home: Option<RegionId>,
}

impl Paths {
    /// A machine without peers. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(_now: Instant, identity: Identity, seed: &Seed) -> Self {
        Self {
            peers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            agenda: BTreeSet::new(),
            local: Local {
                node: identity.node,
                drbg: Drbg::new(seed, "path"),
                keyring: Keyring::new(identity.disco),
                own: Own::default(),
                pings: Budget::new(PINGS),
                discards: Discards::default(),
                relays: BTreeMap::new(),
            },
        }
    }

    /// Mixes fresh randomness in: hourly, and after a sleep.
    pub fn reseed(&mut self, seed: &Seed) {
        self.local.drbg.reseed(seed);
    }

    /// Adds a peer, or changes it live. What is the same as before has no effect; a path in use goes on being used.
    ///
    /// A new disco key voids what was learned from the peer itself; a new node key makes it another peer.
    pub fn set_peer(&mut self, now: Instant, id: PeerId, config: PeerConfig, out: &mut Out) {
        if self.peers.get(&id).is_some_and(|peer| peer.node != config.node) {
            self.remove_peer(now, id, out);
        }
        let listed = self.listed(&config.candidates);
        let is_new = !self.peers.contains_key(&id);
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(now, id, config.node, config.disco));
        let before = peer.disco().filter(|_| !is_new);
        peer.configure(now, config.disco, listed, config.home);
        if is_new {
            peer.announce_silently(now);
        }
        self.nodes.insert(config.node, id);
        if before != config.disco {
            let keyring = &mut self.local.keyring;
            before.iter().for_each(|key| keyring.remove(key, id));
            config.disco.iter().for_each(|key| keyring.add(*key, id));
        }
        self.step(now, id, out);
    }

    /// Says where a peer without a disco key is, wherever it was heard since [`set_peer`](Self::set_peer) said the same. Has no
    /// effect on others, nor where nothing can be sent to `addr`.
    pub fn place(&mut self, now: Instant, id: PeerId, addr: SocketAddr, out: &mut Out) {
        let addr = canonical(addr);
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| is_sendable(addr)) {
            peer.place(addr);
            self.step(now, id, out);
        }
    }

    /// Forgets a peer.
    pub fn remove_peer(&mut self, _now: Instant, id: PeerId, _out: &mut Out) {
        let Some(peer) = self.peers.remove(&id) else { return };
        if let Some((at, _)) = peer.scheduled {
            self.agenda.remove(&(at, id));
        }
        if let Some(disco) = peer.disco() {
            self.local.keyring.remove(&disco, id);
        }
        if self.nodes.get(&peer.node) == Some(&id) {
            self.nodes.remove(&peer.node);
        }
    }

    /// Sets the STUN servers, resolved. They are asked from the socket that carries WireGuard: no other one's mapping is of any use.
    pub fn set_stun_servers(&mut self, now: Instant, servers: Vec<SocketAddr>) {
        self.local.own.set_servers(now, &servers, &mut self.local.discards);
    }

    /// Sets the addresses of the interfaces, each with the port that the socket is bound to.
    pub fn set_local(&mut self, now: Instant, addresses: Vec<SocketAddr>, out: &mut Out) {
        if self.local.own.set_local(&addresses) {
            self.tell_addresses(now, out);
        }
    }

    /// A connection to a relay came or went. A peer that could not be told our addresses before is told them when it comes.
    pub fn set_relayed(&mut self, now: Instant, region: RegionId, up: bool, out: &mut Out) {
        let was_up = self.local.relays.insert(region, up);
        if up && was_up != Some(true) {
            self.each_active(now, out, |peer| {
                let is_there = peer.region() == Some(region);
                if let Some(discovery) = peer.discovery_mut().filter(|d| is_there && !d.is_trusted(now)) {
                    discovery.calls.tell(now);
                }
            });
        }
    }

    /// Where to send a peer's packets. [`Route::None`] for an unknown peer. Only a look: the proof of a path ends by the time alone.
    #[must_use]
    pub fn current(&self, peer: PeerId, now: Instant) -> Route {
        self.peers.get(&peer).map_or(Route::None, |peer| peer.route(now))
    }

    /// Traffic goes to this peer: to be called once for each batch, before [`current`](Self::current). Cheap while the peer is active.
    pub fn sending(&mut self, now: Instant, peer: PeerId) {
        self.local.own.traffic(now);
        let Some(found) = self.peers.get_mut(&peer) else { return };
        if found.sending(now) {
            self.local.own.resume(now);
            self.schedule(now, peer);
        }
    }

    /// An authenticated WireGuard packet of this peer came by this hop. Cheap while the peer is active and the hop known.
    ///
    /// It makes the hop current for a peer without a disco key (WireGuard's roaming). For others it is an address to try, no
    /// more: WireGuard proves who sent a packet, not from where.
    pub fn heard(&mut self, now: Instant, peer: PeerId, hop: Hop) {
        self.local.own.traffic(now);
        let Some(found) = self.peers.get_mut(&peer) else { return };
        let hop = match hop {
            Hop::Udp(addr) => Hop::udp(addr),
            other => other,
        };
        let heard = found.heard(now, hop);
        if heard.refused {
            self.local.discards.count(Discard::MetLimit);
        }
        if heard.woke {
            self.local.own.resume(now);
        }
        if heard.woke || heard.news {
            self.schedule(now, peer);
        }
    }

    /// Data to this peer goes unanswered, as WireGuard's own timers see it. If probes are answered on the path in use it
    /// is left at once, and barred: 15 s at first, twice as long each time after.
    pub fn silent(&mut self, now: Instant, peer: PeerId, out: &mut Out) {
        if let Some(found) = self.peers.get_mut(&peer) {
            found.silent(now);
            self.step(now, peer, out);
        }
    }

    /// Does all that is due. Afterwards [`next_event`](Self::next_event) is later than `now`.
    pub fn process_events(&mut self, now: Instant, out: &mut Out) {
        // Each peer once: none can make itself due again at `now`.
        for _ in 0..self.agenda.len() {
            match self.agenda.first() {
                Some((at, id)) if *at <= now => self.step(now, *id, out),
                _ => break,
            }
        }
        self.ask_servers(now, out);
    }

    /// When to call [`process_events`](Self::process_events), and why. Cheap, whatever the number of peers.
    ///
    /// Never `None` while a peer with a disco key is active.
    #[must_use]
    pub fn next_event(&self) -> Option<(Instant, Why)> {
        let peer = self.agenda.first().and_then(|(_, id)| self.peers.get(id)?.scheduled);
        peer.into_iter().chain(self.local.own.next_event()).min_by_key(|(at, _)| *at)
    }

    /// Pings a peer for a caller, and makes it active. The answer is one event with `token`: [`Event::Pong`],
    /// [`Event::PingTimeout`] or [`Event::PingRefused`].
    ///
    /// A proven path alone is pinged if there is one, else the relay and all addresses, and the first answer counts.
    pub fn ping(&mut self, now: Instant, peer: PeerId, token: u64, out: &mut Out) {
        self.sending(now, peer);
        let asked = match self.peers.get_mut(&peer) {
            None => Err(PingRefusal::UnknownPeer),
            Some(found) => {
                let about = found.about(now);
                let cx = &mut Cx { now, local: &mut self.local, out };
                found
                    .discovery_mut()
                    .map_or(Err(PingRefusal::NoDisco), |discovery| discovery.ask(&about, token, cx))
            }
        };
        if let Err(reason) = asked {
            out.events.push(Event::PingRefused { token, peer, reason });
        }
        self.step(now, peer, out);
    }

    /// The network of this node is another one: no path is trusted any longer, all addresses are tried again, STUN is asked
    /// anew and then every active peer told.
    pub fn network_changed(&mut self, now: Instant, out: &mut Out) {
        if self.local.own.network_changed(now) {
            out.events.push(Event::OwnAddresses(self.local.own.addresses().to_vec()));
        }
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                let reason = peer.discovery_mut().map(|discovery| discovery.network_changed(now));
                peer.because(reason);
            }
            self.step(now, id, out);
        }
        self.ask_servers(now, out);
    }

    /// Why a peer is reached as it is, as data: every address, where it was learned, how it did. `None` for an unknown peer.
    #[must_use]
    pub fn explain(&self, peer: PeerId, now: Instant) -> Option<Explanation> {
        self.peers.get(&peer).map(|peer| explain::explain(peer, &self.local, now))
    }

    /// What this node knows of its own addresses.
    #[must_use]
    pub fn own(&self, now: Instant) -> OwnView {
        explain::own(&self.local.own, now)
    }

    /// What came to nothing, by reason.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.local.discards
    }

    /// Does what is due for one peer, and enters it in the agenda anew.
    pub(crate) fn step(&mut self, now: Instant, id: PeerId, out: &mut Out) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.step(&mut Cx { now, local: &mut self.local, out });
            self.schedule(now, id);
        }
    }

    /// Everyone who is active is told that our addresses are others.
    pub(crate) fn tell_addresses(&mut self, now: Instant, out: &mut Out) {
        out.events.push(Event::OwnAddresses(self.local.own.addresses().to_vec()));
        self.each_active(now, out, |peer| {
            if let Some(discovery) = peer.discovery_mut() {
                discovery.calls.tell(now);
            }
        });
    }

    /// Does something to each active peer, and what is due then.
    pub(crate) fn each_active(&mut self, now: Instant, out: &mut Out, mut f: impl FnMut(&mut Peer)) {
        let active: Vec<_> =
            self.peers.values().filter(|peer| peer.is_active(now)).map(|peer| peer.id).collect();
        for id in active {
            self.peers.get_mut(&id).into_iter().for_each(&mut f);
            self.step(now, id, out);
        }
    }

    fn ask_servers(&mut self, now: Instant, out: &mut Out) {
        let Local { own, drbg, .. } = &mut self.local;
        if own.step(now, drbg, out) {
            self.tell_addresses(now, out);
        }
    }

    /// Enters a peer in the agenda anew.
    pub(crate) fn schedule(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let next = peer.next_event(now, &self.local);
        let before = std::mem::replace(&mut peer.scheduled, next);
        if before.map(|(at, _)| at) != next.map(|(at, _)| at) {
            if let Some((at, _)) = before {
                self.agenda.remove(&(at, id));
            }
            self.agenda.extend(next.map(|(at, _)| (at, id)));
        }
    }

    /// The addresses of a map that can be used.
    fn listed(&mut self, addrs: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut listed = Vec::new();
        for addr in addrs.iter().copied().map(canonical) {
            if !listed.contains(&addr) && is_sendable(addr) && listed.len() < MAX_LISTED {
                listed.push(addr);
            }
        }
        self.local.discards.add(Discard::ListedAddress, addrs.len() - listed.len());
        listed
    }
}
