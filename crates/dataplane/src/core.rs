//! What a data plane is: tunnel, paths and routes joined, and the calls that drive them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use ipnet::IpNet;
use tidewire_keys::{DiscoSecret, Epoch, NodePublic, NodeSecret, PeerId, Seed, Tai64N};
use tidewire_packet::Pool;
use tidewire_path::{Explanation, Paths, Route};
use tidewire_transport::{FromOverlay, FromUnderlay, Hop, OverlayId};
use tidewire_tunnel::{PeerStatus, Tunnel};

use crate::{
    Command, Counters, Event, Filter, Out, Why,
    change::{Change, Peer, Refused, check_mtu},
    routes::{Owner, Routes},
};

/// Who this node is. The keys cannot be changed: another key is another data plane.
#[derive(Debug)]
pub struct Identity {
    /// The node's WireGuard key.
    pub node: NodeSecret,
    /// The key that authenticates path discovery. A plain WireGuard device has one that nobody knows.
    pub disco: DiscoSecret,
}

/// The synchronous core: packets and time in, packets and events out. It owns no socket, no clock and no task, and with
/// the same seed and the same calls it does the same.
///
/// After any call that takes an [`Out`], [`next_event`](Self::next_event) may have moved.
#[derive(Debug)]
pub struct DataPlane {
    pub(crate) key: NodePublic,
    pub(crate) tunnel: Tunnel,
    pub(crate) paths: Paths,
    pub(crate) routes: Routes,
    pub(crate) peers: BTreeMap<PeerId, PeerEntry>,
    pub(crate) own: Vec<(IpNet, OverlayId)>,
    pub(crate) default_overlay: Option<OverlayId>,
    pub(crate) filter: Filter,
    pub(crate) mtu: usize,
    pub(crate) pool: Pool,
    pub(crate) counters: Counters,
    pub(crate) scratch: Scratch,
    pub(crate) by_key: BTreeMap<NodePublic, PeerId>,
    pub(crate) free: BTreeSet<PeerId>,
}

/// What the core itself keeps of a peer.
#[derive(Debug)]
pub(crate) struct PeerEntry {
    pub(crate) config: Peer,
}

/// Lists that are filled and emptied in every call, kept so that they need no new memory.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) tunnel: tidewire_tunnel::Out,
    pub(crate) path: tidewire_path::Out,
    pub(crate) to: Vec<PeerId>,
    pub(crate) opened: Vec<tidewire_tunnel::Opened>,
    // First datagram kept, and the hop from which it and those after it came.
    pub(crate) arrivals: Vec<(u32, Hop)>,
    pub(crate) overlays: Vec<Option<OverlayId>>,
    pub(crate) geneve: Vec<usize>,
}

/// What the core knows of a peer, for a person or a status call.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// What was configured.
    pub config: Peer,
    /// The tunnel's side: sessions, bytes, last handshake.
    pub tunnel: PeerStatus,
    /// Where packets for it go at the moment.
    pub route: Route,
}

impl DataPlane {
    /// A data plane without peers. `now` is the instant to which `epoch` belongs; all randomness comes from `seed`.
    #[must_use]
    pub fn new(
        now: Instant,
        identity: Identity,
        filter: Filter,
        epoch: Epoch,
        seed: &Seed,
        pool: Pool,
    ) -> Self {
        let Identity { node, disco } = identity;
        let key = node.public();
        let paths = Paths::new(now, tidewire_path::Identity { node: key, disco }, seed);
        let config = tidewire_tunnel::Config {
            secret: node,
            epoch,
            pool: pool.clone(),
            shard: tidewire_tunnel::Shard::default(),
            mtu: DEFAULT_MTU,
        };
        Self {
            key,
            tunnel: Tunnel::new(now, config, seed),
            paths,
            routes: Routes::default(),
            peers: BTreeMap::new(),
            own: Vec::new(),
            default_overlay: None,
            filter,
            mtu: DEFAULT_MTU,
            pool,
            counters: Counters::default(),
            scratch: Scratch::default(),
            by_key: BTreeMap::new(),
            free: BTreeSet::new(),
        }
    }

    /// This node's public key.
    #[must_use]
    pub const fn public_key(&self) -> NodePublic {
        self.key
    }

    /// Sends packets of an overlay to their peers: routes, seals in place, picks the hop. `item` is left empty.
    pub fn process_outbound(&mut self, now: Instant, item: &mut FromOverlay, out: &mut Out) {
        let batch = std::mem::take(&mut item.batch);
        self.outbound(now, batch, out);
    }

    /// Takes in datagrams from outside: identifies, opens in place, checks, delivers. `item` is left empty; its memory
    /// may have moved into `out`.
    pub fn process_inbound(&mut self, now: Instant, item: &mut FromUnderlay, out: &mut Out) {
        let batch = std::mem::take(&mut item.batch);
        self.inbound(now, batch, &item.runs, out);
        item.runs.clear();
    }

    /// Does what is due: timers of sessions, handshakes that wait, probes of paths.
    pub fn process_events(&mut self, now: Instant, out: &mut Out) {
        self.tunnel.process_events(now, &mut self.scratch.tunnel);
        self.drain_tunnel(now, out);
        self.paths.process_events(now, &mut self.scratch.path);
        self.drain_paths(out);
    }

    /// When [`process_events`](Self::process_events) wants to be called next, and for what. Late is harmful, early only
    /// wasteful. A live session or an active path always has one.
    #[must_use]
    pub fn next_event(&mut self) -> Option<(Instant, Why)> {
        let tunnel = self.tunnel.next_event().map(|(at, why)| (at, Why::Tunnel(why)));
        let path = self.paths.next_event().map(|(at, why)| (at, Why::Path(why)));
        match (tunnel, path) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// Changes the configuration: wholly, or not at all.
    ///
    /// # Errors
    /// [`Refused`] says what in `change` cannot be; nothing has happened then.
    pub fn apply(&mut self, now: Instant, change: Change, out: &mut Out) -> Result<(), Refused> {
        match change {
            Change::Peers(peers) => self.replace_peers(now, peers)?,
            Change::Update(update) => self.update_peer(now, update)?,
            Change::Remove(key) => self.remove_peer(now, key),
            Change::NewestStamps(stamps) => {
                for (key, stamp) in stamps {
                    if let Some(id) = self.by_key.get(&key) {
                        self.tunnel.raise_newest_stamp(*id, stamp);
                    }
                }
            }
            Change::Own(own) => self.set_own(own)?,
            Change::DefaultOverlay(overlay) => self.default_overlay = overlay,
            Change::Filter(filter) => self.filter = filter,
            Change::Mtu(mtu) => {
                check_mtu(mtu)?;
                self.mtu = mtu;
                self.tunnel.set_mtu(mtu);
            }
            Change::StunServers(servers) => self.paths.set_stun_servers(now, servers),
            Change::LocalAddresses(addresses) => self.paths.set_local(now, addresses, &mut self.scratch.path),
            Change::Relay { region, up } => self.paths.set_relayed(now, region, up, &mut self.scratch.path),
        }
        self.drain_tunnel(now, out);
        self.drain_paths(out);
        Ok(())
    }

    /// Does what the caller asks for; answers come as events.
    pub fn command(&mut self, now: Instant, command: Command, out: &mut Out) {
        match command {
            Command::Ping { peer, token } => match self.by_key.get(&peer) {
                Some(id) => self.paths.ping(now, *id, token, &mut self.scratch.path),
                None => {
                    let reason = tidewire_path::PingRefusal::UnknownPeer;
                    out.events.push(Event::PingRefused { token, peer, reason });
                }
            },
            Command::NetworkChanged => self.paths.network_changed(now, &mut self.scratch.path),
            Command::Initiate { peer } => {
                if let Some(id) = self.by_key.get(&peer) {
                    self.tunnel.initiate(now, *id, &mut self.scratch.tunnel);
                }
            }
            Command::WallTime(unix) => self.tunnel.raise_wall_time(now, unix),
            Command::Reseed(seed) => {
                self.tunnel.reseed(&seed);
                self.paths.reseed(&seed);
            }
        }
        self.drain_tunnel(now, out);
        self.drain_paths(out);
    }

    /// What was counted, the tunnel's and the paths' reasons included.
    pub fn counters(&mut self) -> &Counters {
        self.counters.tunnel = self.tunnel.discards().clone();
        self.counters.path = self.paths.discards().clone();
        &self.counters
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// What is known of one peer; `None` if there is no such peer.
    #[must_use]
    pub fn peer(&self, now: Instant, key: &NodePublic) -> Option<PeerReport> {
        let config = self.peers.get(self.by_key.get(key)?)?.config.clone();
        let (tunnel, route) = self.status(now, key)?;
        Some(PeerReport { config, tunnel, route })
    }

    /// How one peer does and where its packets go, without what was configured; `None` if there is no such peer.
    #[must_use]
    pub fn status(&self, now: Instant, key: &NodePublic) -> Option<(PeerStatus, Route)> {
        let id = *self.by_key.get(key)?;
        Some((self.tunnel.status(now, id)?, self.paths.current(id, now)))
    }

    /// Why packets for this peer go where they go; `None` if there is no such peer.
    #[must_use]
    pub fn explain(&self, now: Instant, key: &NodePublic) -> Option<Explanation> {
        self.paths.explain(*self.by_key.get(key)?, now)
    }

    /// The keys of all peers, in order.
    pub fn peers(&self) -> impl Iterator<Item = NodePublic> {
        self.by_key.keys().copied()
    }

    /// The peer that `address` belongs to, by longest prefix; `None` if it is nobody's, or this node's own.
    #[must_use]
    pub fn peer_at(&self, address: IpAddr) -> Option<NodePublic> {
        match self.routes.lookup(address)? {
            Owner::Peer(id) => self.key_of(id),
            Owner::Overlay(_) => None,
        }
    }

    /// The last handshake time stamp that was sent; a successor with the same key must not fall behind it.
    #[must_use]
    pub fn last_stamp(&self) -> Option<Tai64N> {
        self.tunnel.last_stamp()
    }

    /// The key of a peer.
    pub(crate) fn key_of(&self, id: PeerId) -> Option<NodePublic> {
        self.peers.get(&id).map(|peer| peer.config.key)
    }

    /// The overlay to which a packet from a peer for this destination goes.
    #[inline]
    pub(crate) fn overlay_for(&self, owner: Option<Owner>) -> Option<OverlayId> {
        match owner {
            Some(Owner::Overlay(id)) => Some(id),
            _ => self.default_overlay,
        }
    }
}

/// The overlay MTU before any overlay has said its own: IPv6's least, as Tailscale's.
pub const DEFAULT_MTU: usize = 1280;
