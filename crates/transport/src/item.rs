//! The four items that pass between the data plane and its transports.

use std::task::Poll;

use tidewire_packet::{Batch, Plain, Wire};

use crate::{
    Hop,
    queue::Weight,
    run::{Run, Runs, append},
};

/// Which overlay of a data plane: several can be attached, each with prefixes of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct OverlayId(pub u16);

/// Datagrams to be sent: down, out of the core.
#[derive(Debug, Default)]
pub struct ToUnderlay {
    /// The datagrams.
    pub batch: Batch<Wire>,
    /// Where they go. A datagram that is in no run has been sent or given up.
    pub runs: Runs,
}

/// Datagrams that arrived: up, into the core.
#[derive(Debug, Default)]
pub struct FromUnderlay {
    /// The datagrams.
    pub batch: Batch<Wire>,
    /// Where they came from. Covers every datagram of the batch.
    pub runs: Runs,
}

/// Packets that this node's side wants to send: down, into the core.
#[derive(Debug, Default)]
pub struct FromOverlay {
    /// Which overlay they come from.
    pub from: OverlayId,
    /// The packets.
    pub batch: Batch<Plain>,
}

/// Packets for this node's side: up, out of the core.
#[derive(Debug, Default)]
pub struct ToOverlay {
    /// Which overlay they go to.
    pub to: OverlayId,
    /// The packets.
    pub batch: Batch<Plain>,
}

impl ToUnderlay {
    /// Says that datagram `i` of the batch goes to `hop`. Datagrams are addressed in order.
    #[inline]
    pub fn address(&mut self, i: usize, hop: Hop) {
        append(&mut self.runs, &self.batch, i, hop);
    }

    /// Hands each run that `mine` claims to `send` and removes it, in order. `send` may shorten the run in place (by
    /// raising `first` and lowering `count`) and answer `Pending`; then it and all later ones stay.
    pub fn take_runs(
        &mut self,
        mine: impl Fn(&Hop) -> bool,
        mut send: impl FnMut(&Batch<Wire>, &mut Run) -> Poll<()>,
    ) -> Poll<()> {
        let batch = &self.batch;
        let mut blocked = false;
        self.runs.retain_mut(|run| {
            if blocked || !mine(&run.hop) {
                return true;
            }
            blocked = send(batch, run).is_pending();
            blocked
        });
        if blocked { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl FromUnderlay {
    /// Forgets all datagrams; the memory stays for the next fill.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.runs.clear();
    }

    /// Says that datagram `i` of the batch came from `hop`. Datagrams are addressed in order.
    #[inline]
    pub fn address(&mut self, i: usize, hop: Hop) {
        append(&mut self.runs, &self.batch, i, hop);
    }
}

impl Weight for ToUnderlay {
    fn weight(&self) -> usize {
        self.batch.capacity()
    }
}

impl Weight for FromUnderlay {
    fn weight(&self) -> usize {
        self.batch.capacity()
    }
}

impl Weight for FromOverlay {
    fn weight(&self) -> usize {
        self.batch.capacity()
    }
}

impl Weight for ToOverlay {
    fn weight(&self) -> usize {
        self.batch.capacity()
    }
}
