//! How a batch is filled from the device: over several reads, each packet read to where it stays.

use std::io::{self, IoSliceMut};

use tidewire_packet::{Batch, HEADROOM, Plain, padded_len};

use crate::{
    counters::{Counters, Discard},
    segment::{self, Cut, Malformed, SuperPacket},
    vnet::{self, Header},
};

/// Bytes of a batch, once sealed: what one UDP send carries (65,507). A super-packet of TCP holds a little more; the rest
/// of it goes first into the next batch.
const LIMIT: usize = 65_507;

/// Packets of a batch: two UDP sends of small ones. More would wait for each other.
const MAX_PACKETS: usize = 128;

/// The longest packet there is: IPv6 with the largest payload length.
const LONGEST: usize = 40 + 65_535;

/// Reads packets into batches: the device's side of [`Tun`](crate::Tun) without a device, for those who bring their own.
///
/// A packet of at most the MTU is read into the slab, where it stays. Of a super-packet the first segment is, and what is
/// behind it lands in `overflow`, from where it is cut into the slab with its checksum computed in the same pass.
#[derive(Debug)]
pub struct Reader {
    // Whether the device puts its header before each packet.
    has_header: bool,
    // The last packet that did not go into one slot, at its own offsets: the first slot's bytes may be missing.
    overflow: Vec<u8>,
    left: Option<Left>,
    // Whether a packet was longer than the MTU that was told.
    has_seen_longer: bool,
}

/// What of the overflow belongs into the next batch.
#[derive(Debug)]
enum Left {
    Segments(SuperPacket),
    Packet { len: usize },
}

impl Reader {
    /// A reader for a device that puts its [header](crate::vnet) before each packet, or does not.
    #[must_use]
    pub fn new(has_header: bool) -> Self {
        Self { has_header, overflow: vec![0; LONGEST], left: None, has_seen_longer: false }
    }

    /// Whether the next batch has packets without asking the device.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// Drops what would go into the next batch without asking the device.
    pub fn forget_left(&mut self) {
        self.left = None;
    }

    /// Whether a packet was longer than the MTU, which must have grown, since this was last asked.
    pub const fn take_seen_longer(&mut self) -> bool {
        std::mem::replace(&mut self.has_seen_longer, false)
    }

    /// Fills `batch` until it is full or `read` says `WouldBlock`. `read` reads one packet, its header first, into the
    /// places it is given, and says how many bytes that were.
    ///
    /// # Errors
    /// What `read` said, if the batch is empty.
    pub fn fill(
        &mut self,
        batch: &mut Batch<Plain>,
        mtu: usize,
        counters: &mut Counters,
        mut read: impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let before = batch.len();
        let mut ended = Ok(());
        if self.put_left(batch, mtu) == Cut::All {
            while batch.len() < MAX_PACKETS && self.left.is_none() && segment::fits(batch, mtu, mtu, LIMIT) {
                match self.read_one(batch, mtu, &mut read) {
                    Ok(Ok(())) => counters.read_calls += 1,
                    Ok(Err(_)) => counters.discards.add(Discard::Malformed, 1),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        ended = Err(error);
                        break;
                    }
                }
            }
        }
        counters.read += (batch.len() - before) as u64;
        // An error that lasts is met again by the next call.
        if batch.is_empty() { ended } else { Ok(()) }
    }

    fn put_left(&mut self, batch: &mut Batch<Plain>, mtu: usize) -> Cut {
        let cut = match &mut self.left {
            None => Cut::All,
            Some(Left::Segments(segments)) => {
                let len = segments.total_len();
                segments.cut(&self.overflow[..len], batch, mtu, LIMIT)
            }
            Some(Left::Packet { len }) if segment::fits(batch, *len, mtu, LIMIT) => {
                // The first packet of a slab always goes in, and others fit.
                let _ = batch.push(&self.overflow[..*len]);
                Cut::All
            }
            Some(Left::Packet { .. }) => Cut::Full,
        };
        if cut == Cut::All {
            self.left = None;
        }
        cut
    }

    fn read_one(
        &mut self,
        batch: &mut Batch<Plain>,
        mtu: usize,
        read: &mut impl FnMut(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<Result<(), Malformed>> {
        let mut head = [0; vnet::LEN];
        let head = &mut head[..if self.has_header { vnet::LEN } else { 0 }];
        let (_, spare) = batch.spare_mut();
        let slot = spare.get_mut(HEADROOM..HEADROOM + mtu.min(LONGEST)).ok_or(io::ErrorKind::OutOfMemory)?;
        let behind = &mut self.overflow[slot.len()..];
        let mut places = [IoSliceMut::new(head), IoSliceMut::new(slot), IoSliceMut::new(behind)];
        let places = if self.has_header { &mut places[..] } else { &mut places[1..] };
        let read = read(places)?;
        let Some(len) = read.checked_sub(head.len()).filter(|len| *len > 0) else {
            return Ok(Err(Malformed::Vnet));
        };
        let header = head.first_chunk().map_or(Ok(Header::default()), Header::decode);
        Ok(header.map_err(Malformed::from).and_then(|header| self.take(batch, mtu, &header, len)))
    }

    /// Takes the packet that was read: its first bytes lie in the slab where the next packet's place is, the others in the
    /// overflow.
    fn take(
        &mut self,
        batch: &mut Batch<Plain>,
        mtu: usize,
        header: &Header,
        len: usize,
    ) -> Result<(), Malformed> {
        let (_, spare) = batch.spare_mut();
        let there = len.min(mtu);
        let slot = spare.get_mut(HEADROOM..HEADROOM + there).ok_or(Malformed::Headers)?;
        let super_packet = SuperPacket::parse(header, slot, len)?;
        let in_place = super_packet.as_ref().map_or(len, SuperPacket::first_len);
        if super_packet.is_none() && in_place == there {
            segment::complete(header, slot)?;
        }
        if in_place != there {
            self.overflow[..there].copy_from_slice(slot);
        }
        let left = match super_packet {
            Some(mut segments) => {
                if in_place == there {
                    let segment =
                        batch.reserve(there, padded_len(there, mtu)).map_err(|_| Malformed::Segments)?;
                    segments.first_in_place(segment);
                }
                Left::Segments(segments)
            }
            None if in_place == there => {
                // The bytes are there: this only says so.
                let _ = batch.reserve(len, padded_len(len, mtu));
                return Ok(());
            }
            None => {
                self.has_seen_longer = true;
                segment::complete(header, &mut self.overflow[..len])?;
                Left::Packet { len }
            }
        };
        self.left = Some(left);
        self.put_left(batch, mtu);
        Ok(())
    }
}
