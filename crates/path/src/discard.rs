//! Why something that arrived came to nothing, or something wanted was not sent; each reason has a count.

/// Why a datagram ended here, or why a packet was not sent. None of them is worth a log line: strangers cause most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Discard {
    /// Not a disco datagram, or too short for any message.
    Envelope,
    /// Sent by a disco key of no peer; no cryptography was spent on it.
    UnknownSender,
    /// The box did not open: forged, or for an older key of ours.
    Unopened,
    /// The box opened and held no message that is known.
    Message,
    /// Marked as a peer relay's control message, while none is spoken with.
    Control,
    /// A message about peer relays, which this node does not use.
    PeerRelay,
    /// By DERP, from a node that is no peer.
    UnknownNode,
    /// A ping with the number of the last ping from that address: a copy.
    PingDuplicate,
    /// A ping from an address that no answer can go to.
    PingSource,
    /// A pong was due, but the peer's budget was used up.
    PongBudget,
    /// A pong for no ping that is waited for: too late, doubled, or made up.
    PongUnmatched,
    /// A pong by DERP for a ping by UDP: the way back is not proven.
    PongByRelay,
    /// A pong for an address that was given up since.
    PongRemoved,
    /// A CallMeMaybe that did not come by DERP.
    CallByUdp,
    /// A CallMeMaybe by DERP from another node than the one whose disco key it was sealed with.
    CallForeign,
    /// A CallMeMaybe without any usable address: empty, malformed or of another version.
    CallEmpty,
    /// One address of a CallMeMaybe that cannot be a peer: unspecified, multicast, broadcast, link-local IPv6, port 0.
    CallAddress,
    /// One address of a CallMeMaybe beyond the limit.
    CallLimit,
    /// An address of the map that cannot be a peer, or is beyond the limit.
    ListedAddress,
    /// A STUN server that cannot be one, is named twice, or is beyond the limit.
    StunServer,
    /// An address from which packets came, beyond the limit.
    MetLimit,
    /// A ping was due, but the budget was used up; it is tried again.
    PingBudget,
    /// No answer to a STUN request: malformed, an error, or a request.
    Stun,
    /// A STUN response for no request that is waited for, or from another address than the server's.
    StunUnmatched,
}

impl Discard {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Envelope,
        Self::UnknownSender,
        Self::Unopened,
        Self::Message,
        Self::Control,
        Self::PeerRelay,
        Self::UnknownNode,
        Self::PingDuplicate,
        Self::PingSource,
        Self::PongBudget,
        Self::PongUnmatched,
        Self::PongByRelay,
        Self::PongRemoved,
        Self::CallByUdp,
        Self::CallForeign,
        Self::CallEmpty,
        Self::CallAddress,
        Self::CallLimit,
        Self::ListedAddress,
        Self::StunServer,
        Self::MetLimit,
        Self::PingBudget,
        Self::Stun,
        Self::StunUnmatched,
    ];

    /// In a few words, for metrics and people: lower case, underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Envelope => "disco_envelope",
            Self::UnknownSender => "disco_unknown_sender",
            Self::Unopened => "disco_unopened",
            Self::Message => "disco_message",
            Self::Control => "disco_control",
            Self::PeerRelay => "disco_peer_relay",
            Self::UnknownNode => "disco_unknown_node",
            Self::PingDuplicate => "ping_duplicate",
            Self::PingSource => "ping_source",
            Self::PongBudget => "pong_budget",
            Self::PongUnmatched => "pong_unmatched",
            Self::PongByRelay => "pong_by_relay",
            Self::PongRemoved => "pong_removed",
            Self::CallByUdp => "call_by_udp",
            Self::CallForeign => "call_foreign",
            Self::CallEmpty => "call_empty",
            Self::CallAddress => "call_address",
            Self::CallLimit => "call_limit",
            Self::ListedAddress => "listed_address",
            Self::StunServer => "stun_server",
            Self::MetLimit => "met_limit",
            Self::PingBudget => "ping_budget",
            Self::Stun => "stun",
            Self::StunUnmatched => "stun_unmatched",
        }
    }
}

/// How often each [`Discard`] happened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// The count of one reason.
    #[must_use]
    pub const fn get(&self, reason: Discard) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }

    pub(crate) const fn count(&mut self, reason: Discard) {
        self.add(reason, 1);
    }

    pub(crate) const fn add(&mut self, reason: Discard, times: usize) {
        let count = &mut self.0[reason as usize];
        *count = count.saturating_add(times as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place_and_its_name() {
        let names: std::collections::BTreeSet<_> = Discard::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Discard::ALL.len());
        for (at, reason) in Discard::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            let mut discards = Discards::default();
            discards.add(reason, 2);
            assert!(discards.iter().all(|(other, count)| count == if other == reason { 2 } else { 0 }));
        }
    }
}
