//! How a stack is made, and what its handle can do.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use tidewire_clock as clock;
use tidewire_packet::Pool;
use tidewire_transport::{QueuedOverlay, queued_overlay};

use super::{
    hall::Hall,
    listener::TcpListener,
    lock,
    mailbox::Mailbox,
    post::Post,
    stream::TcpStream,
    task::{Task, Wiring},
    udp::UdpSocket,
};
use crate::{
    BindError, Config, ConfigError, DialError, Local, SendError, Stack, Tally,
    config::Limits,
    stack::{Random, route},
};

/// Makes a stack: the overlay to attach to the data plane, the handle for programs, and the task that is the stack.
///
/// The task needs a tokio runtime with I/O and time enabled; it may be another one than the handles' users have. It ends
/// when the overlay is dropped. When it ends or is dropped, every stream and socket fails with `NotConnected`.
///
/// # Errors
/// [`ConfigError`] if the configuration cannot work.
pub fn netstack(
    config: Config,
    pool: Pool,
) -> Result<(QueuedOverlay, Net, impl Future<Output = ()> + Send + 'static), ConfigError> {
    let stack = Stack::new(clock::now(), &config, pool.clone())?;
    let (overlay, tx, rx) = queued_overlay(config.limits.queue, pool, config.overlay, config.mtu);
    let net = Net { mailbox: Arc::new(Mailbox::default()), facts: Arc::new(Facts::new(&config, &stack)) };
    let wiring = Wiring { tx, rx, mailbox: Arc::clone(&net.mailbox), facts: Arc::clone(&net.facts) };
    Ok((overlay, net, Task::new(stack, &config, wiring)))
}

/// A handle to a stack. Clones are the same stack.
#[derive(Clone)]
pub struct Net {
    mailbox: Arc<Mailbox>,
    facts: Arc<Facts>,
}

/// What handles know without asking the task.
pub(super) struct Facts {
    addresses: Vec<IpAddr>,
    mtu: usize,
    pub(super) limits: Limits,
    pub(super) tally: Arc<Tally>,
    places: Mutex<Places>,
}

/// Which places are taken. The task takes them a little later.
struct Places {
    listeners: BTreeSet<Local>,
    bound: BTreeSet<Local>,
    random: Random,
}

impl Net {
    /// Connects to `to`, from the own address nearest to it. Dropping the future gives the attempt up.
    ///
    /// # Errors
    /// [`DialError`] says why there is no connection.
    pub async fn dial_tcp(&self, to: SocketAddr) -> Result<TcpStream, DialError> {
        let stream = TcpStream::dial(to, Arc::clone(&self.mailbox));
        stream.connected().await?;
        Ok(stream)
    }

    /// Listens at a port, or at one own address and a port. Port zero takes a free one.
    ///
    /// # Errors
    /// [`BindError`] says why that cannot be.
    pub fn listen_tcp(&self, at: impl Into<Local>) -> Result<TcpListener, BindError> {
        let local = self.facts.take(at.into(), |places| &mut places.listeners)?;
        let hall = Hall::new(local, Arc::clone(&self.facts), Arc::clone(&self.mailbox));
        let listener = TcpListener::over(Arc::clone(&hall));
        if hall.announce() { Ok(listener) } else { Err(BindError::Closed) }
    }

    /// Binds a UDP socket to a port, or to one own address and a port. Port zero takes a free one.
    ///
    /// # Errors
    /// [`BindError`] says why that cannot be.
    pub fn udp_bind(&self, at: impl Into<Local>) -> Result<UdpSocket, BindError> {
        let Facts { tally, limits, .. } = &*self.facts;
        if !tally.has_room(limits, 2 * limits.datagrams) {
            return Err(BindError::TooManySockets);
        }
        let local = self.facts.take(at.into(), |places| &mut places.bound)?;
        let post = Post::new(local, Arc::clone(&self.facts), Arc::clone(&self.mailbox));
        let socket = UdpSocket::over(Arc::clone(&post));
        if post.announce() { Ok(socket) } else { Err(BindError::Closed) }
    }

    /// Says that a path to some node was replaced: connections that have gone without a sign of life send again at once. See
    /// [`Stack::nudge`]. Never waits.
    pub fn nudge(&self) {
        self.mailbox.nudge();
    }

    /// How often packets were discarded, and how many sockets there are.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.facts.tally
    }

    /// The stack's own addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.facts.addresses
    }
}

impl Facts {
    fn new(config: &Config, stack: &Stack) -> Self {
        let places = Places {
            listeners: BTreeSet::new(),
            bound: BTreeSet::new(),
            random: Random::new(config.seed, Random::PLACES),
        };
        Self {
            addresses: config.addresses.clone(),
            mtu: config.mtu,
            limits: config.limits.clamped(),
            tally: stack.tally(),
            places: Mutex::new(places),
        }
    }

    fn take(&self, at: Local, of: impl Fn(&mut Places) -> &mut BTreeSet<Local>) -> Result<Local, BindError> {
        let mut places = lock(&self.places);
        let taken = std::mem::take(of(&mut places));
        let local = places.random.bind(&self.addresses, at, |local| !taken.contains(&local));
        *of(&mut places) = taken;
        if let Ok(local) = local {
            of(&mut places).insert(local);
        }
        local
    }

    /// Nobody listens there any more.
    pub(super) fn free_listener(&self, local: Local) {
        lock(&self.places).listeners.remove(&local);
    }

    /// Nobody is bound there any more.
    pub(super) fn free_bound(&self, local: Local) {
        lock(&self.places).bound.remove(&local);
    }

    /// From where a datagram goes, and in which form its destination is; or why it cannot.
    pub(super) fn route(&self, local: Local, len: usize, to: SocketAddr) -> Result<SocketAddr, SendError> {
        route(&self.addresses, self.mtu, local, len, to).map(|(_, to)| to)
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("addresses", &self.facts.addresses).finish_non_exhaustive()
    }
}
