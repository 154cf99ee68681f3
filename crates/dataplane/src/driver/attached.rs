//! Which transports a driver has.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tidewire_transport::{Overlay, OverlayId, Underlay};

/// Names an attached transport, so that it can be detached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransportId(pub(crate) u64);

/// Gives each transport a number of its own, whoever attaches it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids(Arc<AtomicU64>);

impl Ids {
    pub(super) fn next(&self) -> TransportId {
        TransportId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The transports, in the order in which they were attached: for a hop that two carry, the first is asked.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) underlays: Vec<(TransportId, Box<dyn Underlay>)>,
    pub(super) overlays: Vec<(OverlayId, Box<dyn Overlay>, TransportId)>,
}

impl Attached {
    pub(super) fn remove(&mut self, id: TransportId) {
        self.underlays.retain(|(other, _)| *other != id);
        self.overlays.retain(|(_, _, other)| *other != id);
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("underlays", &self.underlays.len())
            .field("overlays", &self.overlays.len())
            .finish()
    }
}
