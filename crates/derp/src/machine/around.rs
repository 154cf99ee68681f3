//! What a link needs of the world around it, and what it tells that world.

use std::time::Duration;

use tidewire_keys::{Drbg, NodePublic, NodeSecret};

use super::{
    outbox::Outbox,
    report::{Discard, Seen, Step},
};
use crate::{
    frame::{Frame, GoneReason},
    login::ClientInfo,
};

/// Who logs in.
pub(super) struct Identity {
    pub(super) key: NodeSecret,
    pub(super) public: NodePublic,
    pub(super) info: ClientInfo,
}

/// What a link needs of the world around it.
pub(super) struct Around<'a> {
    pub(super) identity: &'a Identity,
    pub(super) drbg: &'a mut Drbg,
    pub(super) outbox: &'a mut Outbox,
    /// Whether this region is our home.
    pub(super) home: bool,
}

/// What a relay said that is not for the link alone.
pub(super) enum Heard<'a> {
    Packet {
        from: NodePublic,
        packet: &'a [u8],
    },
    Up,
    /// The round trip time was measured.
    Rtt,
    Gone {
        peer: NodePublic,
        reason: GoneReason,
    },
    Health(Option<String>),
    Restarting {
        reconnect_in: Duration,
        try_for: Duration,
    },
    Discard(Discard),
}

/// Why a link ends.
pub(super) type Broken = (Step, Seen);

impl Around<'_> {
    /// The same once more, for a shorter time.
    pub(super) const fn again(&mut self) -> Around<'_> {
        Around { identity: self.identity, drbg: self.drbg, outbox: self.outbox, home: self.home }
    }
}

/// Says something of fixed length, before any packet.
pub(super) fn say(frame: &Frame<'_>, outbox: &mut Outbox) {
    let said = frame.encode(outbox.control());
    debug_assert!(said.is_ok(), "a frame of fixed length always fits");
}
