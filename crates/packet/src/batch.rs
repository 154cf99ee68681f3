//! What one call carries: a slab and the spans of the packets in it, tagged with what kind of bytes they are.

use alloc::vec::Vec;
use core::{marker::PhantomData, ops::Range};

use crate::{
    HEADROOM, TAILROOM,
    pool::Pool,
    slab::{Class, Slab},
    span::{BadSpan, Full, Span},
};

/// Cleartext IP packets. Each has [`HEADROOM`] free in front and [`TAILROOM`] free behind, shared with no neighbour.
#[derive(Debug)]
pub enum Plain {}

/// Datagrams as they stand on the network outside.
#[derive(Debug)]
pub enum Wire {}

/// What kind of bytes a batch holds: [`Plain`] or [`Wire`], and no other.
pub trait Kind: sealed::Sealed {
    /// Free bytes in front of each packet.
    const FRONT: usize;
    /// Free bytes behind each packet.
    const BACK: usize;
}

impl Kind for Plain {
    const FRONT: usize = HEADROOM;
    const BACK: usize = TAILROOM;
}

impl Kind for Wire {
    const FRONT: usize = 0;
    const BACK: usize = 0;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Plain {}
    impl Sealed for super::Wire {}
}

/// Packets of one kind in one slab, in order of their place in it, without overlap.
///
/// Dropping a batch gives its slab and its span list back to the pool. The unit of every call in the data path.
pub struct Batch<K: Kind> {
    slab: Slab,
    spans: Vec<Span>,
    // First byte behind the last packet, its padding and its room: where the next one's room begins.
    filled: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Batch<K> {
    /// A batch without packets and without memory.
    #[must_use]
    pub fn empty() -> Self {
        Self { slab: Slab::default(), spans: Vec::new(), filled: 0, kind: PhantomData }
    }

    pub(crate) fn on(slab: Slab, spans: Vec<Span>) -> Self {
        debug_assert!(spans.is_empty());
        Self { slab, spans, filled: 0, kind: PhantomData }
    }

    /// A batch that holds a copy of `packet` alone, in the smallest slab that fits it.
    ///
    /// # Errors
    /// [`Full`] if the packet is longer than the largest slab.
    pub fn copy_of(pool: &Pool, packet: &[u8]) -> Result<Self, Full> {
        let mut batch = pool.batch(Class::holding(packet.len() + K::FRONT + K::BACK));
        batch.push(packet)?;
        Ok(batch)
    }

    /// Number of packets.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no packet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Whether there is no memory behind it either, as in [`Batch::empty`].
    #[must_use]
    pub fn is_unbacked(&self) -> bool {
        self.slab.is_empty()
    }

    /// Bytes of memory that this batch keeps in use, filled or not: what a queue's limit counts.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slab.len()
    }

    /// Sum of the packets' lengths, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.spans.iter().map(|span| span.len()).sum()
    }

    /// The pool that the slab came from, if there is one.
    #[must_use]
    pub fn pool(&self) -> Option<&Pool> {
        self.slab.pool()
    }

    /// The spans, in order.
    #[inline]
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Packet `i`.
    #[inline]
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        self.slab.bytes().get(self.spans.get(i)?.range())
    }

    /// Packet `i`, to be changed in place.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, i: usize) -> Option<&mut [u8]> {
        let range = self.spans.get(i)?.range();
        self.slab.bytes_mut().get_mut(range)
    }

    /// The packets in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        let bytes = self.slab.bytes();
        self.spans.iter().map(move |span| &bytes[span.range()])
    }

    /// The bytes from the first byte of packet `range.start` to the last of packet `range.end - 1`, gaps included.
    #[must_use]
    pub fn stretch(&self, range: Range<usize>) -> Option<&[u8]> {
        let spans = self.spans.get(range)?;
        self.slab.bytes().get(spans.first()?.start()..spans.last()?.end())
    }

    /// Whether packet `i + 1` begins at the very byte where packet `i` ends.
    #[inline]
    #[must_use]
    pub fn is_back_to_back(&self, i: usize) -> bool {
        matches!((self.spans.get(i), self.spans.get(i + 1)), (Some(a), Some(b)) if a.end() == b.start())
    }

    /// Forgets all packets; the memory stays for the next fill.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.filled = 0;
    }

    /// Appends a copy of `packet`, with the room its kind wants.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; the batch is as before.
    pub fn push(&mut self, packet: &[u8]) -> Result<(), Full> {
        self.reserve(packet.len(), packet.len())?.copy_from_slice(packet);
        Ok(())
    }

    /// Appends a packet of `len` bytes whose content the caller writes, laid out as if it were `padded` bytes long
    /// (see [`padded_len`](crate::padded_len)), so that sealing leaves the datagrams back to back.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; the batch is as before.
    pub fn reserve(&mut self, len: usize, padded: usize) -> Result<&mut [u8], Full> {
        let start = self.filled + K::FRONT;
        let end = start.saturating_add(padded.max(len)).saturating_add(K::BACK);
        let span = Span::new(start, len).filter(|_| end <= self.slab.len()).ok_or(Full { wanted: len })?;
        self.spans.push(span);
        self.filled = end;
        Ok(&mut self.slab.bytes_mut()[span.range()])
    }

    /// All memory, for one that fills it itself (a socket, a device); forgets the packets in it. Say afterwards with
    /// [`push_span`](Self::push_span) what lies where.
    pub fn storage_mut(&mut self) -> &mut [u8] {
        self.clear();
        self.slab.bytes_mut()
    }

    /// Memory behind the last packet, for one that fills it itself while packets stay; the first byte of it lies at
    /// the returned offset. Say afterwards with [`push_span`](Self::push_span) what lies where.
    pub fn spare_mut(&mut self) -> (usize, &mut [u8]) {
        let filled = self.filled.min(self.slab.len());
        (filled, &mut self.slab.bytes_mut()[filled..])
    }

    /// Declares that `len` bytes at `start` are a packet. Spans come in order, with the room of the kind between them.
    ///
    /// # Errors
    /// [`BadSpan`] if the order, the room or the end of the slab forbids it; the batch is as before.
    pub fn push_span(&mut self, start: usize, len: usize) -> Result<(), BadSpan> {
        let bad = BadSpan { start, len };
        let floor = self.filled + K::FRONT;
        let end = start.checked_add(len).and_then(|end| end.checked_add(K::BACK)).ok_or(bad)?;
        if start < floor || end > self.slab.len() {
            return Err(bad);
        }
        self.spans.push(Span::new(start, len).ok_or(bad)?);
        self.filled = end;
        Ok(())
    }

    /// Keeps the packets for which `keep` says so, in order. It gets the number of each and its bytes.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &mut [u8]) -> bool) {
        let bytes = self.slab.bytes_mut();
        let mut i = 0;
        self.spans.retain(|span| {
            let kept = keep(i, &mut bytes[span.range()]);
            i += 1;
            kept
        });
    }

    /// Shortens packet `i` to its first `len` bytes; longer than it is changes nothing.
    pub fn trim(&mut self, i: usize, len: usize) {
        if let Some(span) = self.spans.get_mut(i) {
            span.len = span.len.min(u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    /// Cuts `bytes` off the front of packet `i`, at most all of it.
    pub fn advance(&mut self, i: usize, bytes: usize) {
        if let Some(span) = self.spans.get_mut(i) {
            let cut = span.len.min(u32::try_from(bytes).unwrap_or(u32::MAX));
            span.start += cut;
            span.len -= cut;
        }
    }

    /// Cuts the batch before packet `at`: this one keeps the packets before it, the returned one has the rest.
    /// Copies nothing; the parts can be [joined](Self::join) again.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let Some(first) = self.spans.get(at) else { return Self::empty() };
        let cut = first.start() - K::FRONT;
        let mut spans = self.pool().map(Pool::spans).unwrap_or_default();
        let offset = u32::try_from(cut).unwrap_or(u32::MAX);
        spans.extend(self.spans.drain(at..).map(|span| Span { start: span.start - offset, len: span.len }));
        let filled = self.filled - cut;
        self.filled = cut;
        Self { slab: self.slab.split_off(cut), spans, filled, kind: PhantomData }
    }

    /// Joins `rest` behind this batch without copying.
    ///
    /// # Errors
    /// Gives `rest` back if the two do not lie side by side in one slab.
    pub fn join(&mut self, mut rest: Self) -> Result<(), Self> {
        let offset = u32::try_from(self.slab.len()).unwrap_or(u32::MAX);
        let (slab, mut spans, filled) = rest.take();
        match self.slab.join(slab) {
            Ok(()) => {
                self.filled = offset as usize + filled;
                self.spans.extend(spans.drain(..).map(|s| Span { start: s.start + offset, len: s.len }));
                if let Some(pool) = self.pool() {
                    pool.give_spans(spans);
                }
                Ok(())
            }
            Err(slab) => Err(Self { slab, spans, filled, kind: PhantomData }),
        }
    }

    /// Free bytes between the packet before (or the start of the slab) and packet `i`.
    #[inline]
    #[must_use]
    pub fn room_before(&self, i: usize) -> usize {
        let before = i.checked_sub(1).and_then(|i| self.spans.get(i)).map_or(0, |span| span.end());
        self.spans.get(i).map_or(0, |span| span.start() - before)
    }

    /// Free bytes between packet `i` and the next (or the end of the slab).
    #[inline]
    #[must_use]
    pub fn room_behind(&self, i: usize) -> usize {
        let next = self.spans.get(i + 1).map_or(self.slab.len(), |span| span.start());
        self.spans.get(i).map_or(0, |span| next - span.end())
    }

    /// Turns one kind into another. Only the tunnel may: it is what seals and opens.
    #[must_use]
    pub fn relabel<To: Kind>(mut self) -> Batch<To> {
        let (slab, spans, filled) = self.take();
        Batch { slab, spans, filled, kind: PhantomData }
    }

    fn take(&mut self) -> (Slab, Vec<Span>, usize) {
        (core::mem::take(&mut self.slab), core::mem::take(&mut self.spans), core::mem::take(&mut self.filled))
    }
}

impl Batch<Wire> {
    /// Lets datagram `i` take `front` free bytes before it and `back` behind it, and returns it whole; `None`, and no
    /// change, where a neighbour or an end of the slab is in the way.
    #[inline]
    pub fn widen(&mut self, i: usize, front: usize, back: usize) -> Option<&mut [u8]> {
        if front > self.room_before(i) || back > self.room_behind(i) {
            return None;
        }
        let span = self.spans.get_mut(i)?;
        *span = Span::new(span.start() - front, span.len() + front + back)?;
        let range = span.range();
        self.filled = self.filled.max(range.end);
        self.slab.bytes_mut().get_mut(range)
    }
}

impl<K: Kind> Drop for Batch<K> {
    fn drop(&mut self) {
        if let Some(pool) = self.slab.pool() {
            pool.give_spans(core::mem::take(&mut self.spans));
        }
    }
}

impl<K: Kind> Default for Batch<K> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<K: Kind> core::fmt::Debug for Batch<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Batch")
            .field("packets", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
