//! What one call of the core produced: datagrams, packets and events, in order, in memory that is used again.

use tidewire_packet::{Batch, Wire};
use tidewire_transport::{Runs, ToOverlay, ToUnderlay};

use crate::Event;

/// What a call produced. The caller drains it before, or after, the next call; the core only appends.
#[derive(Debug, Default)]
pub struct Out {
    /// Datagrams to be sent, in order.
    pub to_underlay: Vec<ToUnderlay>,
    /// Packets to be delivered, in order.
    pub to_overlay: Vec<ToOverlay>,
    /// What happened, in order.
    pub events: Vec<Event>,
    spare: Vec<Runs>,
}

/// How many empty run lists are kept for the next items.
const SPARE: usize = 64;

impl Out {
    /// Whether nothing is left to be drained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to_underlay.is_empty() && self.to_overlay.is_empty() && self.events.is_empty()
    }

    /// Takes back an item that was sent, so that the next one needs no new memory for its runs.
    pub fn recycle(&mut self, item: ToUnderlay) {
        let mut runs = item.runs;
        if self.spare.len() < SPARE {
            runs.clear();
            self.spare.push(runs);
        }
    }

    /// An item without runs for `batch`.
    pub(crate) fn item(&mut self, batch: Batch<Wire>) -> ToUnderlay {
        ToUnderlay { batch, runs: self.spare.pop().unwrap_or_default() }
    }
}
