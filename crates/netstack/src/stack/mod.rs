//! What the machine is: packets and calls in, packets and events out, with the time as an argument.

mod connection;
mod cubic;
mod engine;
mod ingress;
mod inspect;
mod listen;
mod options;
mod outgoing;
mod random;
mod rtt;
mod sender;
mod sequence;
mod slots;
mod tally;
mod tcp;
mod transmit;
mod udp;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use smoltcp::{iface::SocketSet, socket::tcp::State};
use tidewire_packet::{Batch, Plain, Pool};

pub use slots::SocketId;
pub use tally::{Discard, Tally};
pub use tcp::Status;
#[cfg(feature = "tokio")]
pub(crate) use {random::Random, udp::route};

use crate::{Config, ConfigError, Local, config::Timeouts};
use engine::Engine;
use inspect::Flow;
use listen::Listening;
#[cfg(not(feature = "tokio"))]
use random::Random;
use slots::{Kind, Slots};
use transmit::Turn;

/// A TCP/IP stack without socket, clock, task or source of randomness.
///
/// Its owner gives it what arrives with [`process_inbound`](Self::process_inbound), then takes
/// [events](Self::poll_event) until there are none, and batches from [`poll_transmit`](Self::poll_transmit) until there
/// are none; the latter also after every other call. It sleeps until [`next_event`](Self::next_event), and then polls
/// for batches and events again. While nobody takes batches, nothing should be brought in either: then senders feel it.
pub struct Stack {
    addresses: Vec<IpAddr>,
    mtu: usize,
    backlog: usize,
    datagrams: usize,
    timeouts: Timeouts,
    now: Instant,
    engine: Engine,
    slots: Slots,
    flows: BTreeMap<Flow, u32>,
    // Packets of one connection come in a row.
    last: Option<(Flow, u32)>,
    listeners: BTreeMap<Local, Listening>,
    bound: BTreeMap<Local, u32>,
    active: VecDeque<u32>,
    timers: BTreeSet<(Instant, u32)>,
    // Connections that could make room for others, the oldest first.
    lingering: BTreeSet<(Instant, u32)>,
    events: VecDeque<Event>,
    nobody: SocketSet<'static>,
    random: Random,
    tally: Arc<Tally>,
}

/// What happened. Each waits at most once for each socket: look at the socket to see what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The [`Status`] of this connection changed, or it has bytes to read or room to write.
    Tcp(SocketId),
    /// This UDP socket has a datagram, or room again.
    Udp(SocketId),
    /// A connection waits to be [accepted](Stack::accept) by the listener there.
    Incoming(Local),
}

/// Why the stack wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// Something waits to be sent.
    Transmit,
    /// Something was not acknowledged in time.
    Retransmit,
    /// A quiet connection asks whether the other end is there.
    KeepAlive,
    /// A closed connection has answered late packets for long enough.
    TimeWait,
    /// A dial was not answered.
    Dial,
    /// A handshake of an incoming connection was not finished.
    HalfOpen,
    /// A connection that nobody holds did not come to its end.
    Abandoned,
    /// The other end gave no sign of life.
    Dead,
}

impl Stack {
    /// A stack without sockets. `pool` is where its batches come from.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration cannot work.
    pub fn new(now: Instant, config: &Config, pool: Pool) -> Result<Self, ConfigError> {
        config.validate()?;
        let limits = config.limits.clamped();
        let tally = Arc::new(Tally::default());
        let mut random = Random::new(config.seed, Random::STACK);
        let seed = random.draw_u64();
        Ok(Self {
            addresses: config.addresses.clone(),
            mtu: config.mtu,
            backlog: limits.backlog,
            datagrams: limits.datagrams,
            timeouts: config.timeouts,
            now,
            engine: Engine::new(now, &config.addresses, config.mtu, seed, pool),
            slots: Slots::new(limits, Arc::clone(&tally)),
            flows: BTreeMap::new(),
            last: None,
            listeners: BTreeMap::new(),
            bound: BTreeMap::new(),
            active: VecDeque::new(),
            timers: BTreeSet::new(),
            lingering: BTreeSet::new(),
            events: VecDeque::new(),
            nobody: SocketSet::new(Vec::new()),
            random,
            tally,
        })
    }

    /// The next batch of packets for the overlay, filled as far as there is something to send. `None`: nothing is.
    ///
    /// Does what is due by `now` first. The packets lie so that sealing them leaves datagrams back to back.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Batch<Plain>> {
        self.advance(now);
        self.run_timers();
        if let Some(batch) = self.engine.outgoing.take_full() {
            return Some(batch);
        }
        while let Some(index) = self.active.pop_front() {
            match self.take_turn(index) {
                Turn::Over => {}
                Turn::More => self.active.push_back(index),
                Turn::Blocked => {
                    self.active.push_front(index);
                    break;
                }
            }
        }
        self.engine.outgoing.take_current()
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match event {
            Event::Tcp(id) | Event::Udp(id) => {
                if let Some(slot) = self.slots.get(id) {
                    slot.noted = false;
                }
            }
            Event::Incoming(_) => {}
        }
        Some(event)
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) next, and why. `None`: not before something else happens.
    #[must_use]
    pub fn next_event(&self) -> Option<(Instant, Why)> {
        if !self.active.is_empty() || !self.engine.outgoing.is_empty() {
            return Some((self.now, Why::Transmit));
        }
        let (at, index) = *self.timers.first()?;
        Some((at, self.slots.why(index).unwrap_or(Why::Retransmit)))
    }

    /// Says that a path was replaced: each connection that has gone without a sign of life for a second or more sends
    /// again at once what is unacknowledged, rather than when its timer, which has backed off, runs out. Others are left
    /// alone, so it may be called for any path, and often.
    pub fn nudge(&mut self, now: Instant) {
        self.advance(now);
        for index in self.slots.indexes() {
            let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { continue };
            if tcp.is_stalled(now) {
                tcp.sender.moved(now);
                self.resend(index);
            }
        }
    }

    /// How often packets were discarded, and how many sockets there are; shared with the stack as it goes on.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// The stack's own addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.engine.set_time(self.now);
    }

    /// Gives the socket its turn to send.
    fn activate(&mut self, index: u32) {
        let Some(slot) = self.slots.at(index) else { return };
        if !std::mem::replace(&mut slot.active, true) {
            self.active.push_back(index);
        }
    }

    /// Tells the owner about the socket.
    fn note(&mut self, index: u32) {
        let Some(id) = self.slots.id(index) else { return };
        let Some(slot) = self.slots.at(index) else { return };
        let event = match &slot.kind {
            Kind::Tcp(tcp) if tcp.abandoned => return,
            Kind::Udp(udp) if udp.abandoned => return,
            Kind::Tcp(_) => Event::Tcp(id),
            Kind::Udp(_) => Event::Udp(id),
        };
        if !std::mem::replace(&mut slot.noted, true) {
            self.events.push_back(event);
        }
    }

    /// Draws the conclusions where smoltcp changed a connection's state, or sent the last of a socket.
    fn settle(&mut self, index: u32) {
        let now = self.now;
        let Some(slot) = self.slots.at(index) else { return };
        let Some((tcp, socket)) = slot.tcp() else {
            if slot.udp().is_some_and(|(udp, socket)| udp.abandoned && socket.send_queue() == 0) {
                self.release(index);
            }
            return;
        };
        let state = socket.state();
        let is_over = state == State::Closed && socket.remote_endpoint().is_none();
        if state != tcp.seen {
            let before = tcp.enter(now, state);
            self.entered(index, before, state);
        }
        if is_over {
            self.bury(index);
        }
    }

    /// Forgets the flow of a connection that is over, and the connection if nobody holds it.
    fn bury(&mut self, index: u32) {
        let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        let (flow, abandoned) = (tcp.flow, tcp.abandoned);
        self.forget_flow(&flow, index);
        if abandoned {
            self.release(index);
        }
    }

    fn release(&mut self, index: u32) {
        let Some(slot) = self.slots.remove(index) else { return };
        if let Some((at, _)) = slot.timer {
            self.timers.remove(&(at, index));
        }
        match slot.kind {
            Kind::Tcp(tcp) => {
                self.forget_flow(&tcp.flow, index);
                if tcp.seen == State::SynReceived {
                    self.handshake_over(tcp.origin);
                }
                if let Some(since) = tcp.lingers {
                    self.lingering.remove(&(since, index));
                }
            }
            Kind::Udp(_) => {}
        }
    }

    fn forget_flow(&mut self, flow: &Flow, index: u32) {
        self.last = None;
        if self.flows.get(flow) == Some(&index) {
            self.flows.remove(flow);
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("addresses", &self.addresses)
            .field("sockets", &self.tally.sockets())
            .finish_non_exhaustive()
    }
}
