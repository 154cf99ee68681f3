//! How many packets wait for a session, and which go when they are too many.

use std::collections::VecDeque;

use crate::discard::{Discard, Discards};

/// The most packets that wait for one peer's session.
pub const WAITING_PACKETS: usize = 256;
/// The most bytes of packets that wait in one tunnel, for all peers together.
pub const WAITING_BYTES: usize = 2 << 20;

/// The packets that wait for one peer's session, oldest first. Each is copied to memory of its own size, so that it keeps
/// no slab in use.
#[derive(Default)]
pub(crate) struct Waiting(VecDeque<Box<[u8]>>);

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a copy of `packet`. Where that is too much, this queue's oldest go, and where it has none, the packet itself.
    pub(crate) fn push(&mut self, packet: &[u8], total: &mut Total, discards: &mut Discards) {
        while self.0.len() >= WAITING_PACKETS || total.0 + packet.len() > WAITING_BYTES {
            discards.add(Discard::WaitingFull);
            match self.0.pop_front() {
                Some(oldest) => total.0 -= oldest.len(),
                None => return,
            }
        }
        total.0 += packet.len();
        self.0.push_back(packet.into());
    }

    /// Takes the oldest packet.
    pub(crate) fn pop(&mut self, total: &mut Total) -> Option<Box<[u8]>> {
        let oldest = self.0.pop_front();
        match &oldest {
            Some(packet) => total.0 -= packet.len(),
            None => self.0 = VecDeque::new(),
        }
        oldest
    }

    /// The bytes of all packets.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|packet| packet.len()).sum()
    }

    /// The length of the oldest packet.
    pub(crate) fn first_len(&self) -> Option<usize> {
        self.0.front().map(|packet| packet.len())
    }

    /// Drops everything, counted under `reason`.
    pub(crate) fn drop_all(&mut self, reason: Discard, total: &mut Total, discards: &mut Discards) {
        while self.pop(total).is_some() {
            discards.add(reason);
        }
    }
}

/// The bytes of all packets that wait in one tunnel.
#[derive(Default)]
pub(crate) struct Total(usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_packet_goes_when_a_peer_has_too_many() {
        let (mut waiting, mut total, mut discards) = Default::default();
        fill(&mut waiting, &mut total, &mut discards);
        assert_eq!(waiting.len(), WAITING_PACKETS);
        assert_eq!(discards.get(Discard::WaitingFull), 3);
        assert_eq!(waiting.pop(&mut total).unwrap()[0], 3);
        waiting.drop_all(Discard::PeerGone, &mut total, &mut discards);
        assert_eq!(discards.get(Discard::PeerGone), WAITING_PACKETS as u64 - 1);
        assert_eq!(total.0, 0);
    }

    fn fill(waiting: &mut Waiting, total: &mut Total, discards: &mut Discards) {
        for i in 0..WAITING_PACKETS + 3 {
            waiting.push(&[i as u8; 40], total, discards);
        }
    }

    #[test]
    fn all_peers_together_have_a_limit_in_bytes() {
        let (mut total, mut discards) = Default::default();
        let mut peers: Vec<Waiting> = (0..100).map(|_| Waiting::default()).collect();
        for _ in 0..WAITING_PACKETS {
            for peer in &mut peers {
                peer.push(&[0; 1400], &mut total, &mut discards);
                assert!(total.0 <= WAITING_BYTES);
            }
        }
        let kept: usize = peers.iter().map(|peer| peer.len() * 1400).sum();
        assert_eq!(kept, total.0);
        assert!(kept > WAITING_BYTES - 1400);
        assert!(peers.iter().all(|peer| !peer.is_empty()));
    }
}
