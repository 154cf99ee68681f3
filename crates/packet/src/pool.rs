//! How many slabs are kept for reuse, and how often that was not enough.

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use crossbeam_queue::ArrayQueue;

use crate::{
    batch::{Batch, Kind},
    slab::{Class, Slab},
    span::Span,
};

/// How many slabs of each class, and span lists, a pool keeps while nobody uses them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Slabs of [`Class::Small`].
    pub small: usize,
    /// Slabs of [`Class::Send`].
    pub send: usize,
    /// Slabs of [`Class::Receive`].
    pub receive: usize,
    /// Span lists, one for each batch in use.
    pub spans: usize,
}

impl Default for Limits {
    /// About 2.7 MiB of sends, 2 MiB of small ones and two receives of which little is ever touched.
    fn default() -> Self {
        Self { small: 1024, send: 40, receive: 2, spans: 1024 }
    }
}

/// A bounded store of slabs, shared by cloning. Taking never fails: a miss allocates, and is counted.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shelves>);

#[derive(Debug)]
struct Shelves {
    slabs: [ArrayQueue<BytesMut>; 3],
    spans: ArrayQueue<Vec<Span>>,
    misses: [AtomicU64; 3],
}

impl Pool {
    /// An empty pool that keeps at most `limits`. Zero in a field keeps one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let shelf = |n: usize| ArrayQueue::new(n.max(1));
        Self(Arc::new(Shelves {
            slabs: [shelf(limits.small), shelf(limits.send), shelf(limits.receive)],
            spans: ArrayQueue::new(limits.spans.max(1)),
            misses: Default::default(),
        }))
    }

    /// A slab of `class`: one that came back, else a new one, which is counted as a miss.
    #[must_use]
    pub fn slab(&self, class: Class) -> Slab {
        let bytes = self.0.slabs[class.index()].pop().unwrap_or_else(|| {
            self.0.misses[class.index()].fetch_add(1, Ordering::Relaxed);
            BytesMut::zeroed(class.bytes())
        });
        Slab::new(bytes, self.clone(), class)
    }

    /// An empty batch on a slab of `class`.
    #[must_use]
    pub fn batch<K: Kind>(&self, class: Class) -> Batch<K> {
        Batch::on(self.slab(class), self.spans())
    }

    /// How many slabs of `class` had to be allocated since the start.
    #[must_use]
    pub fn misses(&self, class: Class) -> u64 {
        self.0.misses[class.index()].load(Ordering::Relaxed)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.0.spans.pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, bytes: BytesMut, class: Class) {
        // A full shelf frees the slab: that is the bound.
        drop(self.0.slabs[class.index()].push(bytes));
    }

    pub(crate) fn give_spans(&self, mut spans: Vec<Span>) {
        spans.clear();
        drop(self.0.spans.push(spans));
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}
