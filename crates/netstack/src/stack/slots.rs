//! Which sockets there are, and how much memory a new one may have.

use std::{sync::Arc, time::Instant};

use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::{AnySocket, tcp, udp},
};

use super::{Why, connection::Tcp, tally::Tally};
use crate::{Local, config::Limits};

/// A connection gets at most this part of the memory that is left.
const SHARE: usize = 16;

/// The smallest buffer of a TCP connection.
const LEAST_BUFFER: usize = 65_535;

/// A TCP connection or a UDP socket of one [`Stack`](super::Stack). Never means another one later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId {
    index: u32,
    generation: u32,
}

impl SocketId {
    /// A small number for tables: of the sockets that exist at one time, no two have the same.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// One socket, in a set of its own: smoltcp walks a whole set for each packet.
pub(super) struct Slot {
    pub(super) set: SocketSet<'static>,
    pub(super) handle: SocketHandle,
    pub(super) kind: Kind,
    /// Whether it waits for its turn to send.
    pub(super) active: bool,
    /// Whether an event about it waits.
    pub(super) noted: bool,
    /// When it is looked at next, and why.
    pub(super) timer: Option<(Instant, Why)>,
    memory: usize,
}

pub(super) enum Kind {
    Tcp(Tcp),
    Udp(Udp),
}

/// One UDP socket.
#[derive(Clone, Copy)]
pub(super) struct Udp {
    pub(super) local: Local,
    /// Whether its user has let go of it.
    pub(super) abandoned: bool,
}

impl Slot {
    pub(super) fn new<S: AnySocket<'static>>(socket: S, kind: Kind, memory: usize) -> Self {
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Self { set, handle, kind, active: false, noted: false, timer: None, memory }
    }

    pub(super) fn tcp(&mut self) -> Option<(&mut Tcp, &mut tcp::Socket<'static>)> {
        match &mut self.kind {
            Kind::Tcp(tcp) => Some((tcp, self.set.get_mut(self.handle))),
            Kind::Udp(_) => None,
        }
    }

    pub(super) fn peek_tcp(&self) -> Option<(&Tcp, &tcp::Socket<'static>)> {
        match &self.kind {
            Kind::Tcp(tcp) => Some((tcp, self.set.get(self.handle))),
            Kind::Udp(_) => None,
        }
    }

    pub(super) fn udp(&mut self) -> Option<(&mut Udp, &mut udp::Socket<'static>)> {
        match &mut self.kind {
            Kind::Udp(udp) => Some((udp, self.set.get_mut(self.handle))),
            Kind::Tcp(_) => None,
        }
    }
}

/// All sockets of a stack.
pub(super) struct Slots {
    entries: Vec<Entry>,
    free: Vec<u32>,
    live: usize,
    memory: usize,
    limits: Limits,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    slot: Option<Slot>,
}

impl Slots {
    pub(super) const fn new(limits: Limits, tally: Arc<Tally>) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), live: 0, memory: 0, limits, tally }
    }

    /// Buffer sizes for one more connection, to receive and to send; none if a limit is reached.
    pub(super) fn buffers(&self) -> Option<(usize, usize)> {
        let left = self.left()?;
        if left < 2 * LEAST_BUFFER {
            return None;
        }
        let half = (left / SHARE / 2).max(LEAST_BUFFER);
        Some((ring(half.min(self.limits.receive_buffer)), half.min(self.limits.send_buffer)))
    }

    /// Whether there may be one more socket with buffers of `bytes` in all.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.tally.has_room(&self.limits, bytes)
    }

    pub(super) fn insert(&mut self, slot: Slot) -> SocketId {
        self.live += 1;
        self.memory += slot.memory;
        self.tally.set(self.live, self.memory);
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            u32::try_from(self.entries.len() - 1).expect("there are fewer sockets than memory holds")
        });
        let entry = &mut self.entries[index as usize];
        entry.slot = Some(slot);
        SocketId { index, generation: entry.generation }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Slot> {
        let entry = self.entries.get_mut(index as usize)?;
        let slot = entry.slot.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        self.live -= 1;
        self.memory -= slot.memory;
        self.tally.set(self.live, self.memory);
        Some(slot)
    }

    pub(super) fn at(&mut self, index: u32) -> Option<&mut Slot> {
        self.entries.get_mut(index as usize)?.slot.as_mut()
    }

    pub(super) fn get(&mut self, id: SocketId) -> Option<&mut Slot> {
        self.index(id).and_then(|index| self.at(index))
    }

    pub(super) fn peek(&self, id: SocketId) -> Option<&Slot> {
        let index = self.index(id)?;
        self.entries.get(index as usize)?.slot.as_ref()
    }

    /// The place of `id`, if it is still that socket's.
    pub(super) fn index(&self, id: SocketId) -> Option<u32> {
        let entry = self.entries.get(id.index as usize)?;
        (entry.generation == id.generation && entry.slot.is_some()).then_some(id.index)
    }

    pub(super) fn id(&self, index: u32) -> Option<SocketId> {
        let entry = self.entries.get(index as usize)?;
        entry.slot.as_ref().map(|_| SocketId { index, generation: entry.generation })
    }

    pub(super) fn why(&self, index: u32) -> Option<Why> {
        let slot = self.entries.get(index as usize)?.slot.as_ref()?;
        slot.timer.map(|(_, why)| why)
    }

    /// The places that may hold a socket.
    pub(super) fn indexes(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    fn left(&self) -> Option<usize> {
        (self.live < self.limits.sockets).then(|| self.limits.memory.saturating_sub(self.memory))
    }
}

/// The largest power of two less one that is not above `bytes`. With any other size, the window that smoltcp's SYN
/// announces, scaled, is more than the buffer: until its first acknowledgement it would take bytes it has no place for.
const fn ring(bytes: usize) -> usize {
    (1 << (bytes + 1).ilog2()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(limits: Limits) -> Slots {
        Slots::new(limits, Arc::new(Tally::default()))
    }

    fn slot(memory: usize) -> Slot {
        let buffer = || udp::PacketBuffer::new(Vec::new(), Vec::new());
        Slot::new(
            udp::Socket::new(buffer(), buffer()),
            Kind::Udp(Udp { local: Local::from(1), abandoned: false }),
            memory,
        )
    }

    #[test]
    fn a_receive_buffer_is_what_a_scaled_window_can_say() {
        for bytes in [65_535, 65_536, 100_000, 1 << 20, (1 << 20) - 2, 16 << 20] {
            let ring = ring(bytes);
            let shift = (usize::BITS - ring.leading_zeros()).saturating_sub(16);
            assert!(ring <= bytes && ring >= bytes / 2);
            assert!(65_535 << shift <= ring, "{bytes}: a window of 65535 << {shift} does not fit {ring}");
        }
    }

    #[test]
    fn buffers_shrink_as_memory_runs_out_and_the_limit_holds() {
        let limits = Limits { memory: 8 << 20, sockets: usize::MAX, ..Limits::default() }.clamped();
        let mut slots = slots(limits);
        let mut sizes = Vec::new();
        while let Some((rx, tx)) = slots.buffers() {
            sizes.push(rx);
            slots.insert(slot(rx + tx));
        }
        assert_eq!(sizes[0], (256 << 10) - 1);
        assert!(sizes.is_sorted_by(|a, b| a >= b));
        assert_eq!(sizes.last(), Some(&65_535));
        assert!(slots.memory <= limits.memory);
        assert!(slots.memory > limits.memory - 2 * 65_536);
    }

    #[test]
    fn an_id_never_means_a_later_socket() {
        let mut slots = slots(Limits { sockets: 1, ..Limits::default() });
        let first = slots.insert(slot(10));
        assert!(!slots.has_room(0));
        assert!(slots.buffers().is_none());
        slots.remove(first.index);
        let second = slots.insert(slot(10));
        assert_eq!(first.index(), second.index());
        assert!(slots.get(first).is_none());
        assert!(slots.get(second).is_some());
    }
}
