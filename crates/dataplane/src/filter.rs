//! Which packets from peers may reach this node's side.

use tidewire_packet::IpHeader;

/// What peers may send to this node, on top of what is always checked: that the source address is the peer's own.
///
/// There is no default: a missing filter that drops everything in silence, or lets everything in, is a trap of this field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// Every packet of every peer.
    AllowAll,
    /// None, answers included. For a node that only relays handshakes or is being taken out of service.
    DenyAll,
}

impl Filter {
    /// Whether a packet with this header may pass.
    #[inline]
    pub(crate) const fn allows(self, _: &IpHeader) -> bool {
        matches!(self, Self::AllowAll)
    }
}
