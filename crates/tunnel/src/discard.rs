//! Why a packet or a message ends here: a closed list, and one counter for each reason.

/// Why the tunnel dropped a packet or a handshake message. Each drop has exactly one reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Discard {
    /// To be sealed for a peer that does not exist.
    UnknownPeer,
    /// To be sealed, without the 16 bytes in front and behind that a batch of cleartext promises.
    NoRoom,
    /// Waited for a session and was the oldest when the queue was full.
    WaitingFull,
    /// Waited for a session that could not be had within 90 s.
    GaveUp,
    /// Waited for a session when the peer was removed or told to expire, or its keys were wiped.
    PeerGone,
    /// No message of the protocol: unknown type, reserved bytes set, or a length that the type does not have.
    Malformed,
    /// Names a receiver index that nobody has (an old session, another program, or a guess).
    UnknownIndex,
    /// Its session is older than 180 s.
    SessionTooOld,
    /// Its counter was seen before.
    Replayed,
    /// Its counter lies before the replay window.
    BeforeWindow,
    /// Its counter is one that must never be used (WireGuard paper, section 6.1).
    CounterSpent,
    /// Did not decrypt: changed on the way, or not from the peer.
    Forged,
    /// Its first MAC is wrong: the sender does not know our public key.
    BadMac1,
    /// The oldest handshake message when the queue was full.
    HandshakesFull,
    /// Under load and without a valid second MAC: answered with a cookie.
    CookieAsked,
    /// Under load and from a source that has spent its budget.
    OverBudget,
    /// An initiation that is not from any peer.
    UnknownInitiator,
    /// An initiation whose Noise message does not decrypt.
    BadInitiation,
    /// An initiation with a time stamp that is not newer than the newest seen: a replay.
    OldInitiation,
    /// An initiation less than 20 ms after the one before.
    InitiationTooSoon,
    /// A response to no initiation in flight.
    UnexpectedResponse,
    /// A response whose Noise message does not decrypt; the initiation stays in flight.
    BadResponse,
    /// A cookie reply to no message of ours.
    UnexpectedCookie,
    /// A cookie reply that does not decrypt.
    BadCookie,
    /// The peer's public key, or an ephemeral key, leads to an all-zero shared secret.
    WeakKey,
}

impl Discard {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 25] = [
        Self::UnknownPeer,
        Self::NoRoom,
        Self::WaitingFull,
        Self::GaveUp,
        Self::PeerGone,
        Self::Malformed,
        Self::UnknownIndex,
        Self::SessionTooOld,
        Self::Replayed,
        Self::BeforeWindow,
        Self::CounterSpent,
        Self::Forged,
        Self::BadMac1,
        Self::HandshakesFull,
        Self::CookieAsked,
        Self::OverBudget,
        Self::UnknownInitiator,
        Self::BadInitiation,
        Self::OldInitiation,
        Self::InitiationTooSoon,
        Self::UnexpectedResponse,
        Self::BadResponse,
        Self::UnexpectedCookie,
        Self::BadCookie,
        Self::WeakKey,
    ];

    /// The reason as a word for metrics: lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownPeer => "unknown_peer",
            Self::NoRoom => "no_room",
            Self::WaitingFull => "waiting_full",
            Self::GaveUp => "gave_up",
            Self::PeerGone => "peer_gone",
            Self::Malformed => "malformed",
            Self::UnknownIndex => "unknown_index",
            Self::SessionTooOld => "session_too_old",
            Self::Replayed => "replayed",
            Self::BeforeWindow => "before_window",
            Self::CounterSpent => "counter_spent",
            Self::Forged => "forged",
            Self::BadMac1 => "bad_mac1",
            Self::HandshakesFull => "handshakes_full",
            Self::CookieAsked => "cookie_asked",
            Self::OverBudget => "over_budget",
            Self::UnknownInitiator => "unknown_initiator",
            Self::BadInitiation => "bad_initiation",
            Self::OldInitiation => "old_initiation",
            Self::InitiationTooSoon => "initiation_too_soon",
            Self::UnexpectedResponse => "unexpected_response",
            Self::BadResponse => "bad_response",
            Self::UnexpectedCookie => "unexpected_cookie",
            Self::BadCookie => "bad_cookie",
            Self::WeakKey => "weak_key",
        }
    }
}

/// How often each [`Discard`] happened since the tunnel was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// How often `reason` happened.
    #[must_use]
    pub fn get(&self, reason: Discard) -> u64 {
        self.0[reason as usize]
    }

    /// How many packets and messages were dropped in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, in the order of [`Discard::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }

    pub(crate) fn add(&mut self, reason: Discard) {
        self.add_many(reason, 1);
    }

    pub(crate) fn add_many(&mut self, reason: Discard, count: usize) {
        self.0[reason as usize] += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_place_and_name() {
        let mut names: Vec<_> = Discard::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Discard::ALL.len());
        assert!(Discard::ALL.iter().enumerate().all(|(i, &reason)| reason as usize == i));
    }

    #[test]
    fn counting_one_reason_leaves_the_others() {
        let mut discards = Discards::default();
        discards.add(Discard::Forged);
        discards.add_many(Discard::Replayed, 3);
        assert_eq!(
            discards.iter().filter(|&(_, n)| n > 0).collect::<Vec<_>>(),
            [(Discard::Replayed, 3), (Discard::Forged, 1)]
        );
        assert_eq!(discards.total(), 4);
    }
}
