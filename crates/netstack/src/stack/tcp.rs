//! What a connection's owner may do: dial, write, read, close its half, let go.

use std::{net::SocketAddr, time::Instant};

use smoltcp::{
    socket::tcp::{CongestionControl, Socket, SocketBuffer, State},
    time,
    wire::IpListenEndpoint,
};

use super::{
    SocketId, Stack,
    connection::{Origin, Tcp},
    inspect::Flow,
    slots::{Kind, Slot},
};
use crate::{DialError, End, address::source_for, config::is_host};

/// Bytes of the TCP header and of the IP header before it, without options.
const HEADERS_V4: usize = 20 + 20;
const HEADERS_V6: usize = 20 + 40;

/// How a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Whether it is, or was, established.
    pub established: bool,
    /// Bytes that can be read.
    pub readable: usize,
    /// Bytes that can be written.
    pub writable: usize,
    /// Whether the other end has closed its half and everything it sent was read.
    pub eof: bool,
    /// Whether the other end has acknowledged everything, the closing of this half included.
    pub delivered: bool,
    /// How it ended, once it has. What can be read still can be.
    pub end: Option<End>,
}

impl Stack {
    /// Begins to connect to `remote`, from the own address nearest to it and a random port. An IPv4 address may be
    /// written as IPv6.
    ///
    /// # Errors
    /// [`DialError`] where it cannot even begin. What comes later is in the [`Status`].
    pub fn dial(&mut self, now: Instant, remote: SocketAddr) -> Result<SocketId, DialError> {
        self.advance(now);
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        if remote.port() == 0 || !is_host(remote.ip()) {
            return Err(DialError::Unaddressable);
        }
        let source = source_for(&self.addresses, remote.ip()).ok_or(DialError::NoAddress)?;
        let (flows, own) = (&self.flows, self.addresses.contains(&remote.ip()));
        let flow_from = |port| Flow { remote, local: SocketAddr::new(source, port) };
        let is_free = |port| !(flows.contains_key(&flow_from(port)) || own && port == remote.port());
        let port = self.random.port(is_free).ok_or(DialError::PortsExhausted)?;
        let flow = flow_from(port);
        let mut socket = self.socket().ok_or(DialError::TooManySockets)?;
        let local = IpListenEndpoint { addr: Some(source.into()), port };
        socket.connect(self.engine.context(), remote, local).map_err(|_| DialError::Unaddressable)?;
        let tcp = Tcp::new(self.now, flow, Origin::Dialled, self.mss(&flow));
        let index = self.add(tcp, socket);
        self.activate(index);
        self.slots.id(index).ok_or(DialError::TooManySockets)
    }

    /// How a connection stands; `None` for one that was let go of.
    #[must_use]
    pub fn status(&self, id: SocketId) -> Option<Status> {
        let (tcp, socket) = self.slots.peek(id)?.peek_tcp()?;
        let state = socket.state();
        let finished = tcp.end == Some(End::Finished);
        let half_closed =
            matches!(state, State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        Some(Status {
            local: tcp.flow.local,
            remote: tcp.flow.remote,
            established: tcp.established,
            readable: socket.recv_queue(),
            writable: if socket.may_send() && !tcp.closing {
                socket.send_capacity() - socket.send_queue()
            } else {
                0
            },
            eof: socket.recv_queue() == 0 && (half_closed || finished),
            delivered: matches!(state, State::FinWait2 | State::TimeWait) || finished,
            end: tcp.end,
        })
    }

    /// Takes as much of `bytes` as there is room for, and returns how much: zero also where nothing can be written.
    pub fn send(&mut self, id: SocketId, bytes: &[u8]) -> usize {
        let Some(index) = self.slots.index(id) else { return 0 };
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return 0 };
        let taken = if tcp.closing { 0 } else { socket.send_slice(bytes).unwrap_or(0) };
        if taken > 0 {
            self.activate(index);
        }
        taken
    }

    /// Appends up to `most` bytes that arrived to `into`, and returns how many.
    pub fn recv(&mut self, id: SocketId, most: usize, into: &mut Vec<u8>) -> usize {
        let Some(index) = self.slots.index(id) else { return 0 };
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return 0 };
        let before = into.len();
        // The buffer is a ring, so what lies in it may come in two pieces.
        for _ in 0..2 {
            let left = most - (into.len() - before);
            let copied = socket.recv(|bytes| {
                let count = bytes.len().min(left);
                into.extend_from_slice(&bytes[..count]);
                (count, ())
            });
            if copied.is_err() {
                break;
            }
        }
        let taken = into.len() - before;
        tcp.read = tcp.read.wrapping_add(u32::try_from(taken).unwrap_or(u32::MAX));
        if taken > 0 {
            self.activate(index);
        }
        taken
    }

    /// Closes this half: what was taken by [`send`](Self::send) still goes out, then the end.
    pub fn shutdown(&mut self, id: SocketId) {
        let Some(index) = self.slots.index(id) else { return };
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        if tcp.seen == State::SynSent {
            return self.end(index, End::Aborted);
        }
        tcp.closing = socket.may_send();
        self.activate(index);
    }

    /// Lets go of a connection. What was taken by [`send`](Self::send) is still delivered and the end follows; but where
    /// bytes were not read, or arrive later, the other end sees a reset (RFC 2525, 2.17).
    pub fn close(&mut self, now: Instant, id: SocketId) {
        self.advance(now);
        let Some(index) = self.slots.index(id) else { return };
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        tcp.abandon(now);
        if tcp.seen == State::TimeWait {
            self.linger(index);
        } else if socket.can_recv() {
            self.end(index, End::Aborted);
        } else {
            self.shutdown(id);
        }
        self.settle(index);
        self.activate(index);
        self.schedule(index);
    }

    /// Lets go of a connection at once: nothing more is delivered, the other end sees a reset.
    pub fn abort(&mut self, now: Instant, id: SocketId) {
        self.advance(now);
        let Some(index) = self.slots.index(id) else { return };
        let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        tcp.abandon(now);
        self.end(index, End::Aborted);
        self.settle(index);
    }

    /// Ends a connection from this side, with a reset to the other.
    pub(super) fn end(&mut self, index: u32, end: End) {
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        tcp.end.get_or_insert(end);
        socket.abort();
        self.activate(index);
    }

    /// Draws the conclusions of a new state.
    pub(super) fn entered(&mut self, index: u32, before: State, state: State) {
        let Some(id) = self.slots.id(index) else { return };
        let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        let origin = tcp.origin;
        if state == State::Closed {
            tcp.end.get_or_insert(match before {
                State::SynSent => End::Refused,
                State::LastAck | State::TimeWait => End::Finished,
                _ => End::Reset,
            });
        }
        if before == State::SynReceived {
            match state {
                // smoltcp answers a reset in this state by listening again.
                State::Listen => return self.release_half_open(index),
                State::Closed => tcp.abandoned |= origin != Origin::Dialled,
                _ => tcp.established = true,
            }
            self.handshake_over(origin);
            if state != State::Closed {
                self.arrived(origin, id);
            }
        } else if before == State::SynSent && state == State::Established {
            tcp.established = true;
        } else if state == State::TimeWait && tcp.abandoned {
            self.linger(index);
        }
        self.note(index);
    }

    /// A socket with buffers as large as the limits allow; where they allow none, the oldest connection that merely
    /// answers late packets makes room.
    pub(super) fn socket(&mut self) -> Option<Socket<'static>> {
        loop {
            if let Some((receive, send)) = self.slots.buffers() {
                let mut socket =
                    Socket::new(SocketBuffer::new(vec![0; receive]), SocketBuffer::new(vec![0; send]));
                socket.set_congestion_control(CongestionControl::None);
                socket.set_ack_delay(None);
                socket.set_keep_alive(self.timeouts.keepalive.map(time::Duration::from));
                return Some(socket);
            }
            if !self.forget_lingering() {
                return None;
            }
        }
    }

    pub(super) fn add(&mut self, mut tcp: Tcp, socket: Socket<'static>) -> u32 {
        let flow = tcp.flow;
        let memory = socket.recv_capacity() + socket.send_capacity();
        tcp.seen = socket.state();
        let id = self.slots.insert(Slot::new(socket, Kind::Tcp(tcp), memory));
        let index = self.slots.index(id).expect("it was just inserted");
        self.flows.insert(flow, index);
        self.last = None;
        index
    }

    /// Most bytes of payload in a segment of this flow.
    pub(super) fn mss(&self, flow: &Flow) -> usize {
        self.mtu - if flow.local.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 }
    }

    fn linger(&mut self, index: u32) {
        let now = self.now;
        let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        tcp.lingers = Some(now);
        self.lingering.insert((now, index));
    }

    fn forget_lingering(&mut self) -> bool {
        let Some(&(_, index)) = self.lingering.first() else { return false };
        self.release(index);
        true
    }
}
