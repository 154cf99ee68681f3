//! Which datagrams of a batch go to, or came from, one hop.

use std::ops::Range;

use tidewire_packet::{Batch, Wire};

use crate::Hop;

/// Datagrams of a batch that stand next to each other in it and share a hop: what one GSO call sends, or what one GRO
/// buffer held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where they go, or came from.
    pub hop: Hop,
    /// Number of the first datagram in the batch.
    pub first: u32,
    /// How many datagrams.
    pub count: u32,
    /// Length in bytes of each datagram but the last, which may be shorter, and of the distance between them. Zero where
    /// lengths or distances differ: then each datagram is on its own.
    pub stride: u32,
}

impl Run {
    /// The numbers of its datagrams in the batch.
    #[inline]
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.count as usize
    }
}

/// The runs of a batch, in order.
pub type Runs = Vec<Run>;

/// Appends datagram `i` of `batch`, going to `hop`, to the runs: to the last run if it goes on there (same hop, next
/// number, back to back, no longer than the stride, and nothing shorter before it), else as a new run.
#[inline]
pub(crate) fn append(runs: &mut Runs, batch: &Batch<Wire>, i: usize, hop: Hop) {
    let Some(span) = batch.spans().get(i).copied() else { return };
    let number = u32::try_from(i).unwrap_or(u32::MAX);
    let len = u32::try_from(span.len()).unwrap_or(u32::MAX);
    if let Some(last) = runs.last_mut()
        && last.first + last.count == number
        && last.hop == hop
        && i > 0
        && batch.is_back_to_back(i - 1)
        && len <= last.stride
        && batch.spans()[i - 1].len() == last.stride as usize
        && len > 0
    {
        last.count += 1;
        return;
    }
    runs.push(Run { hop, first: number, count: 1, stride: len });
}
