//! One connection's socket and TLS: bytes from it go to the core, and what the core has for it goes out, many packets at a time.

use std::{
    net::SocketAddr,
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
/// Most that waits for a socket to take it: one gathering, and what TLS itself has to say. Whoever makes it more (by asking
/// for new keys over and over) without reading is no client.
const MAX_OUTBOX: usize = 256 * 1024;

/// A connection.
pub(super) struct Link {
    pub(super) id: ClientId,
    pub(super) token: Token,
    /// The other end.
    pub(super) from: SocketAddr,
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
    pub(super) fn new(
        id: ClientId,
        token: Token,
        (stream, from): (TcpStream, SocketAddr),
        tls: Option<Session>,
    ) -> Self {
        let (tls, inbox, outbox) = (tls.map(Box::new), Vec::new(), Vec::new());
        Self { id, token, from, stream, tls, inbox, outbox, is_blocked: false, is_ending: false }
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
        loop {
            let most = core.allowance(self.id).min(READ);
            if most == 0 {
                return Ok(false);
            }
            let held = self.inbox.len();
            let Poll::Ready(count) = self.poll_read(held, most, buffers)? else { return Ok(false) };
            if count == 0 {
                return Err(Closed::Left);
            }
            self.take_in(now, core, held, count, buffers)?;
            reads += 1;
            // A short read has emptied the socket: the next one only asks to be woken.
            if count == most || reads == 2 {
                return Ok(core.is_readable(self.id));
            }
        }
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

    fn poll_read(&mut self, held: usize, most: usize, buffers: &mut Buffers) -> Result<Poll<usize>, Closed> {
        let mut cx = Context::from_waker(self.token.waker());
        let mut room = ReadBuf::new(buffers.input.get_mut(held..held + most).unwrap_or_default());
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
        if self.outbox.len() + bytes.len() > MAX_OUTBOX {
            return Err(Closed::SlowReader);
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
                    if written > 0 {
                        // It reads, if slowly.
                        core.unblocked(self.id);
                    }
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

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::Arc, time::Duration};

    use socket2::SockRef;
    use tidewire_derp::{ClientInfo, Frame};
    use tidewire_keys::{Drbg, NodeSecret, RelaySecret, Seed};

    use super::{
        super::ready::{Ready, Source},
        *,
    };
    use crate::{
        core::{Admission, Limits, Why},
        t0,
    };

    const WRITE_TIME: Duration = Limits::DEFAULT.write_time;

    fn log_in(core: &mut Core, secret: &NodeSecret) -> ClientId {
        let id = core.connect(t0());
        let mut bytes = b"GET /derp HTTP/1.1\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n".to_vec();
        let shared = secret.shared(&core.public_key());
        let nonce = *secret.public().as_bytes().first_chunk().unwrap();
        ClientInfo::new().encode(secret.public(), &shared, &nonce, &mut bytes).unwrap();
        core.receive(t0(), id, &bytes);
        id
    }

    /// A core with somebody on it for whom much waits, the link to it, and its end.
    async fn link() -> (Core, Link, std::net::TcpStream) {
        let seed = Seed::new([1; 32]);
        let relay = RelaySecret::generate(&mut Drbg::new(&seed, "relay"));
        let mut core = Core::new(relay, Admission::Everyone, Limits::DEFAULT, &seed);
        let [sender, receiver] = [1, 2].map(|byte| NodeSecret::from_bytes([byte; 32]));
        let (from, id) = (log_in(&mut core, &sender), log_in(&mut core, &receiver));
        let mut bytes = Vec::new();
        for _ in 0..60 {
            Frame::SendPacket { to: receiver.public(), packet: &[0; 60_000] }.encode(&mut bytes).unwrap();
        }
        core.receive(t0(), from, &bytes);

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&client).set_recv_buffer_size(8192).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        SockRef::from(&stream).set_send_buffer_size(8192).unwrap();
        let token = Token::new(Source::Link(0), &Arc::new(Ready::default()));
        (core, Link::new(id, token, (stream, from), None), client)
    }

    fn cut_at(core: &Core) -> Option<Instant> {
        core.next_event().filter(|(_, why)| *why == Why::Write).map(|(at, _)| at)
    }

    /// Some of what was kept is taken, and some is still there: the time that it may be blocked starts anew.
    #[tokio::test]
    async fn a_slow_reader_that_goes_on_reading_is_not_cut() {
        let (mut core, mut link, mut client) = link().await;
        let mut buffers = Buffers::new();
        while !link.is_blocked {
            link.flush(t0(), &mut core, &mut buffers).unwrap();
        }
        assert_eq!(cut_at(&core), Some(t0() + WRITE_TIME));
        let later = t0() + Duration::from_millis(1500);
        link.flush(later, &mut core, &mut buffers).unwrap();
        assert_eq!(cut_at(&core), Some(t0() + WRITE_TIME), "it has taken nothing");

        let waiting = MAX_OUTBOX;
        link.write(&vec![0; waiting - link.outbox.len()]).unwrap();
        while link.outbox.len() == waiting {
            client.read_exact(&mut [0; 4096]).unwrap();
            // The system says when there is room.
            tokio::task::yield_now().await;
            link.flush(later, &mut core, &mut buffers).unwrap();
        }
        assert!(!link.outbox.is_empty());
        assert_eq!(cut_at(&core), Some(later + WRITE_TIME));
    }

    /// What TLS answers by itself is not gathered, and must not pile up.
    #[tokio::test]
    async fn what_waits_for_a_socket_is_bounded() {
        let (mut core, mut link, client) = link().await;
        let mut buffers = Buffers::new();
        while !link.is_blocked {
            link.flush(t0(), &mut core, &mut buffers).unwrap();
        }
        let mut count = 0;
        let ended = loop {
            match link.write(&[0; 27]) {
                Ok(()) => count += 1,
                Err(reason) => break reason,
            }
        };
        assert_eq!(ended, Closed::SlowReader);
        assert!(count > 1000 && link.outbox.len() <= MAX_OUTBOX);
        drop(client);
    }
}
