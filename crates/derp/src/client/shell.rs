//! The loop around the machine: it reads, writes, opens and sleeps, and decides nothing.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Bound,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tidewire_clock::{self as clock, Sleep};
use tidewire_packet::{Class, Pool};
use tidewire_transport::{FromUnderlay, Hop, RegionId, Rx, ToUnderlay, Tx};

use super::{
    control::DerpControl,
    dial::{Dialer, NotOpened},
    gather::Gather,
    stream::{Raw, Stream},
    websocket::WebSocket,
};
use crate::machine::{
    Action, DownReason, Event, Failures, LinkId, Machine, Opened, Seen, Step, limits::ANSWER,
};

/// How much is read from one stream before it is looked at.
const READ: usize = 64 << 10;
/// How often one wake-up goes round before others have their turn.
const ROUNDS: usize = 16;
/// The longest sleep when nothing is due.
const FLOOR: Duration = Duration::from_secs(60);

/// The client's task.
pub(super) struct Shell {
    machine: Machine,
    lines: BTreeMap<LinkId, Line>,
    dialer: Arc<Dialer>,
    up: Tx<FromUnderlay>,
    down: Rx<ToUnderlay>,
    control: DerpControl,
    gather: Gather,
    input: Vec<u8>,
    sleep: Sleep,
    /// What was logged of each region that is not reached.
    failing: BTreeMap<RegionId, Failures>,
    /// Revision of the status that was published last.
    published: u64,
    ended: bool,
}

/// What there is of a link out here.
enum Line {
    Dialing(Job<Result<(Raw, Opened), NotOpened>>),
    Agreeing(Job<Result<WebSocket, Seen>>),
    Open(Stream),
}

type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Shell {
    pub(super) fn new(
        machine: Machine,
        dialer: Dialer,
        (up, down): (Tx<FromUnderlay>, Rx<ToUnderlay>),
        pool: Pool,
        control: DerpControl,
    ) -> Self {
        Self {
            machine,
            lines: BTreeMap::new(),
            dialer: Arc::new(dialer),
            up,
            down,
            control,
            gather: Gather::new(pool),
            input: vec![0; READ],
            sleep: Sleep::until(clock::now()),
            failing: BTreeMap::new(),
            published: 0,
            ended: false,
        }
    }

    fn go_round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = clock::now();
        let mut moved = self.take_wishes(now, cx) | self.take_packets(now, cx);
        self.machine.process_events(now);
        moved |= self.act(cx);
        let mut next = self.lines.keys().next().copied();
        while let Some(link) = next {
            moved |= self.drive(now, link, cx);
            let behind = (Bound::Excluded(link), Bound::Unbounded);
            next = self.lines.range(behind).next().map(|(link, _)| *link);
        }
        moved |= self.act(cx);
        // First the status: whoever fetches an event finds it there.
        self.publish(now);
        self.tell() | moved
    }

    fn take_wishes(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        let Some(wishes) = self.control.take_wishes(cx) else { return false };
        if let Some(seed) = &wishes.seed {
            self.machine.reseed(seed);
        }
        if let Some(regions) = wishes.regions {
            self.machine.set_regions(now, regions);
        }
        if let Some(home) = wishes.home {
            self.machine.set_home(now, home);
        }
        if let Some(kept) = wishes.kept {
            self.machine.set_kept(now, kept);
        }
        if wishes.network_changed {
            self.dialer.names.network_changed();
            self.machine.network_changed(now);
        }
        true
    }

    fn take_packets(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        for _ in 0..ROUNDS {
            match self.down.poll_recv(cx) {
                Poll::Ready(Some(item)) => self.send(now, &item),
                Poll::Ready(None) => {
                    self.ended = true;
                    return false;
                }
                Poll::Pending => break,
            }
            moved = true;
        }
        moved
    }

    fn send(&mut self, now: Instant, item: &ToUnderlay) {
        for run in &item.runs {
            if let Hop::Derp { region, peer_key } = run.hop {
                let packets = run.range().filter_map(|i| item.batch.get(i));
                self.machine.send(now, region, peer_key, packets);
            }
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some(action) = self.machine.pop_action() {
            moved = true;
            match action {
                Action::Dial(dial) => {
                    let dialer = Arc::clone(&self.dialer);
                    let link = dial.link;
                    let job = Box::pin(async move { dialer.dial(&dial).await });
                    self.lines.insert(link, Line::Dialing(job));
                }
                Action::WebSocket { link, node } => {
                    let Some(Line::Open(Stream::Raw(raw))) = self.lines.remove(&link) else { continue };
                    let job = Box::pin(async move {
                        clock::timeout(ANSWER, WebSocket::connect(&node, raw))
                            .await
                            .unwrap_or(Err(Seen::Timeout))
                    });
                    self.lines.insert(link, Line::Agreeing(job));
                }
                Action::Close(link) => self.close(link, cx),
            }
        }
        moved
    }

    /// Drops the stream. What TLS still had to say it may try once to say.
    fn close(&mut self, link: LinkId, cx: &mut Context<'_>) {
        if let Some(Line::Open(mut stream)) = self.lines.remove(&link) {
            stream.close(cx);
        }
    }

    /// Moves what can be moved on one line. Whether anything did.
    fn drive(&mut self, now: Instant, link: LinkId, cx: &mut Context<'_>) -> bool {
        match self.lines.get_mut(&link) {
            None => false,
            Some(Line::Dialing(job)) => {
                let Poll::Ready(done) = job.as_mut().poll(cx) else { return false };
                match done {
                    Ok((raw, opened)) => {
                        self.lines.insert(link, Line::Open(Stream::Raw(raw)));
                        self.machine.opened(now, link, &opened);
                    }
                    Err((step, seen)) => {
                        self.lines.remove(&link);
                        self.machine.failed(now, link, step, seen);
                    }
                }
                true
            }
            Some(Line::Agreeing(job)) => {
                let Poll::Ready(done) = job.as_mut().poll(cx) else { return false };
                match done {
                    Ok(socket) => {
                        self.lines.insert(link, Line::Open(Stream::WebSocket(Box::new(socket))));
                        self.machine.websocket_opened(now, link);
                    }
                    Err(seen) => {
                        self.lines.remove(&link);
                        self.machine.failed(now, link, Step::WebSocket, seen);
                    }
                }
                true
            }
            Some(Line::Open(_)) => {
                let read = self.read(now, link, cx);
                let written = self.write(now, link, cx);
                let (moved, broken) = match (read, written) {
                    (Ok(read), Ok(written)) => (read | written, None),
                    (Err(seen), _) | (_, Err(seen)) => (true, Some(seen)),
                };
                if let Some(seen) = broken {
                    self.machine.ended(now, link, seen);
                    self.lines.remove(&link);
                }
                moved
            }
        }
    }

    /// Reads once, as much as there is up to a limit, unless the data plane has no room for it.
    fn read(&mut self, now: Instant, link: LinkId, cx: &mut Context<'_>) -> Result<bool, Seen> {
        let Self { lines, input, up, machine, gather, .. } = self;
        let Some(Line::Open(stream)) = lines.get_mut(&link) else { return Ok(false) };
        match up.poll_room(cx, 2 * Class::Send.bytes()) {
            Poll::Ready(true) => {}
            Poll::Ready(false) => {
                self.ended = true;
                return Ok(false);
            }
            Poll::Pending => {
                machine.held_back(now, link);
                return Ok(false);
            }
        }
        let (count, end) = fill(stream, input, cx);
        machine.received(now, link, &input[..count], |from, packet| {
            gather.push(link.region(), from, packet, count);
        });
        for item in gather.finish() {
            let packets = item.batch.len() as u64;
            if up.offer(item).is_err() {
                machine.not_taken(packets);
            }
        }
        match end {
            Some(seen) => Err(seen),
            None => Ok(count > 0),
        }
    }

    /// Writes until nothing is left, or the stream takes no more.
    fn write(&mut self, now: Instant, link: LinkId, cx: &mut Context<'_>) -> Result<bool, Seen> {
        let Self { lines, machine, .. } = self;
        let Some(Line::Open(stream)) = lines.get_mut(&link) else { return Ok(false) };
        let mut moved = false;
        loop {
            // One write at a time: what TLS has not got rid of is not mixed with more.
            let flushed = stream.poll_flush(cx)?.is_ready();
            machine.set_blocked(now, link, !flushed);
            let bytes = machine.to_write(now, link);
            if !flushed || bytes.is_empty() {
                return Ok(moved);
            }
            match stream.poll_write(cx, bytes)? {
                Poll::Ready(count) => machine.wrote(now, link, count),
                Poll::Pending => {
                    machine.set_blocked(now, link, true);
                    return Ok(moved);
                }
            }
            moved = true;
        }
    }

    fn tell(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.machine.pop_event() {
            self.log(&event);
            self.machine.events_lost(self.control.tell(event));
            moved = true;
        }
        moved
    }

    fn log(&mut self, event: &Event) {
        match event {
            Event::Up { region, node, rung, proxied } => {
                self.failing.remove(region);
                tracing::info!(%region, node, %rung, proxied, "relay connected");
            }
            Event::Down { region, why: DownReason::Failed(failure) } => {
                tracing::warn!(%region, reason = %failure, "relay lost");
            }
            Event::Down { region, why } => tracing::info!(%region, reason = %why, "relay left"),
            Event::Failed(failure) => {
                if self.failing.entry(failure.region).or_default().is_news(failure) {
                    tracing::info!(%failure, "relay not reached");
                } else {
                    tracing::debug!(%failure, "relay still not reached");
                }
            }
            Event::Health { region, problem } => tracing::info!(%region, ?problem, "relay health"),
            Event::Restarting { region, reconnect_in, .. } => {
                tracing::info!(%region, ?reconnect_in, "relay restarts");
            }
            Event::PeerGone { region, peer, reason } => tracing::trace!(%region, %peer, ?reason, "peer gone"),
        }
    }

    fn publish(&mut self, now: Instant) {
        let revision = self.machine.revision();
        if self.published == revision {
            self.control.publish_counters(self.machine.counters());
        } else {
            self.published = revision;
            self.control.publish(self.machine.status(now));
        }
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let floor = now + FLOOR;
        self.machine.next_event(now).map_or(floor, |(at, _)| at.min(floor))
    }
}

impl Future for Shell {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut rounds = 0;
        loop {
            let moved = this.go_round(cx);
            if this.ended {
                this.control.end();
                return Poll::Ready(());
            }
            rounds += 1;
            if rounds == ROUNDS {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !moved {
                let now = clock::now();
                // A timer that is set too early costs one look; setting it anew at each packet would cost more.
                let (wake, set) = (this.next_wake(now), this.sleep.deadline());
                if wake < set || set <= now {
                    this.sleep.reset(wake);
                }
                if Pin::new(&mut this.sleep).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.control.end();
    }
}

/// Reads until `input` is full or nothing more is there. How much, and why it ended if it did.
fn fill(stream: &mut Stream, input: &mut [u8], cx: &mut Context<'_>) -> (usize, Option<Seen>) {
    let mut count = 0;
    while count < input.len() {
        match stream.poll_read(cx, &mut input[count..]) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return (count, Some(Seen::End)),
            Poll::Ready(Ok(more)) => count += more,
            Poll::Ready(Err(seen)) => return (count, Some(seen)),
        }
    }
    (count, None)
}
