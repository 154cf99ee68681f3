//! Where outgoing packets are laid, and when there is no more room for them: the device under smoltcp.

use std::collections::VecDeque;

use smoltcp::{
    phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium},
    time::Instant,
};
use tidewire_packet::{Batch, Class, HEADROOM, Plain, Pool, TAILROOM, padded_len};

use super::inspect::Emitted;

/// The batch that is being filled, and those that are full.
pub(super) struct Outgoing {
    pool: Pool,
    mtu: usize,
    current: Batch<Plain>,
    full: VecDeque<Batch<Plain>>,
    emitted: Option<Emitted>,
}

/// Whether a call may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    /// One packet; another batch is begun where one is full. Who sends of its own accord asks
    /// [`is_full`](Outgoing::is_full) first: smoltcp forgets a fast retransmission that finds no room.
    Open,
    /// Nothing.
    Shut,
}

impl Outgoing {
    pub(super) fn new(pool: Pool, mtu: usize) -> Self {
        Self { pool, mtu, current: Batch::empty(), full: VecDeque::new(), emitted: None }
    }

    /// What was laid out last, unless it was asked before.
    pub(super) fn take_emitted(&mut self) -> Option<Emitted> {
        self.emitted.take()
    }

    /// The oldest batch that is full.
    pub(super) fn take_full(&mut self) -> Option<Batch<Plain>> {
        self.full.pop_front()
    }

    /// The batch that was being filled, if there is anything in it.
    pub(super) fn take_current(&mut self) -> Option<Batch<Plain>> {
        (!self.current.is_empty()).then(|| std::mem::take(&mut self.current))
    }

    /// Whether there is anything to take.
    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.current.is_empty()
    }

    /// Whether senders have to wait until the batch is taken.
    pub(super) fn is_full(&mut self) -> bool {
        !self.current.is_unbacked() && self.current.spare_mut().1.len() < HEADROOM + self.mtu + TAILROOM
    }

    fn place(&mut self, gate: Gate) -> Option<Place<'_>> {
        if gate == Gate::Shut {
            return None;
        }
        if self.current.is_unbacked() {
            self.current = self.pool.batch(Class::Send);
        } else if self.is_full() {
            let next = self.pool.batch(Class::Send);
            self.full.push_back(std::mem::replace(&mut self.current, next));
        }
        Some(Place(self))
    }
}

/// One call into smoltcp: at most one packet in, and the batch for what comes out.
pub(super) struct Lane<'a> {
    pub(super) packet: Option<&'a [u8]>,
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) gate: Gate,
}

/// The packet that came in.
pub(super) struct Arrival<'a>(&'a [u8]);

/// The right to lay one packet into the batch.
pub(super) struct Place<'a>(&'a mut Outgoing);

impl Device for Lane<'_> {
    type RxToken<'b>
        = Arrival<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Place<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(Arrival<'_>, Place<'_>)> {
        let packet = self.packet.take()?;
        Some((Arrival(packet), self.outgoing.place(self.gate)?))
    }

    fn transmit(&mut self, _: Instant) -> Option<Place<'_>> {
        self.outgoing.place(self.gate)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.outgoing.mtu;
        capabilities.checksum = checksums();
        capabilities
    }
}

/// smoltcp computes checksums; those of what comes in are verified before it sees a packet, so that a bad one is counted
/// and changes nothing.
fn checksums() -> ChecksumCapabilities {
    let mut checksums = ChecksumCapabilities::default();
    checksums.ipv4 = Checksum::Tx;
    checksums.udp = Checksum::Tx;
    checksums.tcp = Checksum::Tx;
    checksums.icmpv4 = Checksum::Tx;
    checksums.icmpv6 = Checksum::Tx;
    checksums
}

impl phy::RxToken for Arrival<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl phy::TxToken for Place<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let padded = padded_len(len, self.0.mtu);
        let place = self.0.current.reserve(len, padded);
        let place = place
            .expect("a place is given out only where a packet of the MTU fits; smoltcp sends none longer");
        let result = write(place);
        self.0.emitted = Some(Emitted::of(place));
        result
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::TxToken;

    use super::*;

    fn send(outgoing: &mut Outgoing, gate: Gate, len: usize) -> bool {
        let mut lane = Lane { packet: None, outgoing, gate };
        let Some(place) = lane.transmit(Instant::ZERO) else { return false };
        place.consume(len, |bytes| bytes.fill(7));
        true
    }

    #[test]
    fn a_full_batch_is_said_to_be_full_and_still_takes_replies() {
        let mut outgoing = Outgoing::new(Pool::default(), 1280);
        let mut sent = 0;
        while !outgoing.is_full() {
            assert!(send(&mut outgoing, Gate::Open, 1280));
            sent += 1;
        }
        assert_eq!(sent, Class::Send.bytes() / (1280 + HEADROOM + TAILROOM));
        assert!(send(&mut outgoing, Gate::Open, 60));
        assert_eq!(outgoing.take_full().unwrap().len(), sent);
        assert_eq!(outgoing.take_current().unwrap().len(), 1);
    }

    #[test]
    fn sealing_leaves_what_was_laid_out_back_to_back() {
        let mut outgoing = Outgoing::new(Pool::default(), 1280);
        for len in [1280, 1280, 41, 1279] {
            assert!(send(&mut outgoing, Gate::Open, len));
        }
        let batch = outgoing.take_current().unwrap();
        let sealed = |len: usize| HEADROOM + padded_len(len, 1280) + TAILROOM;
        for pair in batch.spans().windows(2) {
            assert_eq!(pair[1].start() - pair[0].start(), sealed(pair[0].len()));
        }
    }

    #[test]
    fn a_shut_gate_lets_nothing_out_and_takes_no_memory() {
        let pool = Pool::default();
        let mut outgoing = Outgoing::new(pool.clone(), 1280);
        assert!(!send(&mut outgoing, Gate::Shut, 40));
        assert!(outgoing.take_current().is_none());
        assert_eq!(pool.misses(Class::Send), 0);
    }
}
