//! One pair of keys in time: what it may still seal and open, and how a packet is sealed and opened where it lies.

use std::time::{Duration, Instant};

use crate::{
    aead::Aead,
    discard::Discard,
    message::{TAG_LEN, TRANSPORT_HEADER_LEN, kind},
    noise::Keys,
    replay::Replay,
    timers::{KEEPALIVE_TIMEOUT, REKEY_TIMEOUT},
};

/// The initiator of a session replaces it at this age when it sends (WireGuard paper, section 6.2).
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// A session of this age neither sends nor receives (WireGuard paper, section 6.2).
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Either side replaces a session that has sent more messages than this (WireGuard paper, section 6.1).
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// No session uses this counter or one above it, nor takes one (WireGuard paper, section 6.1).
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// A session. It knows nothing of peers and places: indexes, keys, counters and its age.
pub(crate) struct Session {
    send: Aead,
    receive: Aead,
    counter: u64,
    // Type and receiver index, as they begin every message of this session.
    prefix: [u8; 8],
    created: Instant,
    reject_at: Instant,
    local: u32,
    is_initiator: bool,
    is_rekey_asked: bool,
    replay: Replay,
}

impl Session {
    pub(crate) fn new(now: Instant, keys: &Keys, local: u32, remote: u32, is_initiator: bool) -> Self {
        let mut prefix = [0; 8];
        prefix[..4].copy_from_slice(&kind::TRANSPORT.to_le_bytes());
        prefix[4..].copy_from_slice(&remote.to_le_bytes());
        Self {
            send: Aead::new(&keys.send),
            receive: Aead::new(&keys.receive),
            counter: 0,
            prefix,
            created: now,
            reject_at: now + REJECT_AFTER_TIME,
            local,
            is_initiator,
            is_rekey_asked: false,
            replay: Replay::new(),
        }
    }

    /// The index under which we receive.
    pub(crate) fn local(&self) -> u32 {
        self.local
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    /// Whether the handshakes of two sessions crossed on the way: begun by different sides, and derived in less time than
    /// anyone waits before a second handshake.
    pub(crate) fn crosses(&self, other: &Self) -> bool {
        let apart = self.created.max(other.created) - self.created.min(other.created);
        self.is_initiator != other.is_initiator && apart < REKEY_TIMEOUT / 2
    }

    pub(crate) fn is_initiator(&self) -> bool {
        self.is_initiator
    }

    /// Whether this session may open messages.
    #[inline]
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        now < self.reject_at
    }

    /// Whether this session may seal a message.
    #[inline]
    pub(crate) fn can_send(&self, now: Instant) -> bool {
        now < self.reject_at && self.counter < REJECT_AFTER_MESSAGES
    }

    /// Whether, after sending, another session should be negotiated.
    #[inline]
    pub(crate) fn is_stale_to_send(&self, now: Instant) -> bool {
        self.counter > REKEY_AFTER_MESSAGES || (self.is_initiator && now >= self.created + REKEY_AFTER_TIME)
    }

    /// Whether, after receiving, another session should be negotiated: true once, for the initiator, when what is left of
    /// the session's life would not do for an unanswered packet and a handshake.
    #[inline]
    pub(crate) fn becomes_stale_to_receive(&mut self, now: Instant) -> bool {
        let margin = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT;
        let stale = self.is_initiator && !self.is_rekey_asked && now >= self.reject_at - margin;
        self.is_rekey_asked |= stale;
        stale
    }

    /// Seals `datagram` in place: 16 bytes for the header, the cleartext with its padding, 16 bytes for the tag.
    ///
    /// # Errors
    /// [`Discard::CounterSpent`] if the session has no counter left.
    #[inline]
    pub(crate) fn seal(&mut self, datagram: &mut [u8]) -> Result<(), Discard> {
        let (header, rest) =
            datagram.split_first_chunk_mut::<TRANSPORT_HEADER_LEN>().ok_or(Discard::NoRoom)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Discard::NoRoom)?;
        let counter = self.counter;
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(Discard::CounterSpent);
        }
        self.counter = counter + 1;
        header[..8].copy_from_slice(&self.prefix);
        header[8..].copy_from_slice(&counter.to_le_bytes());
        *tag = self.send.seal(counter, &[], text);
        Ok(())
    }

    /// Opens `datagram`, a transport message with this session's index, in place; returns the length of the cleartext,
    /// which begins behind the header.
    ///
    /// # Errors
    /// The reason to drop it. The datagram's bytes are then worthless, the session is as before.
    #[inline]
    pub(crate) fn open(&mut self, datagram: &mut [u8]) -> Result<usize, Discard> {
        let (header, sealed) =
            datagram.split_first_chunk_mut::<TRANSPORT_HEADER_LEN>().ok_or(Discard::Malformed)?;
        let counter = u64::from_le_bytes(*header.last_chunk().expect("16 bytes end with 8"));
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(Discard::CounterSpent);
        }
        self.replay.check(counter)?;
        let len = self.receive.open(counter, &[], sealed).ok_or(Discard::Forged)?;
        self.replay.mark(counter);
        Ok(len)
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, counter: u64) {
        self.counter = counter;
    }
}
