//! The task: it moves what waits between the overlay, the machine and the handles, and decides nothing.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tidewire_clock::{self as clock, Sleep};
use tidewire_packet::Class;
use tidewire_transport::{FromOverlay, OverlayId, Rx, ToOverlay, Tx};

use super::{
    hall::Hall,
    mailbox::{Mailbox, Woken},
    net::Facts,
    pipe::Pipe,
    post::Post,
    stream::TcpStream,
};
use crate::{Config, Event, Local, SendError, SocketId, Stack};

/// Rounds without a pause, after which others on the same thread have their turn.
const ROUNDS: usize = 16;

/// Items from the overlay that are taken in one round.
const ITEMS: usize = 16;

/// Bytes of batches that wait for the data plane, beyond which the stack waits: enough to keep it busy, and little enough
/// that what is sent next does not wait for long.
const MOST_OUTGOING: usize = 512 << 10;

/// What connects the task to the rest.
pub(super) struct Wiring {
    pub(super) tx: Tx<FromOverlay>,
    pub(super) rx: Rx<ToOverlay>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) facts: Arc<Facts>,
}

/// The stack's task.
pub(super) struct Task {
    stack: Stack,
    wiring: Wiring,
    overlay: OverlayId,
    // What an item has to weigh to find room just where no more is to wait than may.
    weight: usize,
    streams: Vec<Option<Stream>>,
    posts: BTreeMap<SocketId, Arc<Post>>,
    halls: BTreeMap<Local, Arc<Hall>>,
    woken: Vec<Woken>,
    sleep: Option<Sleep>,
}

struct Stream {
    id: SocketId,
    pipe: Arc<Pipe>,
    // What is being sent, and how much of it was.
    piece: Vec<u8>,
    at: usize,
    shut: bool,
}

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Round {
    Busy,
    Idle,
    /// The overlay does not take packets for the moment; it wakes the task.
    Blocked,
    /// The overlay is gone.
    Over,
}

impl Task {
    pub(super) fn new(stack: Stack, config: &Config, wiring: Wiring) -> Self {
        let spare = wiring.facts.limits.queue.bytes.saturating_sub(MOST_OUTGOING);
        Self {
            stack,
            wiring,
            overlay: config.overlay,
            weight: spare + Class::Send.bytes(),
            streams: Vec::new(),
            posts: BTreeMap::new(),
            halls: BTreeMap::new(),
            woken: Vec::new(),
            sleep: None,
        }
    }

    fn round(&mut self, now: Instant, cx: &mut Context<'_>) -> Round {
        let mut busy = self.take_woken(now, cx);
        match self.wiring.tx.poll_room(cx, self.weight) {
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Round::Over,
            Poll::Pending => return if busy { Round::Busy } else { Round::Blocked },
        }
        match self.take_packets(now, cx) {
            Some(some) => busy |= some,
            None => return Round::Over,
        }
        self.take_events(now);
        match self.send(now, cx) {
            Some(some) => busy |= some,
            None => return Round::Over,
        }
        if busy { Round::Busy } else { Round::Idle }
    }

    fn take_woken(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        let nudged = self.wiring.mailbox.collect(cx.waker(), &mut woken);
        let busy = nudged || !woken.is_empty();
        if nudged {
            self.stack.nudge(now);
        }
        for who in woken.drain(..) {
            match who {
                Woken::Stream(pipe) => self.take_stream(now, &pipe),
                Woken::Listener(hall) => self.take_listener(now, hall),
                Woken::Udp(post) => self.take_udp(&post),
            }
        }
        self.woken = woken;
        busy
    }

    fn take_stream(&mut self, now: Instant, pipe: &Arc<Pipe>) {
        if let Some(to) = pipe.take_dial() {
            match self.stack.dial(now, to) {
                Ok(id) => self.tie(id, Arc::clone(pipe)),
                Err(error) => pipe.refuse(error),
            }
        }
        if let Some(id) = pipe.socket() {
            self.move_bytes(now, id);
        }
    }

    fn take_listener(&mut self, now: Instant, hall: Arc<Hall>) {
        let local = hall.local;
        match self.halls.get(&local) {
            Some(known) if Arc::ptr_eq(known, &hall) => self.fill_hall(now, local),
            // It was dropped before, and another one listens there.
            Some(_) => {}
            None if hall.is_dropped() => {}
            None => match self.stack.listen(local) {
                Ok(_) => drop(self.halls.insert(local, hall)),
                Err(_) => hall.fail(),
            },
        }
    }

    fn take_udp(&mut self, post: &Arc<Post>) {
        if post.socket().is_none() {
            match self.stack.bind(post.local) {
                Ok((id, _)) => {
                    post.tie(id);
                    self.posts.insert(id, Arc::clone(post));
                }
                Err(_) => post.fail(),
            }
        }
        if let Some(id) = post.socket() {
            self.move_datagrams(id);
        }
    }

    fn tie(&mut self, id: SocketId, pipe: Arc<Pipe>) {
        pipe.bind(id);
        if self.streams.len() <= id.index() {
            self.streams.resize_with(id.index() + 1, || None);
        }
        self.streams[id.index()] = Some(Stream { id, pipe, piece: Vec::new(), at: 0, shut: false });
    }

    /// `None`: the overlay is gone.
    fn take_packets(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<bool> {
        let mut busy = false;
        for _ in 0..ITEMS {
            match self.wiring.rx.poll_recv(cx) {
                Poll::Ready(Some(item)) => self.stack.process_inbound(now, item.batch),
                Poll::Ready(None) => return None,
                Poll::Pending => break,
            }
            busy = true;
            // Buffers are emptied before more comes, so that windows stay open.
            self.take_events(now);
        }
        Some(busy)
    }

    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Tcp(id) => self.move_bytes(now, id),
                Event::Udp(id) => self.move_datagrams(id),
                Event::Incoming(local) => self.fill_hall(now, local),
            }
        }
    }

    /// `None`: the overlay is gone.
    fn send(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<bool> {
        let mut busy = false;
        while let Poll::Ready(open) = self.wiring.tx.poll_room(cx, self.weight) {
            if !open {
                return None;
            }
            let Some(batch) = self.stack.poll_transmit(now) else { break };
            busy = true;
            if self.wiring.tx.offer(FromOverlay { from: self.overlay, batch }).is_err() {
                return None;
            }
        }
        // Sending shows what timers did.
        self.take_events(now);
        Some(busy)
    }

    fn fill_hall(&mut self, now: Instant, local: Local) {
        let Some(hall) = self.halls.get(&local).map(Arc::clone) else { return };
        if hall.is_dropped() {
            self.halls.remove(&local);
            self.stack.unlisten(now, local);
            return;
        }
        while hall.has_room() {
            let Some(id) = self.stack.accept(local) else { break };
            let pipe = Pipe::new(None, Arc::clone(&self.wiring.mailbox));
            self.tie(id, Arc::clone(&pipe));
            self.move_bytes(now, id);
            hall.push(TcpStream::over(pipe));
        }
    }

    fn move_bytes(&mut self, now: Instant, id: SocketId) {
        let Some(place) = self.streams.get_mut(id.index()) else { return };
        let Some(stream) = place.as_mut().filter(|stream| stream.id == id) else { return };
        if stream.run(now, &mut self.stack) {
            *place = None;
        }
    }

    fn move_datagrams(&mut self, id: SocketId) {
        let Some(post) = self.posts.get(&id).map(Arc::clone) else { return };
        let dropped = post.is_dropped();
        let stack = &mut self.stack;
        // What cannot be sent at all is taken as well: the owner was told before.
        while post.offer(|bytes, to| stack.send_to(id, bytes, to) != Err(SendError::Full)) {}
        if dropped {
            // What the stack has no room for yet follows when it says that there is.
            if !post.has_outgoing() {
                self.stack.unbind(id);
                self.posts.remove(&id);
            }
            return;
        }
        while self.stack.recv_from(id, |bytes, from| post.deliver(bytes, from)).is_some() {}
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((at, _)) = self.stack.next_event() else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Sleep::until(at));
        sleep.reset(at);
        Pin::new(sleep).poll(cx)
    }
}

impl Stream {
    /// Moves bytes both ways and says how the connection stands. Returns whether nobody holds it any more and the stack has
    /// all it needs to end it.
    fn run(&mut self, now: Instant, stack: &mut Stack) -> bool {
        let wish = self.pipe.wish();
        let Some(status) = stack.status(self.id) else { return true };
        if wish.abandoned && (wish.unread || status.readable > 0 || status.end.is_some()) {
            stack.abort(now, self.id);
            return true;
        }
        let sent = status.established && self.send(stack);
        if sent && wish.shut && !self.shut {
            self.shut = true;
            stack.shutdown(self.id);
        }
        if wish.abandoned {
            if sent || !status.established {
                stack.close(now, self.id);
            }
            return sent || !status.established;
        }
        self.receive(stack, status.readable);
        if let Some(status) = stack.status(self.id) {
            self.pipe.update(&status);
        }
        false
    }

    /// Returns whether everything that was written is in the stack.
    fn send(&mut self, stack: &mut Stack) -> bool {
        loop {
            if self.at == self.piece.len() {
                self.at = 0;
                match self.pipe.next_down(std::mem::take(&mut self.piece)) {
                    Some(piece) => self.piece = piece,
                    None => return true,
                }
            }
            let taken = stack.send(self.id, &self.piece[self.at..]);
            self.at += taken;
            if taken == 0 {
                return false;
            }
        }
    }

    fn receive(&mut self, stack: &mut Stack, mut readable: usize) {
        while readable > 0 {
            let Some((mut piece, len)) = self.pipe.begin_up(readable) else { break };
            let taken = stack.recv(self.id, len, &mut piece);
            self.pipe.commit_up(piece);
            readable -= taken;
            if taken == 0 {
                break;
            }
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            match this.round(clock::now(), cx) {
                Round::Busy => {}
                Round::Over => return Poll::Ready(()),
                Round::Blocked => return Poll::Pending,
                Round::Idle if this.poll_sleep(cx).is_pending() => return Poll::Pending,
                Round::Idle => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        for who in self.wiring.mailbox.close() {
            match who {
                Woken::Stream(pipe) => pipe.fail(),
                Woken::Listener(hall) => hall.fail(),
                Woken::Udp(post) => post.fail(),
            }
        }
        self.streams.iter().flatten().for_each(|stream| stream.pipe.fail());
        self.posts.values().for_each(|post| post.fail());
        self.halls.values().for_each(|hall| hall.fail());
    }
}
