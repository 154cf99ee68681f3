//! The loop around a check: sockets, names and HTTP. It decides nothing.

use std::{
    future::Future,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tidewire_clock::{self as clock, Sleep};
use tidewire_derp::{
    RegionId, Regions,
    client::{Names, Probe},
    proxy::Proxies,
};
use tidewire_keys::Seed;
use tokio::{net::UdpSocket, task::JoinSet};

use crate::{
    check::{Action, Check, NodeId},
    plan::Extent,
    report::Report,
};

/// No answer of STUN is longer; what is longer is cut, and then none.
const DATAGRAM: usize = 1500;
/// How long a request may wait for room in the socket.
const SEND: Duration = Duration::from_millis(5);

/// Runs checks. Cheap to clone; names that were found are shared with the `Names` it was made with.
#[derive(Clone, Debug)]
pub struct Netcheck {
    names: Names,
    probe: Probe,
}

impl Netcheck {
    /// Asks relays over HTTPS through these proxies, where they are for them. `extra_roots` are certificates (DER) of
    /// authorities that are trusted beside the system's.
    #[must_use]
    pub fn new(names: Names, proxies: Proxies, extra_roots: Vec<Vec<u8>>) -> Self {
        let probe = Probe::new(names.clone(), proxies, extra_roots);
        Self { names, probe }
    }

    /// Checks once; done within five seconds. See [`Check::new`] for what is asked of it. A network that gives no socket is one
    /// that lets nothing through, so there is a report in any case. Needs a tokio runtime with I/O and time.
    pub fn run(
        &self,
        map: &Regions,
        extent: Extent<'_>,
        home: Option<RegionId>,
        seed: &Seed,
    ) -> impl Future<Output = Report> + Send + use<> {
        let check = Check::new(clock::now(), map, extent, home, seed);
        let tools = self.clone();
        async move { Run::new(check, tools).await.finish().await }
    }
}

/// A check that is under way, and what it uses.
struct Run {
    check: Check,
    tools: Netcheck,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    jobs: JoinSet<Found>,
}

/// What a job found.
enum Found {
    Servers(NodeId, Vec<SocketAddr>),
    Https(NodeId, Result<Duration, String>),
    Portal(Option<bool>),
}

impl Run {
    async fn new(check: Check, tools: Netcheck) -> Self {
        let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok();
        let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok();
        Self { check, tools, v4, v6, jobs: JoinSet::new() }
    }

    async fn finish(mut self) -> Report {
        let (mut v4_buffer, mut v6_buffer) = ([0; DATAGRAM], [0; DATAGRAM]);
        let mut sleep = Sleep::until(clock::now());
        loop {
            self.check.process_events(clock::now());
            while let Some(action) = self.check.pop_action() {
                self.act(action).await;
            }
            let Some((wake, _)) = self.check.next_event() else { return self.check.report() };
            sleep.reset(wake);
            tokio::select! {
                () = &mut sleep => {}
                Some((source, len)) = receive(self.v4.as_ref(), &mut v4_buffer) => {
                    self.arrived(source, &v4_buffer[..len]);
                }
                Some((source, len)) = receive(self.v6.as_ref(), &mut v6_buffer) => {
                    self.arrived(source, &v6_buffer[..len]);
                }
                Some(Ok(found)) = self.jobs.join_next() => self.found(found),
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Stun { server, tx, datagram } => {
                let socket = if server.is_ipv4() { &self.v4 } else { &self.v6 };
                let sent = match socket {
                    // What a full buffer holds up for so long is a loss like any other, and tells no latency.
                    Some(socket) => match clock::timeout(SEND, socket.send_to(&datagram, server)).await {
                        Ok(sent) => sent.map(drop),
                        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
                    },
                    None => Err(std::io::ErrorKind::Unsupported.into()),
                };
                if let Err(error) = sent {
                    tracing::debug!(%server, %error, "STUN cannot be sent");
                    self.check.unsent(clock::now(), tx);
                }
            }
            Action::Hairpin { to, datagram } => {
                if let Ok(other) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await {
                    // What cannot be sent does not come back.
                    drop(other.send_to(&datagram, to).await);
                }
            }
            Action::Resolve(node) => self.resolve(node),
            Action::Https(node) => self.ask_https(node),
            Action::Portal { node, challenge } => self.ask_plainly(node, challenge),
        }
    }

    fn resolve(&mut self, id: NodeId) {
        let Some(node) = self.check.node(id).cloned() else { return };
        let names = self.tools.names.clone();
        self.jobs.spawn(async move { Found::Servers(id, names.stun(&node).await) });
    }

    fn ask_https(&mut self, id: NodeId) {
        let Some(node) = self.check.node(id).cloned() else { return };
        let probe = self.tools.probe.clone();
        self.jobs.spawn(async move {
            Found::Https(id, probe.latency(&node).await.map_err(|error| error.to_string()))
        });
    }

    fn ask_plainly(&mut self, id: NodeId, challenge: [u8; 16]) {
        let Some(node) = self.check.node(id).cloned() else { return };
        let probe = self.tools.probe.clone();
        self.jobs.spawn(async move { Found::Portal(probe.is_relay(&node, challenge).await.ok()) });
    }

    fn arrived(&mut self, source: SocketAddr, datagram: &[u8]) {
        if !self.check.received(clock::now(), source, datagram) {
            tracing::trace!(%source, "not for this check");
        }
    }

    fn found(&mut self, found: Found) {
        let now = clock::now();
        match found {
            Found::Servers(node, servers) => self.check.resolved(now, node, servers),
            Found::Https(node, answer) => self.check.https(now, node, answer),
            Found::Portal(is_relay) => self.check.portal(is_relay),
        }
    }
}

/// The next datagram. A socket that is not there brings none, and neither does an error: on Linux that is an earlier datagram that
/// was refused, and the next try finds what follows.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
    let Some(socket) = socket else { return std::future::pending().await };
    socket.recv_from(buffer).await.ok().map(|(len, source)| (source, len))
}
