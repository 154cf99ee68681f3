//! Where datagrams wait, both ways, between a UDP socket's owner and the task.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use super::{
    hall::{register, wake_all},
    lock,
    mailbox::{Mailbox, Woken},
    net::Facts,
};
use crate::{Discard, Local, SendError, SocketId};

/// One UDP socket.
pub(super) struct Post {
    pub(super) local: Local,
    pub(super) facts: Arc<Facts>,
    state: Mutex<State>,
    mailbox: Arc<Mailbox>,
}

struct State {
    socket: Option<SocketId>,
    up: Datagrams,
    down: Datagrams,
    readers: Vec<Waker>,
    writers: Vec<Waker>,
    listed: bool,
    dropped: bool,
    gone: bool,
}

/// Datagrams in order, with the address each is from or for.
#[derive(Debug)]
struct Datagrams {
    heads: VecDeque<(SocketAddr, usize)>,
    bytes: VecDeque<u8>,
    most: usize,
}

/// What a datagram counts beyond its bytes.
const HEAD: usize = size_of::<(SocketAddr, usize)>();

impl Post {
    pub(super) fn new(local: Local, facts: Arc<Facts>, mailbox: Arc<Mailbox>) -> Arc<Self> {
        let most = facts.limits.datagrams;
        let datagrams = || Datagrams { heads: VecDeque::new(), bytes: VecDeque::new(), most };
        let state = State {
            socket: None,
            up: datagrams(),
            down: datagrams(),
            readers: Vec::new(),
            writers: Vec::new(),
            listed: false,
            dropped: false,
            gone: false,
        };
        Arc::new(Self { local, facts, state: Mutex::new(state), mailbox })
    }

    /// Asks the task to bind it. Returns whether there is one.
    pub(super) fn announce(self: &Arc<Self>) -> bool {
        self.mailbox.notify(Woken::Udp(Arc::clone(self)))
    }

    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut state = lock(&self.state);
        match state.up.pop(into) {
            Some(datagram) => Poll::Ready(Ok(datagram)),
            None if state.gone => Poll::Ready(Err(SendError::Closed.into())),
            None => {
                register(&mut state.readers, cx);
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_send(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<Result<(), SendError>> {
        let mut state = lock(&self.state);
        if state.gone {
            return Poll::Ready(Err(SendError::Closed));
        }
        if !state.down.push(bytes, to) {
            register(&mut state.writers, cx);
            return Poll::Pending;
        }
        self.list(&mut state);
        Poll::Ready(Ok(()))
    }

    /// The socket is gone. What was sent still leaves.
    pub(super) fn drop_socket(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.dropped = true;
        self.list(&mut state);
        // Only then, so that the task is done with this one before the next.
        self.facts.free_bound(self.local);
    }

    fn list(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.listed, true) {
            self.announce();
        }
    }
}

/// What the task does.
impl Post {
    pub(super) fn socket(&self) -> Option<SocketId> {
        lock(&self.state).socket
    }

    /// Ties it to its socket.
    pub(super) fn tie(&self, socket: SocketId) {
        lock(&self.state).socket = Some(socket);
    }

    /// Whether the owner let go of it; from now on it wakes the task again.
    pub(super) fn is_dropped(&self) -> bool {
        let mut state = lock(&self.state);
        state.listed = false;
        state.dropped
    }

    /// A datagram arrived. Where the owner does not read, it is dropped and counted.
    pub(super) fn deliver(&self, bytes: &[u8], from: SocketAddr) {
        let mut state = lock(&self.state);
        if state.up.push(bytes, from) {
            wake_all(&mut state.readers);
        } else {
            self.facts.tally.count(Discard::Datagrams);
        }
    }

    /// Hands the oldest datagram to `send`, and removes it if `send` says so. Returns whether it did.
    pub(super) fn offer(&self, send: impl FnOnce(&[u8], SocketAddr) -> bool) -> bool {
        let mut state = lock(&self.state);
        let Some(&(to, len)) = state.down.heads.front() else { return false };
        let taken = send(state.down.oldest(len), to);
        if taken {
            state.down.pop(&mut []);
            wake_all(&mut state.writers);
        }
        taken
    }

    /// Whether datagrams wait to be sent.
    pub(super) fn has_outgoing(&self) -> bool {
        !lock(&self.state).down.heads.is_empty()
    }

    /// The task is gone.
    pub(super) fn fail(&self) {
        let mut state = lock(&self.state);
        state.gone = true;
        wake_all(&mut state.readers);
        wake_all(&mut state.writers);
    }
}

impl Datagrams {
    fn push(&mut self, bytes: &[u8], address: SocketAddr) -> bool {
        let used = self.bytes.len() + self.heads.len() * HEAD;
        if !self.heads.is_empty() && used + bytes.len() + HEAD > self.most {
            return false;
        }
        self.heads.push_back((address, bytes.len()));
        self.bytes.extend(bytes);
        true
    }

    /// Copies as much of the oldest as fits; the rest of it is lost.
    fn pop(&mut self, into: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let (address, len) = self.heads.pop_front()?;
        let copied = len.min(into.len());
        let (a, b) = self.bytes.as_slices();
        let first = a.len().min(copied);
        into[..first].copy_from_slice(&a[..first]);
        into[first..copied].copy_from_slice(&b[..copied - first]);
        self.bytes.drain(..len);
        Some((copied, address))
    }

    fn oldest(&mut self, len: usize) -> &[u8] {
        if self.bytes.as_slices().0.len() < len {
            self.bytes.make_contiguous();
        }
        &self.bytes.as_slices().0[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_keep_their_bounds_and_the_limit_holds() {
        let mut datagrams = Datagrams { heads: VecDeque::new(), bytes: VecDeque::new(), most: 10_000 };
        let address = |n: u16| SocketAddr::from(([10, 0, 0, 1], n));
        let mut into = [0; 2000];
        for round in 0..50_u16 {
            let mut pushed = 0;
            while datagrams.push(&vec![round as u8; usize::from(pushed * 37 % 900)], address(pushed)) {
                pushed += 1;
            }
            assert!(pushed > 8);
            for n in 0..pushed {
                let (len, from) = datagrams.pop(&mut into).unwrap();
                assert_eq!((len, from), (usize::from(n * 37 % 900), address(n)));
                assert!(into[..len].iter().all(|byte| *byte == round as u8));
            }
            assert_eq!(datagrams.pop(&mut into), None);
        }
    }

    #[test]
    fn a_short_buffer_cuts_one_datagram_and_no_other() {
        let mut datagrams = Datagrams { heads: VecDeque::new(), bytes: VecDeque::new(), most: 10_000 };
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        assert!(datagrams.push(&[1; 100], address) && datagrams.push(&[2; 10], address));
        assert_eq!(datagrams.oldest(100), &[1; 100]);
        let mut into = [0; 20];
        assert_eq!(datagrams.pop(&mut into), Some((20, address)));
        assert_eq!(datagrams.pop(&mut into), Some((10, address)));
        assert_eq!(into[..10], [2; 10]);
    }
}
