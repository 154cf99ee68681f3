//! What a stream's owner and the task know of each other: bytes both ways, and how the connection stands.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use super::{
    chunks::{Chunks, MOST_PIECE},
    lock,
    mailbox::{Mailbox, Woken},
};
use crate::{DialError, End, SocketId, Status};

/// One stream, between its owner and the task.
pub(super) struct Pipe {
    state: Mutex<State>,
    mailbox: Arc<Mailbox>,
}

struct State {
    /// Where to connect to, until that was tried.
    dial: Option<SocketAddr>,
    socket: Option<SocketId>,
    local: SocketAddr,
    remote: SocketAddr,
    open: bool,
    refused: Option<DialError>,
    up: Chunks,
    down: Chunks,
    /// The other end closed its half, and all that it sent is in `up`.
    eof: bool,
    /// There is more to read than `up` holds.
    more: bool,
    /// The owner closed its half.
    shut: bool,
    /// The other end acknowledged all, that closing included.
    delivered: bool,
    end: Option<Over>,
    reader_gone: bool,
    writer_gone: bool,
    /// Bytes were left in the reader's hands.
    unread: bool,
    listed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Over {
    Ended(End),
    Gone,
}

/// What the owner wants of the task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) shut: bool,
    /// Nobody holds the stream any more.
    pub(super) abandoned: bool,
    /// And bytes that arrived were not read.
    pub(super) unread: bool,
}

impl Pipe {
    /// A stream that is not connected, and where to if it is to be dialled.
    pub(super) fn new(dial: Option<SocketAddr>, mailbox: Arc<Mailbox>) -> Arc<Self> {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let state = State {
            dial,
            socket: None,
            local: nowhere,
            remote: nowhere,
            open: false,
            refused: None,
            up: Chunks::default(),
            down: Chunks::default(),
            eof: false,
            more: false,
            shut: false,
            delivered: false,
            end: None,
            reader_gone: false,
            writer_gone: false,
            unread: false,
            listed: false,
            reader: None,
            writer: None,
        };
        Arc::new(Self { state: Mutex::new(state), mailbox })
    }

    /// Own and other end.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        let state = lock(&self.state);
        (state.local, state.remote)
    }

    /// Asks the task to dial.
    pub(super) fn announce(self: &Arc<Self>) {
        self.list(&mut lock(&self.state));
    }

    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        let mut state = lock(&self.state);
        if let Some(error) = state.refused {
            return Poll::Ready(Err(error));
        }
        if state.open {
            return Poll::Ready(Ok(()));
        }
        register(&mut state.reader, cx);
        Poll::Pending
    }

    /// The next piece that arrived, in exchange for an emptied one. `None` at the end.
    pub(super) fn poll_take(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        old: Vec<u8>,
    ) -> Poll<io::Result<Option<Vec<u8>>>> {
        let mut state = lock(&self.state);
        state.up.recycle(old);
        let piece = state.up.take();
        if state.more && state.up.is_half_empty() {
            state.more = false;
            self.list(&mut state);
        }
        match piece {
            Some(piece) => Poll::Ready(Ok(Some(piece))),
            None if state.eof => Poll::Ready(Ok(None)),
            // Until the task has looked again, there may be more than was here.
            None if state.listed => pending(&mut state.reader, cx),
            None => match state.end {
                Some(over) => Poll::Ready(Err(over.into())),
                None => pending(&mut state.reader, cx),
            },
        }
    }

    /// Takes as much of `bytes` as there is room for, at least one.
    pub(super) fn poll_write(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.state);
        if state.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if let Some(over) = state.end {
            return Poll::Ready(Err(over.into()));
        }
        let len = bytes.len().min(state.down.room()).min(MOST_PIECE);
        if len == 0 && !bytes.is_empty() {
            return pending(&mut state.writer, cx);
        }
        let mut piece = state.down.begin(len);
        drop(state);
        piece.extend_from_slice(&bytes[..len]);
        let mut state = lock(&self.state);
        state.down.commit(piece);
        self.list(&mut state);
        Poll::Ready(Ok(len))
    }

    /// Closes the owner's half, and waits until the other end has acknowledged everything.
    pub(super) fn poll_shutdown(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.state);
        if !state.shut {
            state.shut = true;
            self.list(&mut state);
        }
        match state.end {
            _ if state.delivered => Poll::Ready(Ok(())),
            Some(Over::Ended(End::Finished)) => Poll::Ready(Ok(())),
            Some(over) => Poll::Ready(Err(over.into())),
            None => pending(&mut state.writer, cx),
        }
    }

    /// The reader is gone; `unread` says whether it leaves bytes behind.
    pub(super) fn drop_reader(self: &Arc<Self>, unread: bool) {
        let mut state = lock(&self.state);
        state.reader_gone = true;
        state.unread |= unread;
        self.list(&mut state);
    }

    /// The writer is gone, which closes its half.
    pub(super) fn drop_writer(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.writer_gone = true;
        state.shut = true;
        self.list(&mut state);
    }

    /// Has bytes that were not read count as given up, and all that was not sent as well.
    pub(super) fn give_up(&self) {
        let mut state = lock(&self.state);
        state.unread = true;
        state.down.clear();
    }

    fn list(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.listed, true)
            && !self.mailbox.notify(Woken::Stream(Arc::clone(self)))
        {
            state.fail();
        }
    }
}

/// What the task does.
impl Pipe {
    /// Ties the stream to its socket.
    pub(super) fn bind(&self, socket: SocketId) {
        lock(&self.state).socket = Some(socket);
    }

    pub(super) fn socket(&self) -> Option<SocketId> {
        lock(&self.state).socket
    }

    /// Where to connect to, once.
    pub(super) fn take_dial(&self) -> Option<SocketAddr> {
        let mut state = lock(&self.state);
        let abandoned = state.reader_gone && state.writer_gone;
        state.dial.take().filter(|_| !abandoned)
    }

    /// What the owner wants; from now on it wakes the task again.
    pub(super) fn wish(&self) -> Wish {
        let mut state = lock(&self.state);
        state.listed = false;
        let abandoned = state.reader_gone && state.writer_gone;
        Wish { shut: state.shut, abandoned, unread: state.unread || !state.up.is_empty() }
    }

    /// The dial failed.
    pub(super) fn refuse(&self, error: DialError) {
        let mut state = lock(&self.state);
        state.refused = Some(error);
        wake(&mut state.reader);
    }

    /// The next piece to be sent, in exchange for an emptied one.
    pub(super) fn next_down(&self, old: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        state.down.recycle(old);
        let piece = state.down.take();
        if state.down.is_half_empty() && !state.delivered && !state.shut {
            wake(&mut state.writer);
        }
        piece
    }

    /// A piece for at most `len` bytes that arrived, and for how many; none if the reader is to read first.
    pub(super) fn begin_up(&self, len: usize) -> Option<(Vec<u8>, usize)> {
        let mut state = lock(&self.state);
        let len = len.min(state.up.room()).min(MOST_PIECE);
        state.more = len == 0;
        (len > 0).then(|| (state.up.begin(len), len))
    }

    pub(super) fn commit_up(&self, piece: Vec<u8>) {
        let mut state = lock(&self.state);
        state.up.commit(piece);
        wake(&mut state.reader);
    }

    /// Says how the connection stands.
    pub(super) fn update(&self, status: &Status) {
        let mut state = lock(&self.state);
        if !state.open && status.established {
            (state.open, state.local, state.remote) = (true, status.local, status.remote);
            wake(&mut state.reader);
        }
        if status.eof && !state.eof {
            state.eof = true;
            wake(&mut state.reader);
        }
        if status.delivered && !state.delivered {
            state.delivered = true;
            wake(&mut state.writer);
        }
        if let Some(end) = status.end {
            state.over(Over::Ended(end));
            // It may have waited for the rest of what arrived.
            wake(&mut state.reader);
        }
    }

    /// The task is gone.
    pub(super) fn fail(&self) {
        lock(&self.state).fail();
    }
}

impl State {
    fn fail(&mut self) {
        (self.more, self.listed) = (false, false);
        self.over(Over::Gone);
    }

    fn over(&mut self, over: Over) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(over);
        if !self.open {
            self.refused.get_or_insert(match over {
                Over::Ended(end) => end.into(),
                Over::Gone => DialError::Closed,
            });
        }
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

impl From<Over> for io::Error {
    fn from(over: Over) -> Self {
        match over {
            Over::Ended(End::Finished) => io::ErrorKind::BrokenPipe.into(),
            Over::Ended(end) => end.into(),
            Over::Gone => DialError::Closed.into(),
        }
    }
}

fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

fn pending<T>(slot: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    register(slot, cx);
    Poll::Pending
}

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, remote) = self.ends();
        f.debug_struct("Pipe").field("local", &local).field("remote", &remote).finish_non_exhaustive()
    }
}
