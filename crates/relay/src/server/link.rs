//! One connection's socket and TLS: bytes from it go to the core, and what the core has for it goes out, many packets at a time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    ready::Token,
    session::{Failed, Output, Session},
};
use crate::core::{ClientId, Closed, Core, Gathered};

/// Most bytes that one read takes.
const READ: usize = 64 * 1024;
/// Longest part of TLS records that waits for its rest: a handshake message over several records is the longest.
const MAX_INBOX: usize = 32 * 1024;
/// Plaintext that fits into one TLS record (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// From so many bytes on they are written.
const WRITE: usize = 64 * 1024;
/// The longest that one gathering adds to that: a longest frame behind all messages of the relay's own, in TLS records.
const LONGEST: usize = 160 * 1024;

/// A connection.
pub(super) struct Link {
    pub(super) id: ClientId,
    pub(super) token: Token,
    stream: TcpStream,
    tls: Option<Box<Session>>,
    /// The front of a TLS record, waiting for its rest.
    inbox: Vec<u8>,
    /// What the socket did not take.
    outbox: Vec<u8>,
    is_blocked: bool,
    /// Nothing will be written any more.
    is_ending: bool,
}

/// What the connections share: each uses them within one call and leaves nothing there.
pub(super) struct Buffers {
    input: Box<[u8]>,
    plain: Vec<u8>,
    output: Output,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            input: vec![0; MAX_INBOX + READ].into_boxed_slice(),
            plain: Vec::with_capacity(WRITE),
            output: Output::new(WRITE + LONGEST),
        }
    }
}

impl Link {
    pub(super) fn new(id: ClientId, token: Token, stream: TcpStream, tls: Option<Session>) -> Self {
        let (inbox, outbox) = (Vec::new(), Vec::new());
        Self { id, token, stream, tls: tls.map(Box::new), inbox, outbox, is_blocked: false, is_ending: false }
    }

    /// Whether something waits for the socket to take it.
    pub(super) fn wants_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Reads once, and hands what came to the core. `true`: there may be more, without being woken.
    pub(super) fn read(
        &mut self,
        now: Instant,
        core: &mut Core,
        buffers: &mut Buffers,
    ) -> Result<bool, Closed> {
        let mut reads = 0;
        while core.is_readable(self.id) {
            let held = self.inbox.len();
            let Poll::Ready(count) = self.poll_read(held, buffers)? else { return Ok(false) };
            if count == 0 {
                return Err(Closed::Left);
            }
            self.take_in(now, core, held, count, buffers)?;
            reads += 1;
            // A short read has emptied the socket: the next one only asks to be woken.
            if count == READ || reads == 2 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends what waits, as much as the socket takes, but not endlessly. `true`: there is more.
    pub(super) fn flush(
        &mut self,
        now: Instant,
        core: &mut Core,
        buffers: &mut Buffers,
    ) -> Result<bool, Closed> {
        if !self.poll_write_outbox(now, core)? || self.is_ending {
            return Ok(false);
        }
        if self.tls.as_ref().is_some_and(|tls| !tls.is_open()) {
            return Ok(false);
        }
        let gathered = self.gather(now, core, buffers)?;
        self.is_ending = gathered.end;
        let bytes = if self.tls.is_some() { buffers.output.filled() } else { &buffers.plain };
        self.write(bytes)?;
        let is_written = self.poll_write_outbox(now, core)?;
        Ok(is_written && gathered.more)
    }

    /// Fills the output with records, or `plain` where there is no TLS.
    fn gather(&mut self, now: Instant, core: &mut Core, buffers: &mut Buffers) -> Result<Gathered, Closed> {
        let Buffers { plain, output, .. } = buffers;
        plain.clear();
        let Some(tls) = &mut self.tls else { return Ok(core.gather(now, self.id, WRITE, plain)) };
        output.clear();
        loop {
            plain.clear();
            let gathered = core.gather(now, self.id, RECORD, plain);
            tls.seal(plain, output).map_err(|Failed| Closed::Transport)?;
            if gathered.end {
                tls.close(output);
            }
            if !gathered.more || output.len() >= WRITE {
                return Ok(gathered);
            }
        }
    }

    fn poll_read(&mut self, held: usize, buffers: &mut Buffers) -> Result<Poll<usize>, Closed> {
        let mut cx = Context::from_waker(self.token.waker());
        let mut room = ReadBuf::new(buffers.input.get_mut(held..held + READ).unwrap_or_default());
        match Pin::new(&mut self.stream).poll_read(&mut cx, &mut room) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(room.filled().len())),
            Poll::Ready(Err(_)) => Err(Closed::Left),
        }
    }

    /// `count` bytes came, and stand in the input behind room for the `held` ones that wait.
    fn take_in(
        &mut self,
        now: Instant,
        core: &mut Core,
        held: usize,
        count: usize,
        buffers: &mut Buffers,
    ) -> Result<(), Closed> {
        let Buffers { input, output, .. } = buffers;
        if let Some(front) = input.get_mut(..held).filter(|_| held > 0) {
            front.copy_from_slice(&self.inbox);
            self.inbox = Vec::new();
        }
        let bytes = input.get_mut(..held + count).unwrap_or_default();
        let id = self.id;
        let Some(tls) = &mut self.tls else {
            core.receive(now, id, bytes);
            return Ok(());
        };
        output.clear();
        let result = tls.open(bytes, output, |plain| core.receive(now, id, plain));
        self.write(output.filled())?;
        let opened = result.map_err(|Failed| Closed::Transport)?;
        let rest = bytes.get(opened.used..).unwrap_or_default();
        match rest.len() {
            _ if opened.is_closed => Err(Closed::Left),
            0 => Ok(()),
            1..=MAX_INBOX => {
                self.inbox = rest.to_vec();
                Ok(())
            }
            _ => Err(Closed::Transport),
        }
    }

    /// Writes `bytes`, or keeps them to be written later.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        if self.outbox.is_empty() && !bytes.is_empty() {
            let mut cx = Context::from_waker(self.token.waker());
            match Pin::new(&mut self.stream).poll_write(&mut cx, bytes) {
                Poll::Ready(Ok(count)) => bytes = bytes.get(count..).unwrap_or_default(),
                Poll::Ready(Err(_)) => return Err(Closed::Left),
                Poll::Pending => {}
            }
        }
        self.outbox.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what was kept. `true`: all of it.
    fn poll_write_outbox(&mut self, now: Instant, core: &mut Core) -> Result<bool, Closed> {
        let mut cx = Context::from_waker(self.token.waker());
        let mut written = 0;
        while let Some(rest) = self.outbox.get(written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(&mut cx, rest) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(_)) => return Err(Closed::Left),
                Poll::Pending => {
                    self.outbox.drain(..written);
                    self.is_blocked = true;
                    core.blocked(now, self.id);
                    return Ok(false);
                }
            }
        }
        if written > 0 {
            self.outbox = Vec::new();
        }
        if std::mem::take(&mut self.is_blocked) {
            core.unblocked(self.id);
        }
        if self.is_ending {
            // Without a wait: nothing is in the way of the end of the stream.
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut cx);
        }
        Ok(true)
    }
}
