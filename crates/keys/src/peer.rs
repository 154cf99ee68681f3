//! What a peer is called inside one process.

use core::fmt;

/// A peer of the local node: a small number chosen by whoever keeps the peer table.
///
/// It never appears on the wire and means nothing in another process. A transport knows no peer ids: who sent
/// a packet is decided by cryptography, not by where it came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}
