//! The task that serves all connections: it reads from those that are ready, then writes to those that have something to send.

mod link;
mod log;
mod mailbox;
mod page;
mod ready;
mod session;
mod socket;
mod watch;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustls::{ServerConfig, server::UnbufferedServerConnection};
use tidewire_clock::{self as clock, Sleep};
use tokio::{
    io::ReadBuf,
    net::{TcpListener, TcpStream, UdpSocket},
};
use tracing::{info, trace, warn};

use self::{
    link::{Buffers, Link},
    log::Log,
    mailbox::Asked,
    ready::{Ready, Source, Token},
    session::Session,
    socket::{is_out_of_descriptors, set_options},
};
pub(crate) use self::{
    mailbox::{Answer, Mailbox, Reader, Shutdown},
    page::{Content, serve_page},
    watch::watch,
};
use crate::{
    core::{ClientId, Core, Event},
    metrics::Stats,
    stun,
};

/// Most connections that are accepted, and most datagrams that are answered, before others have their turn.
const TURN: usize = 64;
/// So much may be queued within a turn before it is sent: the queue of a single client that many send to must not run full
/// for want of its turn, and what was just copied is sent while it is in the cache.
const EARLY_FLUSH: usize = 256 * 1024;
/// How long to accept nothing when the system has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// A future that ends when the relay does.
pub(crate) struct Server {
    core: Core,
    tls: Option<Arc<ServerConfig>>,
    listener: Option<TcpListener>,
    stun: Option<UdpSocket>,
    mailbox: Arc<Mailbox>,
    timer: Sleep,
    /// By [`ClientId::index`].
    links: Vec<Option<Box<Link>>>,
    link_count: usize,
    ready: Arc<Ready>,
    tokens: Tokens,
    /// Taken from `ready`, and what was not finished in the last turn.
    batch: Vec<Source>,
    unfinished: Vec<Source>,
    buffers: Buffers,
    /// What waited in the queues after the last flush.
    queued: usize,
    accept_again: Option<Instant>,
    started: Instant,
    /// After a shutdown: when to stop waiting for connections to end.
    stop_at: Option<Instant>,
    log: Log,
    stun_answered: u64,
    stun_ignored: u64,
    accept_failed: u64,
    /// Connections could not be accepted, and that was said.
    is_starved: bool,
}

struct Tokens {
    listener: Token,
    stun: Token,
    mailbox: Token,
    timer: Token,
}

impl Server {
    /// Needs the context of a runtime.
    pub(crate) fn new(
        core: Core,
        tls: Option<Arc<ServerConfig>>,
        listener: std::net::TcpListener,
        stun: Option<std::net::UdpSocket>,
        mailbox: Arc<Mailbox>,
    ) -> io::Result<Self> {
        let now = clock::now();
        let ready = Arc::new(Ready::default());
        let tokens = Tokens {
            listener: Token::new(Source::Listener, &ready),
            stun: Token::new(Source::Stun, &ready),
            mailbox: Token::new(Source::Mailbox, &ready),
            timer: Token::new(Source::Timer, &ready),
        };
        Ok(Self {
            core,
            tls,
            listener: Some(TcpListener::from_std(listener)?),
            stun: stun.map(UdpSocket::from_std).transpose()?,
            mailbox,
            timer: Sleep::until(now + IDLE),
            links: Vec::new(),
            link_count: 0,
            ready,
            tokens,
            batch: Vec::new(),
            unfinished: vec![Source::Listener, Source::Stun, Source::Mailbox, Source::Timer],
            buffers: Buffers::new(),
            queued: 0,
            accept_again: None,
            started: now,
            stop_at: None,
            log: Log::new(now),
            stun_answered: 0,
            stun_ignored: 0,
            accept_failed: 0,
            is_starved: false,
        })
    }

    /// All who are ready get one turn. `Ready`: the relay has ended.
    fn turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        let now = clock::now();
        let mut batch = std::mem::take(&mut self.batch);
        self.ready.take(cx.waker(), &mut batch);
        batch.append(&mut self.unfinished);
        for source in batch.drain(..) {
            if self.core.queued_bytes() > self.queued + EARLY_FLUSH {
                self.flush_dirty(now);
            }
            match source {
                Source::Link(index) => self.serve(now, index),
                Source::Listener => self.accept(now),
                Source::Stun => self.answer_stun(),
                Source::Timer => self.tokens.timer.taken(),
                Source::Mailbox => {
                    if self.obey(now).is_ready() {
                        return Poll::Ready(());
                    }
                }
            }
        }
        self.batch = batch;
        if self.core.next_event().is_some_and(|(due, _)| due <= now) {
            self.core.process_events(now);
        }
        self.drain_events(now);
        self.flush_dirty(now);
        self.drain_events(now);
        if self.stop_at.is_some_and(|at| at <= now || self.link_count == 0) {
            return Poll::Ready(());
        }
        self.set_timer(now);
        if !self.unfinished.is_empty() || self.core.dirty_count() > 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn serve(&mut self, now: Instant, index: usize) {
        let Self { links, core, buffers, unfinished, .. } = self;
        let Some(link) = links.get_mut(index).and_then(Option::as_deref_mut) else { return };
        link.token.taken();
        let id = link.id;
        match link.read(now, core, buffers) {
            Ok(true) => unfinished.push(Source::Link(index)),
            Ok(false) => {}
            Err(reason) => {
                // One that asked and said that it has nothing more to say still gets its answer.
                if core.is_ending(id) {
                    let _ = link.flush(now, core, buffers);
                }
                return core.disconnect(id, reason);
            }
        }
        if link.wants_write()
            && let Err(reason) = link.flush(now, core, buffers)
        {
            core.disconnect(id, reason);
        }
    }

    fn flush_dirty(&mut self, now: Instant) {
        let Self { links, core, buffers, .. } = self;
        for _ in 0..core.dirty_count() {
            let Some(id) = core.poll_dirty() else { break };
            let link = links.get_mut(id.index()).and_then(Option::as_deref_mut);
            let Some(link) = link.filter(|link| link.id == id) else { continue };
            match link.flush(now, core, buffers) {
                Ok(false) => {}
                Ok(true) => core.again(id),
                Err(reason) => core.disconnect(id, reason),
            }
        }
        self.queued = core.queued_bytes();
    }

    fn drain_events(&mut self, now: Instant) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::LoggedIn { id, key } => self.log.logged_in(id, self.from(id), &key),
                Event::Refused { id, key, reason } => {
                    let from = self.from(id);
                    self.log.refused(now, from, &key, reason);
                }
                Event::Closed { id, key, reason } => {
                    let from = self.from(id);
                    self.log.closed(now, id, from, key, reason);
                    self.drop_link(id);
                }
                Event::Resume(id) => self.serve(now, id.index()),
            }
        }
    }

    /// Who is at the other end of a connection, unless another has its number.
    fn from(&self, id: ClientId) -> Option<SocketAddr> {
        let link = self.links.get(id.index())?.as_deref().filter(|link| link.id == id)?;
        Some(link.from)
    }

    fn drop_link(&mut self, id: ClientId) {
        if let Some(slot) = self.links.get_mut(id.index())
            && slot.take_if(|link| link.id == id).is_some()
        {
            self.link_count -= 1;
        }
    }

    fn accept(&mut self, now: Instant) {
        self.tokens.listener.taken();
        for _ in 0..TURN {
            let Some(listener) = self.listener.as_ref().filter(|_| self.accept_again.is_none()) else {
                return;
            };
            let mut cx = Context::from_waker(self.tokens.listener.waker());
            match listener.poll_accept(&mut cx) {
                Poll::Pending => return self.is_starved = false,
                Poll::Ready(Ok((stream, from))) => self.connect(now, stream, from),
                Poll::Ready(Err(error)) => self.fail_to_accept(now, &error),
            }
        }
        self.unfinished.push(Source::Listener);
    }

    /// A connection that broke while it waited costs nothing. Where descriptors have run out, the one that has waited longest to
    /// log in makes room; without one there is no use in trying at once.
    fn fail_to_accept(&mut self, now: Instant, error: &io::Error) {
        self.accept_failed += 1;
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        if !std::mem::replace(&mut self.is_starved, true) {
            warn!(%error, "cannot accept connections: the oldest that have not logged in make room");
        }
        if is_out_of_descriptors(error) && self.core.make_room() {
            self.drain_events(now);
        } else {
            self.accept_again = Some(now + ACCEPT_PAUSE);
        }
    }

    fn connect(&mut self, now: Instant, stream: TcpStream, from: SocketAddr) {
        let session = self.tls.as_ref().map(|config| UnbufferedServerConnection::new(Arc::clone(config)));
        let Ok(session) = session.transpose() else { return };
        set_options(&stream);
        let id = self.core.connect(now);
        trace!(connection = id.index(), %from, "connection accepted");
        if self.links.len() <= id.index() {
            self.links.resize_with(id.index() + 1, || None);
        }
        // The core may have used the number of a connection whose end is not drained yet.
        if self.links[id.index()].take().is_none() {
            self.link_count += 1;
        }
        let token = Token::new(Source::Link(id.index()), &self.ready);
        self.links[id.index()] =
            Some(Box::new(Link::new(id, token, (stream, from), session.map(Session::new))));
        self.unfinished.push(Source::Link(id.index()));
    }

    fn answer_stun(&mut self) {
        self.tokens.stun.taken();
        let Some(socket) = &self.stun else { return };
        let mut cx = Context::from_waker(self.tokens.stun.waker());
        let mut bytes = [0; 256];
        for _ in 0..TURN {
            let mut datagram = ReadBuf::new(&mut bytes);
            let from = match socket.poll_recv_from(&mut cx, &mut datagram) {
                Poll::Pending => return,
                // What an earlier answer met on its way; the socket itself is well.
                Poll::Ready(Err(_)) => continue,
                Poll::Ready(Ok(from)) => from,
            };
            match stun::answer(datagram.filled(), from) {
                Some((answer, len)) => {
                    // A full socket drops it, as the network might.
                    let _ = socket.try_send_to(answer.get(..len).unwrap_or_default(), from);
                    self.stun_answered += 1;
                }
                None => self.stun_ignored += 1,
            }
        }
        self.unfinished.push(Source::Stun);
    }

    /// Does what the handle asks for.
    fn obey(&mut self, now: Instant) -> Poll<()> {
        self.tokens.mailbox.taken();
        let asked = self.mailbox.take(self.tokens.mailbox.waker());
        let Asked { stats, admission, tls, shutdown, is_abandoned } = asked;
        for answer in stats {
            answer.0(self.stats(now));
        }
        if tls.is_some() && self.tls.is_some() {
            self.tls = tls;
        }
        if let Some(admission) = admission {
            self.core.set_admission(now, admission);
        }
        if let Some(shutdown) = shutdown {
            info!("relay shuts down");
            self.listener = None;
            self.stun = None;
            self.core.shutdown(now, shutdown.spread, shutdown.try_for);
            self.stop_at = Some(now + shutdown.grace);
        }
        if is_abandoned { Poll::Ready(()) } else { Poll::Pending }
    }

    fn stats(&self, now: Instant) -> Stats {
        Stats {
            core: self.core.stats(),
            uptime: now.saturating_duration_since(self.started),
            stun_answered: self.stun_answered,
            stun_ignored: self.stun_ignored,
            accept_failed: self.accept_failed,
        }
    }

    /// A timer that would fire early is left alone: that costs less than setting it.
    fn set_timer(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            self.unfinished.push(Source::Listener);
        }
        let due = self.core.next_event().map(|(due, _)| due);
        let due = [due, self.accept_again, self.stop_at].into_iter().flatten().min().unwrap_or(now + IDLE);
        if due < self.timer.deadline() || self.timer.deadline() <= now {
            self.timer.reset(due.max(now));
            let mut cx = Context::from_waker(self.tokens.timer.waker());
            if Pin::new(&mut self.timer).poll(&mut cx).is_ready() {
                self.unfinished.push(Source::Timer);
            }
        }
    }
}

impl Future for Server {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turn(cx)
    }
}
