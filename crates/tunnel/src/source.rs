//! What the tunnel is told about where a handshake message came from: opaque bytes, to be MACed and counted.

use std::fmt;

/// Where a handshake message came from, in a form that the tunnel does not understand.
///
/// A cookie is bound to the whole place. The budget of handshakes counts groups: whoever can send from one place of a group
/// can as well from all others (the ports of a machine, the addresses of an IPv6 network), and gets no more for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    place: [u8; 34],
    group: u8,
}

impl Source {
    /// `place` is where exactly; its first `group` bytes, 32 at most, name the group.
    #[must_use]
    pub const fn new(place: [u8; 34], group: usize) -> Self {
        let group = if group < GROUP { group } else { GROUP };
        Self { place, group: group as u8 }
    }

    /// Where exactly.
    #[must_use]
    pub const fn place(&self) -> &[u8; 34] {
        &self.place
    }

    /// The name of the group, filled up with zeros.
    #[must_use]
    pub fn group(&self) -> [u8; GROUP] {
        let mut name = [0; GROUP];
        let len = usize::from(self.group);
        name[..len].copy_from_slice(&self.place[..len]);
        name
    }
}

/// Length of the longest name of a group: a node's key.
const GROUP: usize = 32;

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(")?;
        self.place.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "/{})", self.group)
    }
}
