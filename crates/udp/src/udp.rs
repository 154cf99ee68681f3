//! The underlay that carries UDP hops, and the handle by which another thread reaches its sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tidewire_packet::{Batch, Pool, Wire};
use tidewire_transport::{Fault, FromUnderlay, Hop, Run, ToUnderlay, Underlay};
use tokio::runtime::Handle;

use crate::{
    avoided::Avoided,
    bind::Sockets,
    config::Config,
    counters::{Counters, Discard},
};

/// UDP sockets of both families, as an underlay: carries [`Hop::Udp`], and [`Hop::Relayed`] to its server as the bytes
/// stand.
#[derive(Debug)]
pub struct Udp {
    shared: Arc<Shared>,
    pool: Pool,
}

/// A handle to the sockets of a [`Udp`], for any thread.
#[derive(Clone, Debug)]
pub struct UdpControl {
    shared: Arc<Shared>,
}

/// Where the sockets are bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LocalAddrs {
    /// The IPv4 socket, if there is one.
    pub v4: Option<SocketAddr>,
    /// The IPv6 socket, if there is one.
    pub v6: Option<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    // The runtime that the sockets are registered with, whoever rebinds them.
    runtime: Handle,
    // Uncontended but for the moments of a control call.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Config,
    sockets: Sockets,
    counters: Counters,
    avoided: Avoided,
    // Which family is asked first the next time, so that a busy one does not starve the other.
    v6_first: bool,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

impl Udp {
    /// Binds the sockets. Slabs for what arrives come from `pool`.
    ///
    /// # Errors
    /// What the system said: `AddrInUse`, most often, or `PermissionDenied` for a low port or a mark. Also if there is no
    /// tokio runtime around.
    ///
    /// # Panics
    /// If the runtime around was built without I/O.
    pub fn bind(config: Config, pool: Pool) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let sockets = Sockets::open(&config, config.port)?;
        let state = State {
            config,
            sockets,
            counters: Counters::default(),
            avoided: Avoided::default(),
            v6_first: false,
            receiver: None,
            sender: None,
        };
        Ok(Self { shared: Arc::new(Shared { runtime, state: Mutex::new(state) }), pool })
    }

    /// A handle to the sockets, for any thread.
    #[must_use]
    pub fn control(&self) -> UdpControl {
        UdpControl { shared: Arc::clone(&self.shared) }
    }

    /// Where the sockets are bound.
    #[must_use]
    pub fn local_addrs(&self) -> LocalAddrs {
        self.shared.lock().local_addrs()
    }
}

impl Underlay for Udp {
    fn carries(&self, hop: &Hop) -> bool {
        hop.socket_addr().is_some()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>> {
        self.shared.lock().poll_recv(cx, &self.pool, into)
    }

    /// Never a fault: what the system refuses is counted ([`Counters::discards`]).
    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<Result<(), Fault>> {
        let mut state = self.shared.lock();
        let sent =
            item.take_runs(|hop| hop.socket_addr().is_some(), |batch, run| state.poll_run(cx, batch, run));
        if sent.is_pending() {
            remember(&mut state.sender, cx);
        }
        sent.map(Ok)
    }
}

impl UdpControl {
    /// Where the sockets are bound.
    #[must_use]
    pub fn local_addrs(&self) -> LocalAddrs {
        self.shared.lock().local_addrs()
    }

    /// What the sockets did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.lock().counters
    }

    /// Binds anew: to `port`, or with `None` to the same port as before, or another where that is taken. For a change of
    /// the listening port, and for systems that tie a socket to the network it was made on. What was not yet received
    /// is lost.
    ///
    /// # Errors
    /// What the system said. The old sockets stay then, if another port was asked for; else there are none, datagrams are
    /// discarded and counted, and a later call may help.
    pub fn rebind(&self, port: Option<u16>) -> io::Result<LocalAddrs> {
        let _inside = self.shared.runtime.enter();
        let mut state = self.shared.lock();
        let result = state.rebind(port);
        // The old sockets took the wake-ups that were arranged with them.
        for waker in [state.receiver.take(), state.sender.take()].into_iter().flatten() {
            waker.wake();
        }
        result.map(|()| state.local_addrs())
    }

    /// Sends nothing to addresses in these prefixes from now on, whatever was avoided before; host bits count for nothing. For a
    /// tunnel whose routes lead there: the system would hand every datagram back to it, to be sent again.
    pub fn avoid(&self, prefixes: &[(IpAddr, u8)]) {
        let avoided = Avoided::new(prefixes);
        self.shared.lock().avoided = avoided;
    }

    /// Sets the mark of outgoing datagrams (`SO_MARK`), for policy routing; 0 for none. Kept over a rebind.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`; `Unsupported` elsewhere than on Linux.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        let mut state = self.shared.lock();
        for socket in [&state.sockets.v4, &state.sockets.v6].into_iter().flatten() {
            socket.set_mark(mark)?;
        }
        state.config.mark = mark;
        Ok(())
    }
}

impl LocalAddrs {
    /// The port that both sockets share, or the IPv4 socket's where they do not.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.v4.or(self.v6).map(|addr| addr.port())
    }

    /// Each of `ips` with the port by which its family's socket can be reached there; without those that it cannot.
    #[must_use]
    pub fn reachable_at(&self, ips: &[IpAddr]) -> Vec<SocketAddr> {
        let at = |ip: &IpAddr| {
            let local = if ip.is_ipv4() { self.v4 } else { self.v6 }?;
            (local.ip().is_unspecified() || local.ip() == *ip).then(|| SocketAddr::new(*ip, local.port()))
        };
        ips.iter().filter_map(at).collect()
    }
}

impl Shared {
    // A panic while the lock was held left sockets and counters, each of them whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn local_addrs(&self) -> LocalAddrs {
        let Sockets { v4, v6 } = &self.sockets;
        LocalAddrs { v4: v4.as_ref().map(|s| s.local()), v6: v6.as_ref().map(|s| s.local()) }
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        pool: &Pool,
        into: &mut FromUnderlay,
    ) -> Poll<Result<(), Fault>> {
        let v6_first = self.v6_first;
        let Sockets { v4, v6 } = &mut self.sockets;
        for (is_v6, socket) in if v6_first { [(true, v6), (false, v4)] } else { [(false, v4), (true, v6)] } {
            let Some(socket) = socket else { continue };
            if let Poll::Ready(result) = socket.poll_fill(cx, pool, into, &mut self.counters) {
                self.v6_first = !is_v6;
                return Poll::Ready(result);
            }
        }
        remember(&mut self.receiver, cx);
        Poll::Pending
    }

    fn poll_run(&mut self, cx: &mut Context<'_>, batch: &Batch<Wire>, run: &mut Run) -> Poll<()> {
        let Some(to) = run.hop.socket_addr() else { return Poll::Ready(()) };
        if self.avoided.contains(to.ip()) {
            self.counters.discards.add(Discard::Avoided, u64::from(run.count));
            return Poll::Ready(());
        }
        let Sockets { v4, v6 } = &mut self.sockets;
        match if to.is_ipv4() { v4 } else { v6 } {
            Some(socket) => socket.poll_run(cx, batch, run, to, &mut self.counters),
            None => {
                self.counters.discards.add(Discard::NoSocket, u64::from(run.count));
                Poll::Ready(())
            }
        }
    }

    fn rebind(&mut self, port: Option<u16>) -> io::Result<()> {
        let current = self.local_addrs().port().unwrap_or(self.config.port);
        match port.filter(|port| *port != current) {
            Some(port) => {
                self.sockets = Sockets::open(&self.config, port)?;
                self.config.port = port;
            }
            None => {
                self.sockets = Sockets::NONE;
                self.sockets = Sockets::open(&self.config, current).or_else(|error| match port {
                    None => Sockets::open(&self.config, 0),
                    Some(_) => Err(error),
                })?;
            }
        }
        Ok(())
    }
}

/// Keeps the waker of the task that waits, to wake it when a rebind takes the sockets away.
fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}
