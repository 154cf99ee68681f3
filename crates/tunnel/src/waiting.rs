//! How many packets wait for sessions, and which go when they are too many.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::discard::{Discard, Discards};

/// The most packets that wait for one peer's session.
pub const WAITING_PACKETS: usize = 256;
/// The most bytes of packets that wait in one tunnel, for all peers together.
pub const WAITING_BYTES: usize = 2 << 20;

/// The packets that wait for sessions, by the slot of the peer that they are for.
///
/// Each is copied to memory of its own size, so that it keeps no slab in use. Where all together are too many bytes, the
/// queue with the most loses its oldest: peers that never answer take nothing from one that has little.
#[derive(Default)]
pub(crate) struct Waiting {
    // Only of peers for which something waits.
    queues: BTreeMap<u32, Queue>,
    // Each of them with its bytes, so that the longest is found at once.
    by_bytes: BTreeSet<(usize, u32)>,
    bytes: usize,
}

/// Oldest first.
#[derive(Default)]
struct Queue {
    packets: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Waiting {
    pub(crate) fn len(&self, slot: u32) -> usize {
        self.queues.get(&slot).map_or(0, |queue| queue.packets.len())
    }

    /// The bytes of all packets for the peer in `slot`.
    pub(crate) fn bytes(&self, slot: u32) -> usize {
        self.queues.get(&slot).map_or(0, |queue| queue.bytes)
    }

    /// The length of the oldest packet for the peer in `slot`, if any waits.
    pub(crate) fn first_len(&self, slot: u32) -> Option<usize> {
        self.queues.get(&slot)?.packets.front().map(|packet| packet.len())
    }

    /// Appends a copy of `packet`, for which older ones may have to go.
    pub(crate) fn push(&mut self, slot: u32, packet: &[u8], discards: &mut Discards) {
        if self.len(slot) >= WAITING_PACKETS {
            self.pop(slot);
            discards.add(Discard::WaitingFull);
        }
        while self.bytes + packet.len() > WAITING_BYTES {
            discards.add(Discard::WaitingFull);
            match self.by_bytes.last() {
                Some(&(_, longest)) => drop(self.pop(longest)),
                None => return,
            }
        }
        let queue = self.queues.entry(slot).or_default();
        self.by_bytes.remove(&(queue.bytes, slot));
        queue.bytes += packet.len();
        queue.packets.push_back(packet.into());
        self.by_bytes.insert((queue.bytes, slot));
        self.bytes += packet.len();
    }

    /// Takes the oldest packet for the peer in `slot`.
    pub(crate) fn pop(&mut self, slot: u32) -> Option<Box<[u8]>> {
        let queue = self.queues.get_mut(&slot)?;
        let oldest = queue.packets.pop_front()?;
        self.by_bytes.remove(&(queue.bytes, slot));
        queue.bytes -= oldest.len();
        self.bytes -= oldest.len();
        if queue.packets.is_empty() {
            self.queues.remove(&slot);
        } else {
            self.by_bytes.insert((queue.bytes, slot));
        }
        Some(oldest)
    }

    /// Drops everything for the peer in `slot`, counted under `reason`.
    pub(crate) fn drop_all(&mut self, slot: u32, reason: Discard, discards: &mut Discards) {
        let Some(queue) = self.queues.remove(&slot) else { return };
        self.by_bytes.remove(&(queue.bytes, slot));
        self.bytes -= queue.bytes;
        discards.add_many(reason, queue.packets.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both tables and the sum say the same.
    fn check(waiting: &Waiting) {
        let summed = |queue: &Queue| queue.packets.iter().map(|packet| packet.len()).sum::<usize>();
        let listed: BTreeSet<_> = waiting.queues.iter().map(|(slot, queue)| (summed(queue), *slot)).collect();
        assert_eq!(listed, waiting.by_bytes);
        assert_eq!(listed.iter().map(|(bytes, _)| bytes).sum::<usize>(), waiting.bytes);
        assert!(waiting.bytes <= WAITING_BYTES);
        assert!(waiting.queues.values().all(|queue| (1..=WAITING_PACKETS).contains(&queue.packets.len())));
    }

    #[test]
    fn the_oldest_packet_goes_when_a_peer_has_too_many() {
        let (mut waiting, mut discards) = (Waiting::default(), Discards::default());
        for i in 0..WAITING_PACKETS + 3 {
            waiting.push(5, &[i as u8; 40], &mut discards);
        }
        assert_eq!(waiting.len(5), WAITING_PACKETS);
        assert_eq!(waiting.bytes(5), WAITING_PACKETS * 40);
        assert_eq!(discards.get(Discard::WaitingFull), 3);
        assert_eq!(waiting.pop(5).unwrap()[0], 3);
        check(&waiting);
        waiting.drop_all(5, Discard::PeerGone, &mut discards);
        assert_eq!(discards.get(Discard::PeerGone), WAITING_PACKETS as u64 - 1);
        check(&waiting);
        assert_eq!((waiting.bytes, waiting.len(5), waiting.first_len(5)), (0, 0, None));
    }

    #[test]
    fn all_peers_together_have_a_limit_in_bytes_and_share_it() {
        let (mut waiting, mut discards) = (Waiting::default(), Discards::default());
        for _ in 0..WAITING_PACKETS {
            for peer in 0..100 {
                waiting.push(peer, &[0; 1400], &mut discards);
            }
            check(&waiting);
        }
        assert!(waiting.bytes > WAITING_BYTES - 1400);
        let share = WAITING_BYTES / 1400 / 100;
        assert!((0..100).all(|peer| (share - 1..=share + 1).contains(&waiting.len(peer))));
    }

    #[test]
    fn peers_that_never_answer_take_nothing_from_one_that_has_little() {
        let (mut waiting, mut discards) = (Waiting::default(), Discards::default());
        for dead in 0..6 {
            for _ in 0..WAITING_PACKETS {
                waiting.push(dead, &[0; 1400], &mut discards);
            }
        }
        assert!(waiting.bytes > WAITING_BYTES - 1400, "full");
        for i in 0..20 {
            waiting.push(6, &[i; 1400], &mut discards);
        }
        // And the dead go on.
        for _ in 0..1000 {
            for dead in 0..6 {
                waiting.push(dead, &[0; 1400], &mut discards);
            }
        }
        check(&waiting);
        let kept: Vec<u8> = std::iter::from_fn(|| waiting.pop(6)).map(|packet| packet[0]).collect();
        assert_eq!(kept, (0..20).collect::<Vec<u8>>());
        check(&waiting);
    }
}
