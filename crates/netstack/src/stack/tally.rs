//! Why a packet ended in the stack, and how often each reason occurred.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::Limits;

/// Why a packet that came in had no effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Discard {
    /// No IP packet, or one whose transport header is cut off.
    Malformed,
    /// A fragment; nothing is reassembled.
    Fragment,
    /// For an address that is not the stack's.
    NotOwn,
    /// From an address that no host has.
    Source,
    /// A checksum is wrong.
    Checksum,
    /// Neither TCP, UDP nor ICMP of its own IP version.
    Protocol,
    /// ICMP that is no echo request.
    Icmp,
    /// A new connection that found the listener's backlog full.
    Backlog,
    /// A new connection that found no socket left, or no memory for it.
    Sockets,
    /// A datagram that found its socket's queue full.
    Datagrams,
}

impl Discard {
    /// Every reason, in order.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Fragment,
        Self::NotOwn,
        Self::Source,
        Self::Checksum,
        Self::Protocol,
        Self::Icmp,
        Self::Backlog,
        Self::Sockets,
        Self::Datagrams,
    ];
}

/// How often each [`Discard`] occurred, and how many sockets there are. The numbers only go up, that of sockets excepted.
#[derive(Debug, Default)]
pub struct Tally {
    discards: [AtomicU64; Discard::ALL.len()],
    sockets: AtomicUsize,
    memory: AtomicUsize,
}

impl Tally {
    /// How many packets ended for this reason since the start.
    #[must_use]
    pub fn get(&self, reason: Discard) -> u64 {
        self.discards[reason as usize].load(Ordering::Relaxed)
    }

    /// How many TCP connections, those that linger included, and UDP sockets there are.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.load(Ordering::Relaxed)
    }

    /// Bytes of all sockets' buffers together, backed or not.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Whether there may be one more socket with buffers of `bytes` in all.
    pub(crate) fn has_room(&self, limits: &Limits, bytes: usize) -> bool {
        self.sockets() < limits.sockets && self.memory().saturating_add(bytes) <= limits.memory
    }

    pub(crate) fn count(&self, reason: Discard) {
        self.discards[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(&self, sockets: usize, memory: usize) {
        self.sockets.store(sockets, Ordering::Relaxed);
        self.memory.store(memory, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_number_of_its_own() {
        let tally = Tally::default();
        for (i, reason) in Discard::ALL.into_iter().enumerate() {
            (0..=i).for_each(|_| tally.count(reason));
        }
        for (i, reason) in Discard::ALL.into_iter().enumerate() {
            assert_eq!(tally.get(reason), i as u64 + 1);
        }
    }
}
