//! What an operator hears of connections: who was turned away or cut, and from where, in no more lines than a person can read.

use std::{mem, net::SocketAddr, time::Instant};

use tidewire_keys::NodePublic;
use tracing::{debug, info, trace};

use crate::core::{ClientId, Closed, bucket::Bucket};

/// Lines at once, and in a second.
const BURST: f64 = 20.0;
const RATE: f64 = 1.0;

/// The log of connections.
#[derive(Debug)]
pub(super) struct Log {
    lines: Bucket,
    /// Lines that were one too many since the last one.
    unsaid: u64,
}

impl Log {
    pub(super) fn new(now: Instant) -> Self {
        Self { lines: Bucket::new(now, RATE, BURST), unsaid: 0 }
    }

    pub(super) fn logged_in(&self, id: ClientId, from: Option<SocketAddr>, key: &NodePublic) {
        debug!(connection = id.index(), from = from.map(display), %key, "client logged in");
    }

    /// A login failed. The key is what the client says, whether it holds it or not.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        from: Option<SocketAddr>,
        key: &NodePublic,
        reason: Closed,
    ) {
        match self.take_line(now) {
            Some(unsaid) => info!(from = from.map(display), %key, %reason, unsaid, "login refused"),
            None => debug!(from = from.map(display), %key, %reason, "login refused"),
        }
    }

    /// A connection ended; with a key it was a client's.
    pub(super) fn closed(
        &mut self,
        now: Instant,
        id: ClientId,
        from: Option<SocketAddr>,
        key: Option<NodePublic>,
        reason: Closed,
    ) {
        let Some(key) = key else {
            return trace!(connection = id.index(), from = from.map(display), %reason, "connection ended");
        };
        let unsaid = if is_cut(reason) { self.take_line(now) } else { None };
        match unsaid {
            Some(unsaid) => info!(from = from.map(display), %key, %reason, unsaid, "client cut"),
            None => debug!(connection = id.index(), from = from.map(display), %key, %reason, "client left"),
        }
    }

    /// Whether one more line may be said, and how many were not.
    fn take_line(&mut self, now: Instant) -> Option<u64> {
        if self.lines.try_take(now) {
            return Some(mem::take(&mut self.unsaid));
        }
        self.unsaid += 1;
        None
    }
}

/// Whether it was the relay that did not want to go on with a client.
const fn is_cut(reason: Closed) -> bool {
    !matches!(reason, Closed::Left | Closed::Transport | Closed::Shutdown)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::t0;

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_written() {
        let mut log = Log::new(t0());
        let said = (0..1000).filter(|_| log.take_line(t0()).is_some()).count();
        assert_eq!(said, 20);
        assert_eq!(log.take_line(t0() + Duration::from_secs(1)), Some(980));
        assert_eq!(log.take_line(t0() + Duration::from_secs(2)), Some(0));
    }
}
