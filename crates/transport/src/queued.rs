//! How a transport that lives in a task of its own is attached: a queue pair behind the same traits.

use std::{
    fmt,
    task::{Context, Poll, ready},
};

use tidewire_packet::{Batch, Class, Kind, Pool, Wire};

use crate::{
    Fault, FromOverlay, FromUnderlay, Hop, Overlay, OverlayId, Rx, ToOverlay, ToUnderlay, Tx, Underlay,
    queue::{Depth, Refused, queue},
};

/// An underlay whose sockets live elsewhere. What is sent to it is copied, so it never holds a large slab; where its
/// queue is full the item is dropped and counted, so it never holds up other transports.
pub struct QueuedUnderlay {
    carries: Box<dyn Fn(&Hop) -> bool + Send>,
    pool: Pool,
    rx: Rx<FromUnderlay>,
    tx: Tx<ToUnderlay>,
    dropped: u64,
}

/// Makes an underlay for a transport in a task of its own, and the two ends that the task holds: it puts what arrives
/// into the [`Tx`], and sends what it takes out of the [`Rx`]. `carries` says which hops are its own.
#[must_use]
pub fn queued(
    depth: Depth,
    pool: Pool,
    carries: impl Fn(&Hop) -> bool + Send + 'static,
) -> (QueuedUnderlay, Tx<FromUnderlay>, Rx<ToUnderlay>) {
    let (up, rx) = queue(depth);
    let (tx, down) = queue(depth);
    (QueuedUnderlay { carries: Box::new(carries), pool, rx, tx, dropped: 0 }, up, down)
}

/// An overlay whose stack lives elsewhere. What is delivered to it is copied; where its queue is full the packets are
/// dropped and counted.
pub struct QueuedOverlay {
    id: OverlayId,
    mtu: usize,
    pool: Pool,
    rx: Rx<FromOverlay>,
    tx: Tx<ToOverlay>,
    dropped: u64,
}

/// Makes an overlay for a stack in a task of its own, and the two ends that the task holds: it puts what it wants to
/// send into the [`Tx`], waiting for room, and takes what arrived for it out of the [`Rx`].
#[must_use]
pub fn queued_overlay(
    depth: Depth,
    pool: Pool,
    id: OverlayId,
    mtu: usize,
) -> (QueuedOverlay, Tx<FromOverlay>, Rx<ToOverlay>) {
    let (down, rx) = queue(depth);
    let (tx, up) = queue(depth);
    (QueuedOverlay { id, mtu, pool, rx, tx, dropped: 0 }, down, up)
}

impl QueuedUnderlay {
    /// How many datagrams were dropped because the queue was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn copy(&mut self, item: &mut ToUnderlay) -> ToUnderlay {
        let Self { carries, pool, dropped, .. } = self;
        let mine = item.runs.iter().filter(|run| carries(&run.hop));
        let bytes: usize = mine.flat_map(|run| &item.batch.spans()[run.range()]).map(|span| span.len()).sum();
        let mut copy = ToUnderlay { batch: pool.batch(Class::holding(bytes)), runs: Vec::new() };
        let _ = item.take_runs(&**carries, |batch, run| {
            for i in run.range() {
                let number = copy.batch.len();
                match batch.get(i).map(|datagram| copy.batch.push(datagram)) {
                    Some(Ok(())) => copy.address(number, run.hop),
                    _ => *dropped += 1,
                }
            }
            Poll::Ready(())
        });
        copy
    }
}

impl Underlay for QueuedUnderlay {
    fn carries(&self, hop: &Hop) -> bool {
        (self.carries)(hop)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>> {
        match ready!(self.rx.poll_recv(cx)) {
            Some(item) => {
                *into = item;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(Fault::Closed)),
        }
    }

    fn poll_send(&mut self, _: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<Result<(), Fault>> {
        if !item.runs.iter().any(|run| self.carries(&run.hop)) {
            return Poll::Ready(Ok(()));
        }
        let copy = self.copy(item);
        match self.tx.offer(copy) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Refused::Full(copy)) => {
                self.dropped += copy.batch.len() as u64;
                Poll::Ready(Ok(()))
            }
            Err(Refused::Closed(copy)) => {
                self.dropped += copy.batch.len() as u64;
                Poll::Ready(Err(Fault::Closed))
            }
        }
    }
}

impl QueuedOverlay {
    /// How many packets were dropped because the queue was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Overlay for QueuedOverlay {
    fn mtu(&self) -> usize {
        self.mtu
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromOverlay) -> Poll<Result<(), Fault>> {
        match ready!(self.rx.poll_recv(cx)) {
            Some(item) => {
                *into = FromOverlay { from: self.id, batch: item.batch };
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(Fault::Closed)),
        }
    }

    fn poll_send(&mut self, _: &mut Context<'_>, item: &mut ToOverlay) -> Poll<Result<(), Fault>> {
        if item.batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let copy = ToOverlay { to: item.to, batch: compact(&self.pool, &item.batch, &mut self.dropped) };
        item.batch.clear();
        match self.tx.offer(copy) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Refused::Full(copy)) => {
                self.dropped += copy.batch.len() as u64;
                Poll::Ready(Ok(()))
            }
            Err(Refused::Closed(copy)) => {
                self.dropped += copy.batch.len() as u64;
                Poll::Ready(Err(Fault::Closed))
            }
        }
    }
}

/// A copy of `batch` in the smallest slab that holds it, counting in `dropped` what does not fit the largest.
fn compact<K: Kind>(pool: &Pool, batch: &Batch<K>, dropped: &mut u64) -> Batch<K> {
    let bytes = batch.bytes() + batch.len() * (K::FRONT + K::BACK);
    let mut copy = pool.batch(Class::holding(bytes));
    for packet in batch.iter() {
        if copy.push(packet).is_err() {
            *dropped += 1;
        }
    }
    copy
}

impl fmt::Debug for QueuedUnderlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedUnderlay").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

impl fmt::Debug for QueuedOverlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedOverlay").field("id", &self.id).field("mtu", &self.mtu).finish_non_exhaustive()
    }
}

#[allow(dead_code, reason = "an underlay can be stored as a trait object, and so can an overlay")]
fn storable(_: Box<dyn Underlay>, _: Box<dyn Overlay>, _: Batch<Wire>) {}
