//! Where a packet lies in a slab, and what is said when it cannot lie there.

use core::ops::Range;

/// Where a packet lies in its slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    /// First byte, counted from the start of the slab.
    #[inline]
    #[must_use]
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// Length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Whether the packet has no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// One past the last byte.
    #[inline]
    #[must_use]
    pub const fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    #[inline]
    pub(crate) const fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    pub(crate) fn new(start: usize, len: usize) -> Option<Self> {
        Some(Self { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? })
    }
}

/// The slab has no room for another packet of that length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no room left in the slab for {wanted} bytes")]
pub struct Full {
    /// The length that did not fit.
    pub wanted: usize,
}

/// A span that overlaps the packet before it (room included) or leaves the slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("span {start}+{len} overlaps its neighbour or leaves the slab")]
pub struct BadSpan {
    /// Where it would have begun.
    pub start: usize,
    /// How long it would have been.
    pub len: usize,
}
