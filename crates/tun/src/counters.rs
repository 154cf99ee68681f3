//! What is counted: packets and calls each way, and why some packets ended here.

/// Why a packet ended at the device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Discard {
    /// The device handed over a packet whose headers make no sense.
    Malformed,
    /// The interface is down: nothing can be delivered.
    Down,
    /// The system refused to take the packet: it is no IP packet, or memory is short.
    Refused,
    /// The packet waited for a reader that came too late ([`Tun::discard_waiting`](crate::Tun::discard_waiting)); a
    /// super-packet counts as one.
    Stale,
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::Down, Self::Refused, Self::Stale];

    const fn index(self) -> usize {
        match self {
            Self::Malformed => 0,
            Self::Down => 1,
            Self::Refused => 2,
            Self::Stale => 3,
        }
    }
}

/// How many packets ended at the device, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// How many for `reason`.
    #[must_use]
    pub const fn get(&self, reason: Discard) -> u64 {
        self.0[reason.index()]
    }

    pub(crate) const fn add(&mut self, reason: Discard, packets: u64) {
        self.0[reason.index()] += packets;
    }
}

/// What the device did since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets read, segments of super-packets counted each.
    pub read: u64,
    /// Calls that read something.
    pub read_calls: u64,
    /// Packets written, segments of super-packets counted each.
    pub written: u64,
    /// Calls that wrote something.
    pub write_calls: u64,
    /// Super-packets that the system refused, and that were written packet by packet.
    pub ungathered: u64,
    /// Packets that ended here, by reason.
    pub discards: Discards,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut discards = Discards::default();
        for (i, reason) in (1..).zip(Discard::ALL) {
            discards.add(reason, i);
        }
        assert_eq!(Discard::ALL.map(|reason| discards.get(reason)), [1, 2, 3, 4]);
    }
}
