//! How the device follows its configuration and its interface: which changes reach a data plane, and when there is one.

use std::{collections::BTreeSet, time::Duration};

use tidewire_clock as clock;
use tidewire_dataplane::{Change, Event, driver::Note};
use tidewire_keys::{NodePublic, NodeSecret, Tai64N};
use tidewire_packet::Pool;
use tidewire_transport::Overlay;
use tidewire_tun::Tun;

use crate::{
    device::{
        desired::{Desired, Wanted},
        label::Label,
        lent::Lent,
        running::{Report, Running},
    },
    uapi::{Errno, PeerStatus, Set, Status},
};

/// Changes that one call to the data plane makes: between calls it carries packets.
const CHANGES: usize = 256;

/// Stale packets that are dropped at most: more than the interface's queue holds (500, unless somebody asks for more).
const STALE: usize = 1024;

/// The device, as a machine that its loop drives.
pub(crate) struct Engine {
    desired: Desired,
    tun: Lent<Tun>,
    pool: Pool,
    is_up: bool,
    running: Option<Running>,
    last_stamp: Option<Tai64N>,
    // Peers with a session, so that only the first is news.
    established: BTreeSet<NodePublic>,
}

/// The data plane ended by itself: it panicked.
#[derive(Debug)]
pub(crate) struct Failed;

impl Engine {
    pub(crate) fn new(tun: Tun, pool: Pool) -> Self {
        Self {
            desired: Desired::default(),
            tun: Lent::new(tun),
            pool,
            is_up: false,
            running: None,
            last_stamp: None,
            established: BTreeSet::new(),
        }
    }

    /// Does what was asked for, in order, up to the first thing that cannot be.
    pub(crate) async fn set(&mut self, sets: Vec<Set>) -> Result<(), Errno> {
        let mut changes = Vec::new();
        for set in sets {
            let done = match set {
                Set::Peer(peer) => self.desired.set_peer(peer).map(|change| changes.extend(change)),
                Set::ReplacePeers => {
                    changes.clear();
                    changes.push(self.desired.clear_peers());
                    Ok(())
                }
                set => {
                    self.apply(&mut changes).await?;
                    self.set_device(set).await
                }
            };
            if done.is_err() || changes.len() >= CHANGES {
                self.apply(&mut changes).await?;
            }
            done?;
        }
        self.apply(&mut changes).await
    }

    /// Everything, as it is at the moment.
    pub(crate) async fn status(&mut self) -> Status {
        let reports = match &self.running {
            Some(running) => running.reports().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mut reports = reports.into_iter().peekable();
        let mut peers = Vec::with_capacity(self.desired.peers.len());
        for (key, wanted) in &mut self.desired.peers {
            // Both are in the order of keys.
            while reports.next_if(|report| report.key < *key).is_some() {}
            let report = reports.next_if(|report| report.key == *key);
            peers.push(wanted.status(*key, report.as_ref()));
        }
        let desired = &self.desired;
        Status {
            private_key: desired.secret().cloned(),
            listen_port: desired.listen_port,
            fwmark: desired.fwmark,
            peers,
        }
    }

    /// The interface was brought up or down. While it is down nothing is sent, and no socket is open.
    pub(crate) async fn set_up(&mut self, up: bool) {
        if up == self.is_up {
            return;
        }
        self.is_up = up;
        tracing::info!("interface {}", if up { "up" } else { "down" });
        if self.restart().await.is_err() {
            tracing::warn!(
                "the device stays silent until it gets another port, or is brought down and up again"
            );
        }
    }

    /// The interface's MTU is another one.
    pub(crate) async fn set_mtu(&mut self, mtu: usize) {
        tracing::info!(mtu, "MTU changed");
        if let Some(running) = &self.running
            && let Ok(Err(error)) = running.set_mtu(mtu).await
        {
            tracing::warn!(%error, "the interface's MTU cannot be followed");
        }
    }

    /// Waits for what the data plane tells, and logs it. Never returns while all is well.
    pub(crate) async fn listen(&mut self) -> Failed {
        loop {
            let Some(running) = &mut self.running else { return std::future::pending().await };
            match running.note().await {
                Some(note) => self.log(note),
                None => return Failed,
            }
        }
    }

    /// Ends the data plane, if there is one.
    pub(crate) async fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        self.established.clear();
        let Some((reports, last_stamp)) = running.stop().await else { return };
        self.last_stamp = self.last_stamp.max(last_stamp);
        for report in reports {
            if let Some(wanted) = self.desired.peers.get_mut(&report.key) {
                wanted.keep(&report);
            }
        }
    }

    async fn set_device(&mut self, set: Set) -> Result<(), Errno> {
        match set {
            Set::PrivateKey(key) => self.set_key(key).await,
            Set::ListenPort(port) => self.set_port(port).await,
            Set::Fwmark(mark) => self.set_mark(mark),
            // Peers are the caller's.
            Set::ReplacePeers | Set::Peer(_) => Ok(()),
        }
    }

    async fn set_key(&mut self, key: Option<NodeSecret>) -> Result<(), Errno> {
        if key.as_ref() == self.desired.secret() {
            return Ok(());
        }
        // First, so that what is known of the peers is kept.
        self.stop().await;
        self.forget_stale();
        self.desired.set_key(key);
        match self.desired.public() {
            Some(public) => tracing::info!(public = %Label(public), "private key set"),
            None => tracing::info!("private key taken away"),
        }
        self.restart().await
    }

    async fn set_port(&mut self, port: u16) -> Result<(), Errno> {
        match &self.running {
            Some(running) if running.port() != port => {
                running.rebind(port).map_err(|error| {
                    tracing::warn!(port, %error, "the port cannot be listened on");
                    Errno::PortInUse
                })?;
                self.desired.listen_port = running.port();
                tracing::info!(port = running.port(), "listening");
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                self.desired.listen_port = port;
                self.forget_stale();
                self.restart().await
            }
        }
    }

    fn set_mark(&mut self, mark: u32) -> Result<(), Errno> {
        if mark != self.desired.fwmark
            && let Some(running) = &self.running
        {
            running.set_mark(mark).map_err(|error| {
                tracing::warn!(mark, %error, "the mark was refused");
                Errno::PortInUse
            })?;
        }
        self.desired.fwmark = mark;
        Ok(())
    }

    /// What was sent while the interface was up and nobody read it is not sent late.
    fn forget_stale(&self) {
        if self.is_up {
            self.tun.discard_waiting(STALE);
        }
    }

    /// Starts or ends the data plane where that is due.
    async fn restart(&mut self) -> Result<(), Errno> {
        let Some(secret) = self.desired.secret().filter(|_| self.is_up).cloned() else {
            self.stop().await;
            return Ok(());
        };
        if self.running.is_some() {
            return Ok(());
        }
        let overlay: Box<dyn Overlay> = Box::new(self.tun.lend());
        match Running::start(secret, &self.desired, overlay, &self.pool, self.last_stamp).await {
            Ok(running) => {
                self.desired.listen_port = running.port();
                tracing::info!(port = running.port(), "listening");
                self.running = Some(running);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(port = self.desired.listen_port, %error, "the data plane cannot start");
                Err(Errno::PortInUse)
            }
        }
    }

    async fn apply(&self, changes: &mut Vec<Change>) -> Result<(), Errno> {
        let changes = std::mem::take(changes);
        let Some(running) = self.running.as_ref().filter(|_| !changes.is_empty()) else { return Ok(()) };
        match running.apply(changes).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a change was refused");
                Err(Errno::Invalid)
            }
            Err(_) => Err(Errno::Gone),
        }
    }

    fn log(&mut self, note: Note) {
        match note {
            Note::Event(Event::Established { peer }) if self.established.insert(peer) => {
                tracing::info!(peer = %Label(peer), "session established");
            }
            Note::Event(Event::Established { peer }) => {
                tracing::debug!(peer = %Label(peer), "session renewed")
            }
            Note::Event(Event::Switched { peer, to, reason, .. }) => {
                tracing::debug!(peer = %Label(peer), endpoint = %to, %reason, "endpoint");
            }
            Note::Event(Event::GaveUp { peer }) => {
                tracing::info!(peer = %Label(peer), "no answer to handshakes, trying no more");
            }
            Note::Event(Event::Expired { peer }) => {
                self.established.remove(&peer);
                tracing::info!(peer = %Label(peer), "session over, keys wiped");
            }
            Note::Fault { fault, .. } => tracing::warn!(%fault, "transport failed"),
            Note::Slept => tracing::info!("the machine slept"),
            Note::Event(event) => tracing::debug!(?event),
        }
    }
}

impl Wanted {
    /// Keeps what a data plane that ends knows of this peer.
    fn keep(&mut self, report: &Report) {
        self.endpoint = report.endpoint.or(self.endpoint);
        self.rx_bytes += report.tunnel.rx_bytes;
        self.tx_bytes += report.tunnel.tx_bytes;
        self.newest_stamp = self.newest_stamp.max(report.tunnel.newest_stamp);
        self.note_handshake(report);
    }

    fn status(&mut self, key: NodePublic, report: Option<&Report>) -> PeerStatus {
        if let Some(report) = report {
            self.note_handshake(report);
        }
        PeerStatus {
            key,
            psk: self.psk.clone(),
            endpoint: report.and_then(|report| report.endpoint).or(self.endpoint),
            last_handshake: self.last_handshake.map(|(_, unix)| unix),
            rx_bytes: self.rx_bytes + report.map_or(0, |report| report.tunnel.rx_bytes),
            tx_bytes: self.tx_bytes + report.map_or(0, |report| report.tunnel.tx_bytes),
            keepalive: self.keepalive,
            allowed_ips: self.prefixes.iter().copied().collect(),
        }
    }

    /// Turns the time of a new handshake into wall time, once.
    fn note_handshake(&mut self, report: &Report) {
        let Some(at) = report.tunnel.last_handshake else { return };
        if self.last_handshake.is_none_or(|(known, _)| known != at) {
            let ago: Duration = clock::now().saturating_duration_since(at);
            self.last_handshake = Some((at, clock::unix_time().saturating_sub(ago)));
        }
    }
}
