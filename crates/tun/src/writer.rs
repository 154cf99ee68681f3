//! How the packets of a batch are written to the device: what belongs together in one call, and what to do where the
//! system refuses that.

use std::io::{self, IoSlice};

use tidewire_packet::{Batch, Plain};

use crate::{
    counters::{Counters, Discard},
    errors::{is_down, is_gone, is_refusal},
    gather::{Gather, MAX_SLICES, Offload},
    vnet,
};

/// How many batches are written packet by packet after a super-packet was refused, before one is tried again.
const REST: u16 = 1024;

/// Writes batches to the device: the other side of [`Tun`](crate::Tun) without a device, for those who bring their own.
#[derive(Debug)]
pub struct Writer {
    gather: Gather,
    // Whether the device wants its header before each packet.
    has_header: bool,
    offload: Offload,
    rest: u16,
}

impl Writer {
    /// A writer for a device that wants its [header](crate::vnet) before each packet, or does not, and takes super-packets
    /// as `offload` says.
    #[must_use]
    pub fn new(has_header: bool, offload: Offload) -> Self {
        Self { gather: Gather::default(), has_header, offload, rest: 0 }
    }

    /// Writes the packets of `batch` and leaves it empty. `write` writes one packet, whose pieces it is given, its header
    /// first. What the system refuses is counted.
    ///
    /// # Errors
    /// `WouldBlock`, with what was not written left in `batch`; and what `write` said where the device is gone.
    pub fn drain(
        &mut self,
        batch: &mut Batch<Plain>,
        counters: &mut Counters,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !batch.is_empty() {
            let offload = if self.rest == 0 { self.offload } else { Offload::default() };
            self.rest = self.rest.saturating_sub(1);
            self.gather.plan(batch, offload);
            match self.write_all(batch, counters, &mut write) {
                Ok(()) => batch.clear(),
                Err((n, error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.keep_from(n, batch);
                    return Err(error);
                }
                Err((_, error)) if is_gone(&error) => {
                    batch.clear();
                    return Err(error);
                }
                // A refused super-packet: once more, packet by packet.
                Err((n, _)) => {
                    counters.ungathered += 1;
                    self.rest = REST;
                    self.keep_from(n, batch);
                }
            }
        }
        Ok(())
    }

    /// Carries out the plan, up to the first write for which there is something to decide.
    fn write_all(
        &self,
        batch: &Batch<Plain>,
        counters: &mut Counters,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Result<(), (usize, io::Error)> {
        for n in 0..self.gather.len() {
            let packets = self.gather.packets(n);
            match self.write_one(n, batch, write) {
                Ok(()) => {
                    counters.written += packets as u64;
                    counters.write_calls += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_gone(&error) => {
                    return Err((n, error));
                }
                Err(error) if packets > 1 && is_refusal(&error) => return Err((n, error)),
                Err(error) => {
                    let reason = if is_down(&error) { Discard::Down } else { Discard::Refused };
                    counters.discards.add(reason, packets as u64);
                }
            }
        }
        Ok(())
    }

    fn write_one(
        &self,
        n: usize,
        batch: &Batch<Plain>,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let Some(planned) = self.gather.write(n, batch) else { return Ok(()) };
        match planned.alone() {
            Some(packet) if self.has_header => {
                write(&[IoSlice::new(&[0; vnet::LEN]), IoSlice::new(packet)])?;
            }
            Some(packet) => {
                write(&[IoSlice::new(packet)])?;
            }
            None => {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let count = planned.slices(&mut slices);
                write(&slices[..count])?;
            }
        }
        Ok(())
    }

    /// Removes from `batch` what the writes before `n` carried.
    fn keep_from(&self, n: usize, batch: &mut Batch<Plain>) {
        let mut kept = vec![true; batch.len()];
        for i in (0..n).flat_map(|n| self.gather.members(n)) {
            kept[i] = false;
        }
        batch.retain(|i, _| kept[i]);
    }
}
