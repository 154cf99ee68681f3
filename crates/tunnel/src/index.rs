//! Which receiver indexes are in use, and for whom: random numbers whose top bits name the shard.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tidewire_keys::Drbg;

/// Which part of the receiver indexes belongs to this tunnel, so that a datagram's index says which of several tunnels
/// (one for each event loop) has its session. The default is all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shard {
    bits: u8,
    number: u32,
}

impl Shard {
    /// The most top bits that may name a shard: 256 shards.
    pub const MAX_BITS: u8 = 8;

    /// The shard `number`, named by the top `bits` of each index. `None` for more than [`MAX_BITS`](Self::MAX_BITS), or if
    /// the number does not fit in them.
    #[must_use]
    pub const fn new(bits: u8, number: u32) -> Option<Self> {
        if bits <= Self::MAX_BITS && number < 1 << bits { Some(Self { bits, number }) } else { None }
    }

    /// The number that `index` names if its top `bits` name shards.
    #[must_use]
    pub const fn of(bits: u8, index: u32) -> u32 {
        if bits == 0 { 0 } else { index >> (32 - bits as u32) }
    }

    const fn mark(self, random: u32) -> u32 {
        if self.bits == 0 { random } else { random >> self.bits | self.number << (32 - self.bits as u32) }
    }
}

/// The indexes in use, each with the slot of the peer that it belongs to.
pub(crate) struct Indexes {
    shard: Shard,
    // The keys are random and ours, so nobody can choose ones that collide.
    slots: HashMap<u32, u32, FixedState>,
}

impl Indexes {
    pub(crate) fn new(shard: Shard) -> Self {
        Self { shard, slots: HashMap::default() }
    }

    /// Takes a new index for the peer in `slot`.
    pub(crate) fn allocate(&mut self, drbg: &mut Drbg, slot: u32) -> u32 {
        loop {
            let index = self.shard.mark(drbg.next_u32());
            if let std::collections::hash_map::Entry::Vacant(vacant) = self.slots.entry(index) {
                vacant.insert(slot);
                return index;
            }
        }
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(&index).copied()
    }

    pub(crate) fn retire(&mut self, index: u32) {
        self.slots.remove(&index);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use tidewire_keys::Seed;

    use super::*;

    #[test]
    fn indexes_name_their_shard_and_are_not_used_twice() {
        let mut drbg = Drbg::new(&Seed::new([1; 32]), "test");
        let mut indexes = Indexes::new(Shard::new(3, 5).unwrap());
        let mut all: Vec<u32> = (0..1000).map(|slot| indexes.allocate(&mut drbg, slot)).collect();
        assert!(all.iter().all(|&index| Shard::of(3, index) == 5));
        assert_eq!(indexes.slot(all[7]), Some(7));
        indexes.retire(all[7]);
        assert_eq!(indexes.slot(all[7]), None);
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), indexes.len()), (1000, 999));
    }

    #[test]
    fn without_shards_every_bit_is_random() {
        let mut drbg = Drbg::new(&Seed::new([2; 32]), "test");
        let mut indexes = Indexes::new(Shard::default());
        let (mut ones, mut zeros) = (0, 0);
        for _ in 0..200 {
            let index = indexes.allocate(&mut drbg, 0);
            (ones, zeros) = (ones | index, zeros | !index);
        }
        assert_eq!((ones, zeros), (u32::MAX, u32::MAX));
    }

    #[test]
    fn a_shard_that_does_not_fit_is_refused() {
        assert_eq!(Shard::new(2, 4), None);
        assert_eq!(Shard::new(9, 0), None);
        assert_eq!(Shard::new(0, 0), Some(Shard::default()));
        assert!(Shard::new(8, 255).is_some());
    }
}
