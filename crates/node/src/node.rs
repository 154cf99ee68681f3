//! The handle of a running node: everything that can be asked of it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tidewire_dataplane::{Change, Command, Explanation, driver::Handle};
use tidewire_derp::Regions;
use tidewire_keys::{DiscoPublic, NodePublic};
use tidewire_netstack::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};

use crate::{
    config::{Config, Map},
    error::{MapError, PingError, StartError, Stopped},
    event::{Events, PeerStatus, Pong, Status},
    local::Local,
    parts::{self, Relays},
    shared::Shared,
    tuning::Tuning,
};

/// A running node.
///
/// It has a thread of its own; this handle can be used from any runtime, and a runtime that is blocked stalls nothing.
/// Dropping it stops the node, without waiting.
#[derive(Debug)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: Handle,
    pub(crate) local: Local,
    pub(crate) relays: Relays,
    // The node's thread ends when the one is gone, and lets go of the other's sender when it has ended.
    pub(crate) stop: Mutex<Option<oneshot::Sender<()>>>,
    pub(crate) ended: watch::Receiver<()>,
}

impl Node {
    /// Starts a node. When this returns, its sockets are bound, its map is in force, and it connects to its relays.
    ///
    /// # Errors
    /// [`StartError`] says what the system refused, or what in the configuration cannot be.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Tuning::default()).await
    }

    /// Starts a node with something of the caller's between it and its sockets.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(config: Config, tuning: Tuning) -> Result<Self, StartError> {
        parts::start(config, tuning).await
    }

    /// Its public node key.
    #[must_use]
    pub fn public_key(&self) -> NodePublic {
        self.shared.key
    }

    /// Its public disco key.
    #[must_use]
    pub fn disco_key(&self) -> DiscoPublic {
        self.shared.disco
    }

    /// Replaces the network map, wholly or not at all. Peers that stay keep their sessions and paths.
    ///
    /// # Errors
    /// [`MapError`] says what in the map cannot be; the one before stays in force.
    pub async fn apply(&self, map: Map) -> Result<(), MapError> {
        let regions = Regions::try_from(map.regions.clone())?;
        self.relays.check(&regions)?;
        let whole = map.clone();
        let peers = map.peers.into_iter().map(Into::into).collect();
        self.handle.apply(Change::Peers(peers)).await.map_err(|_| MapError::Stopped)??;
        self.shared.take_names(&whole);
        self.local.follow(&whole);
        self.relays.set(regions);
        Ok(())
    }

    /// Connects to a TCP port of another node.
    ///
    /// # Errors
    /// As the system's sockets would: refused, timed out, unreachable. `Unsupported` for a node with an interface.
    pub async fn dial_tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.local.stack()?.dial_tcp(address).await.map_err(io::Error::from)
    }

    /// Listens on a TCP port of this node, on all its overlay addresses.
    ///
    /// # Errors
    /// The port is taken, or the node stopped. `Unsupported` for a node with an interface.
    pub fn listen_tcp(&self, port: u16) -> io::Result<TcpListener> {
        self.local.stack()?.listen_tcp(port).map_err(io::Error::from)
    }

    /// A UDP socket on a port of this node; 0 for any.
    ///
    /// # Errors
    /// The port is taken, or the node stopped. `Unsupported` for a node with an interface.
    pub fn udp(&self, port: u16) -> io::Result<UdpSocket> {
        self.local.stack()?.udp_bind(port).map_err(io::Error::from)
    }

    /// Asks another node for a sign of life by every way there is, and returns the first answer.
    ///
    /// # Errors
    /// [`PingError`] if none comes within 5 s, or there is nobody to ask.
    pub async fn ping(&self, peer: NodePublic) -> Result<Pong, PingError> {
        let (token, answer) = self.shared.new_ping().ok_or(PingError::Busy)?;
        self.handle.command(Command::Ping { peer, token }).await.map_err(|_| PingError::Stopped)?;
        answer.await.map_err(|_| PingError::Stopped)?
    }

    /// The node as it stands.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn status(&self) -> Result<Status, Stopped> {
        let asked = self.handle.call(|core, now, _| {
            let keys: Vec<NodePublic> = core.peers().collect();
            let reports: Vec<_> = keys.iter().filter_map(|key| core.peer(now, key)).collect();
            (now, reports, core.counters().clone())
        });
        let (now, reports, counters) = asked.await.map_err(|_| Stopped)?;
        let state = self.shared.state();
        let peers = reports.into_iter().map(|report| PeerStatus {
            key: report.config.key,
            name: state.names.get(&report.config.key).cloned().unwrap_or_default(),
            route: report.route,
            last_handshake: report.tunnel.last_handshake.map(|at| now.saturating_duration_since(at)),
            received: report.tunnel.rx_bytes,
            sent: report.tunnel.tx_bytes,
        });
        Ok(Status {
            key: self.shared.key,
            disco: self.shared.disco,
            addresses: self.shared.addresses.clone(),
            home: state.home,
            relays: self.relays.status(now),
            own_addresses: state.own_addresses.clone(),
            peers: peers.collect(),
            counters,
        })
    }

    /// Why packets for a peer go where they go; `None` if there is no such peer.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn explain(&self, peer: NodePublic) -> Result<Option<Explanation>, Stopped> {
        self.handle.call(move |core, now, _| core.explain(now, &peer)).await.map_err(|_| Stopped)
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.shared.events.subscribe())
    }

    /// Says that the machine has another network: paths are proven anew, relays are tried anew. The node notices most changes by itself.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn network_changed(&self) -> Result<(), Stopped> {
        self.relays.network_changed();
        self.handle.command(Command::NetworkChanged).await.map_err(|_| Stopped)
    }

    /// Stops the node and waits until its sockets are closed. Every other call fails from then on.
    pub async fn shutdown(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}
