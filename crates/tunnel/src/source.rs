//! What the tunnel is told about where a handshake message came from: opaque bytes, to be MACed and counted.

use std::fmt;

/// Where a handshake message came from, in a form that the tunnel does not understand.
///
/// The first 32 bytes name a machine (an IP address, or the node key of a relay's client), the last two a port there. A
/// cookie is bound to all of them; the budget of handshakes counts machines, so that many ports get no more than one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub [u8; 34]);

impl Source {
    pub(crate) fn machine(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("34 bytes begin with 32")
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
