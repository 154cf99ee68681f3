//! How connections come in: a listener, its backlog, and who may open another one.

use std::{collections::VecDeque, time::Instant};

use smoltcp::{socket::tcp::State, wire::IpListenEndpoint};

use super::{
    Event, SocketId, Stack,
    connection::{Origin, Tcp},
    inspect::Segment,
    tally::Discard,
};
use crate::{BindError, Local};

/// One listener.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Established connections that nobody has accepted.
    waiting: VecDeque<SocketId>,
    /// Connections whose handshake is under way.
    half_open: usize,
}

/// What becomes of a segment that would open a connection.
pub(super) enum Welcome {
    /// It goes to this new socket.
    Socket(u32),
    /// Nobody listens there.
    Nobody,
    /// There is no room for it: it will be repeated.
    Full(Discard),
}

impl Stack {
    /// Listens for connections. Where one own address is named, that listener goes before one for all addresses. Port
    /// zero takes a free one. Returns where it listens.
    ///
    /// # Errors
    /// [`BindError`] where it cannot.
    pub fn listen(&mut self, local: impl Into<Local>) -> Result<Local, BindError> {
        let listeners = &self.listeners;
        let local =
            self.random.bind(&self.addresses, local.into(), |local| !listeners.contains_key(&local))?;
        self.listeners.insert(local, Listening::default());
        Ok(local)
    }

    /// The oldest connection that waits for the listener at `local`. Its owner must [close](Self::close) it some time.
    pub fn accept(&mut self, local: Local) -> Option<SocketId> {
        self.listeners.get_mut(&local)?.waiting.pop_front()
    }

    /// Stops listening at `local`. Connections that were not accepted are reset.
    pub fn unlisten(&mut self, now: Instant, local: Local) {
        let Some(listening) = self.listeners.remove(&local) else { return };
        for id in listening.waiting {
            self.abort(now, id);
        }
        for index in self.slots.indexes() {
            let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { continue };
            if tcp.seen == State::SynReceived && tcp.origin == Origin::Accepted(local) {
                self.release_half_open(index);
            }
        }
    }

    /// Makes a socket for a segment that opens a connection, if someone listens there and there is room.
    pub(super) fn welcome(&mut self, segment: &Segment) -> Welcome {
        let flow = segment.flow;
        let exact = Local { address: Some(flow.local.ip()), port: flow.local.port() };
        let any = Local { address: None, ..exact };
        let Some(local) = [exact, any].into_iter().find(|local| self.listeners.contains_key(local)) else {
            return Welcome::Nobody;
        };
        let most = self.backlog;
        let is_full = |listening: &Listening| listening.half_open >= most || listening.waiting.len() >= most;
        if self.listeners.get(&local).is_none_or(is_full) {
            return Welcome::Full(Discard::Backlog);
        }
        let Some(mut socket) = self.socket() else { return Welcome::Full(Discard::Sockets) };
        let place = IpListenEndpoint { addr: Some(flow.local.ip().into()), port: flow.local.port() };
        if socket.listen(place).is_err() {
            return Welcome::Nobody;
        }
        let tcp = Tcp::new(self.now, flow, Origin::Accepted(local), self.mss(&flow));
        Welcome::Socket(self.add(tcp, socket))
    }

    /// Counts a new connection as half open, if it became one; else forgets it.
    pub(super) fn welcomed(&mut self, index: u32) {
        let now = self.now;
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        if socket.state() != State::SynReceived {
            return self.release(index);
        }
        tcp.enter(now, State::SynReceived);
        if let Origin::Accepted(local) = tcp.origin
            && let Some(listening) = self.listeners.get_mut(&local)
        {
            listening.half_open += 1;
        }
        self.activate(index);
    }

    /// Hands an established connection to its listener.
    pub(super) fn arrived(&mut self, origin: Origin, id: SocketId) {
        let Origin::Accepted(local) = origin else { return };
        match self.listeners.get_mut(&local) {
            Some(listening) => {
                listening.waiting.push_back(id);
                self.events.push_back(Event::Incoming(local));
            }
            None => self.abort(self.now, id),
        }
    }

    /// A handshake came to its end, in whichever way.
    pub(super) fn handshake_over(&mut self, origin: Origin) {
        if let Origin::Accepted(local) = origin
            && let Some(listening) = self.listeners.get_mut(&local)
        {
            listening.half_open = listening.half_open.saturating_sub(1);
        }
    }

    /// Forgets a connection whose handshake is under way. The other end learns it when it next sends something.
    pub(super) fn release_half_open(&mut self, index: u32) {
        if let Some((tcp, _)) = self.slots.at(index).and_then(|slot| slot.tcp()) {
            tcp.seen = State::SynReceived;
        }
        self.release(index);
    }
}
