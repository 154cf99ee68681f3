//! How items wait between two tasks or threads: bounded in items and in bytes, and free of any runtime.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// What an item counts against a queue's limit of bytes: the memory it keeps in use.
pub trait Weight {
    /// Bytes.
    fn weight(&self) -> usize;
}

/// How much a queue holds at most. An item that alone exceeds `bytes` is taken only by an empty queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depth {
    /// Items.
    pub items: usize,
    /// Bytes of memory.
    pub bytes: usize,
}

/// Why an item was not taken. It comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused<T> {
    /// The queue is at its limit.
    Full(T),
    /// The other end is gone.
    Closed(T),
}

/// A bounded queue from one or many senders to one receiver.
#[must_use]
pub fn queue<T: Weight>(depth: Depth) -> (Tx<T>, Rx<T>) {
    let shared = Arc::new(Mutex::new(Shared {
        items: VecDeque::new(),
        bytes: 0,
        depth,
        dropped: 0,
        senders: 1,
        closed: false,
        receiver: None,
        waiting: Vec::new(),
    }));
    (Tx(Arc::clone(&shared)), Rx(shared))
}

/// The end that puts in. Cloning makes another sender; when the last is dropped the receiver sees the end.
pub struct Tx<T: Weight>(Arc<Mutex<Shared<T>>>);

/// The end that takes out. Dropping it closes the queue.
pub struct Rx<T: Weight>(Arc<Mutex<Shared<T>>>);

struct Shared<T> {
    items: VecDeque<T>,
    bytes: usize,
    depth: Depth,
    dropped: u64,
    senders: usize,
    closed: bool,
    receiver: Option<Waker>,
    waiting: Vec<Waker>,
}

impl<T: Weight> Tx<T> {
    /// Puts `item` in if there is room.
    ///
    /// # Errors
    /// [`Refused`] gives the item back. Nothing is counted: the caller knows why it wanted to send.
    pub fn offer(&self, item: T) -> Result<(), Refused<T>> {
        lock(&self.0).push(item)
    }

    /// Puts `item` in, dropping the oldest items until it fits. Returns how many were dropped; they are counted.
    ///
    /// # Errors
    /// The item itself, if the receiver is gone.
    pub fn force(&self, item: T) -> Result<u64, T> {
        let mut shared = lock(&self.0);
        if shared.closed {
            return Err(item);
        }
        let mut dropped = 0;
        while !shared.fits(&item) && shared.pop().is_some() {
            dropped += 1;
        }
        shared.dropped += dropped;
        match shared.push(item) {
            Ok(()) => Ok(dropped),
            Err(Refused::Full(item) | Refused::Closed(item)) => Err(item),
        }
    }

    /// Whether there is room for an item of `weight` bytes; `Pending` arranges a wake-up. `Ready(false)`: the receiver
    /// is gone.
    pub fn poll_room(&self, cx: &mut Context<'_>, weight: usize) -> Poll<bool> {
        let mut shared = lock(&self.0);
        if shared.closed {
            return Poll::Ready(false);
        }
        if shared.has_room(weight) {
            return Poll::Ready(true);
        }
        if !shared.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            shared.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for room and puts `item` in.
    ///
    /// # Errors
    /// The item, if the receiver is gone.
    pub async fn send(&self, item: T) -> Result<(), T> {
        let mut item = Some(item);
        poll_fn(|cx| {
            loop {
                let Some(taken) = item.take() else { return Poll::Ready(Ok(())) };
                match self.offer(taken) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(Refused::Closed(back)) => return Poll::Ready(Err(back)),
                    Err(Refused::Full(back)) => {
                        let weight = back.weight();
                        item = Some(back);
                        if self.poll_room(cx, weight).is_pending() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        })
        .await
    }

    /// How many items [`force`](Self::force) dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.0).dropped
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.0).closed
    }
}

impl<T: Weight> Rx<T> {
    /// The oldest item. `Ready(None)` when the queue is empty and every sender is gone.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut shared = lock(&self.0);
        if let Some(item) = shared.pop() {
            return Poll::Ready(Some(item));
        }
        if shared.senders == 0 {
            return Poll::Ready(None);
        }
        match &mut shared.receiver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits for the oldest item; `None` when the queue is empty and every sender is gone.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The oldest item, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        lock(&self.0).pop()
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).items.len()
    }

    /// Whether no item waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Weight> Shared<T> {
    fn has_room(&self, weight: usize) -> bool {
        self.items.is_empty()
            || (self.items.len() < self.depth.items && self.bytes.saturating_add(weight) <= self.depth.bytes)
    }

    fn fits(&self, item: &T) -> bool {
        self.has_room(item.weight())
    }

    fn push(&mut self, item: T) -> Result<(), Refused<T>> {
        if self.closed {
            return Err(Refused::Closed(item));
        }
        if !self.fits(&item) {
            return Err(Refused::Full(item));
        }
        self.bytes += item.weight();
        self.items.push_back(item);
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.bytes -= item.weight();
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
        Some(item)
    }
}

// A panic while the lock was held cannot leave the queue half changed: each change is a few assignments.
fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Weight> Clone for Tx<T> {
    fn clone(&self) -> Self {
        lock(&self.0).senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T: Weight> Drop for Tx<T> {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.senders -= 1;
        if shared.senders == 0
            && let Some(waker) = shared.receiver.take()
        {
            waker.wake();
        }
    }
}

impl<T: Weight> Drop for Rx<T> {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.closed = true;
        shared.bytes = 0;
        let items = std::mem::take(&mut shared.items);
        for waker in shared.waiting.drain(..) {
            waker.wake();
        }
        drop(shared);
        drop(items);
    }
}

impl<T: Weight> fmt::Debug for Tx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("waiting", &lock(&self.0).items.len()).finish_non_exhaustive()
    }
}

impl<T: Weight> fmt::Debug for Rx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rx").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item(usize);

    impl Weight for Item {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const DEPTH: Depth = Depth { items: 3, bytes: 100 };

    #[test]
    fn both_limits_hold_and_the_item_comes_back() {
        let (tx, mut rx) = queue(DEPTH);
        tx.offer(Item(60)).unwrap();
        assert_eq!(tx.offer(Item(41)), Err(Refused::Full(Item(41))));
        tx.offer(Item(40)).unwrap();
        assert_eq!(rx.try_recv(), Some(Item(60)));
        tx.offer(Item(1)).unwrap();
        tx.offer(Item(1)).unwrap();
        assert_eq!(tx.offer(Item(1)), Err(Refused::Full(Item(1))));
    }

    #[test]
    fn an_empty_queue_takes_an_item_over_the_limit() {
        let (tx, mut rx) = queue(DEPTH);
        tx.offer(Item(1000)).unwrap();
        assert_eq!(tx.offer(Item(0)), Err(Refused::Full(Item(0))));
        assert_eq!(rx.try_recv(), Some(Item(1000)));
    }

    #[test]
    fn force_drops_the_oldest_and_counts() {
        let (tx, mut rx) = queue(DEPTH);
        for n in [50, 30, 20] {
            tx.offer(Item(n)).unwrap();
        }
        assert_eq!(tx.force(Item(70)), Ok(2));
        assert_eq!(tx.dropped(), 2);
        assert_eq!((rx.try_recv(), rx.try_recv(), rx.try_recv()), (Some(Item(20)), Some(Item(70)), None));
    }

    #[test]
    fn the_receiver_sees_the_end_only_after_the_last_item_and_sender() {
        let (tx, mut rx) = queue(DEPTH);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let second = tx.clone();
        assert!(rx.poll_recv(&mut cx).is_pending());
        drop(tx);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        second.offer(Item(1)).unwrap();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(rx.poll_recv(&mut cx), Poll::Ready(Some(Item(1))));
        assert!(rx.poll_recv(&mut cx).is_pending());
        drop(second);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(rx.poll_recv(&mut cx), Poll::Ready(None));
    }

    #[test]
    fn a_waiting_sender_is_woken_by_room_and_by_the_end() {
        let (tx, mut rx) = queue(DEPTH);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        tx.offer(Item(100)).unwrap();
        assert!(tx.poll_room(&mut cx, 1).is_pending());
        assert!(tx.poll_room(&mut cx, 1).is_pending());
        rx.try_recv();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(tx.poll_room(&mut cx, 1), Poll::Ready(true));
        tx.offer(Item(100)).unwrap();
        assert!(tx.poll_room(&mut cx, 1).is_pending());
        drop(rx);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(tx.poll_room(&mut cx, 1), Poll::Ready(false));
        assert_eq!(tx.offer(Item(1)), Err(Refused::Closed(Item(1))));
        assert_eq!(tx.force(Item(1)), Err(Item(1)));
        assert!(tx.is_closed());
    }
}
