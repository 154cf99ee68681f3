//! How packets that arrive in one read become one batch with runs.

use tidewire_keys::NodePublic;
use tidewire_packet::{Class, Pool};
use tidewire_transport::{FromUnderlay, Hop, RegionId};

/// Collects the packets of one read.
pub(super) struct Gather {
    pool: Pool,
    item: FromUnderlay,
    /// Batches that are full.
    full: Vec<FromUnderlay>,
}

impl Gather {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, item: FromUnderlay::default(), full: Vec::new() }
    }

    /// Adds a packet; `left` is how many bytes of the read there are at most, this packet and all that follow it.
    pub(super) fn push(&mut self, region: RegionId, from: NodePublic, packet: &[u8], left: usize) {
        if self.item.batch.push(packet).is_err() {
            self.finish_item();
            // The largest class is for sockets; a packet of a relay always fits the middle one.
            let small = left.max(packet.len()) <= Class::Small.bytes();
            self.item.batch = self.pool.batch(if small { Class::Small } else { Class::Send });
            if self.item.batch.push(packet).is_err() {
                debug_assert!(false, "no relay carries a packet longer than 64 KiB");
                return;
            }
        }
        let number = self.item.batch.len() - 1;
        self.item.address(number, Hop::Derp { region, peer_key: from });
    }

    /// The batches of this read, in order.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = FromUnderlay> + '_ {
        self.finish_item();
        self.full.drain(..)
    }

    fn finish_item(&mut self) {
        let item = std::mem::take(&mut self.item);
        if !item.batch.is_empty() {
            self.full.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: RegionId = RegionId(9);

    fn peer(n: u8) -> NodePublic {
        NodePublic::from_bytes([n; 32])
    }

    #[test]
    fn packets_of_one_peer_and_length_are_one_run() {
        let mut gather = Gather::new(Pool::default());
        for (from, len) in [(1, 100), (1, 100), (1, 50), (2, 50), (2, 60)] {
            gather.push(REGION, peer(from), &vec![from; len], 1000);
        }
        let items: Vec<FromUnderlay> = gather.finish().collect();
        assert_eq!(items.len(), 1);
        let runs: Vec<_> = items[0].runs.iter().map(|run| (run.first, run.count, run.stride)).collect();
        assert_eq!(runs, [(0, 3, 100), (3, 1, 50), (4, 1, 60)]);
        assert_eq!(items[0].batch.capacity(), Class::Small.bytes());
        assert_eq!(gather.finish().count(), 0);
    }

    #[test]
    fn what_does_not_fit_one_batch_goes_into_the_next() {
        let mut gather = Gather::new(Pool::default());
        for n in 0..3 {
            gather.push(REGION, peer(n), &vec![n; 65_536], 70_000);
        }
        gather.push(REGION, peer(3), &[], 0);
        let items: Vec<FromUnderlay> = gather.finish().collect();
        let lens: Vec<Vec<usize>> =
            items.iter().map(|item| item.batch.iter().map(<[u8]>::len).collect()).collect();
        assert_eq!(lens, [vec![65_536], vec![65_536], vec![65_536, 0]]);
    }
}
