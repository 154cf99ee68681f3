//! How transport messages arrive: opened where they lie, and what a genuine one changes.

use std::time::Instant;

use tidewire_packet::{Batch, Plain, Wire};

use super::Tunnel;
use crate::{
    discard::Discard,
    message::{KEEPALIVE_LEN, TRANSPORT_HEADER_LEN, kind},
    out::{Event, Opened, Out},
    timers::{KEEPALIVE_TIMEOUT, Timer},
};

impl Tunnel {
    /// Opens transport messages in place; what does not open is dropped and counted.
    ///
    /// `opened` is overwritten with one entry for each packet of the returned batch. A keepalive is an empty packet there.
    /// Padding stays: the length in the IP header says where it begins.
    #[must_use = "the packets are in it"]
    pub fn open(
        &mut self,
        now: Instant,
        mut batch: Batch<Wire>,
        opened: &mut Vec<Opened>,
        out: &mut Out,
    ) -> Batch<Plain> {
        opened.clear();
        let count = batch.len();
        let mut at = 0;
        while at < count {
            match receiver(&batch, at) {
                Ok(index) => at = self.open_run(now, index, &mut batch, at, opened, out),
                Err(reason) => {
                    self.discards.add(reason);
                    at += 1;
                }
            }
        }
        if opened.len() < count {
            let mut kept = opened.iter().map(|one| one.datagram as usize).peekable();
            batch.retain(|i, _| kept.next_if_eq(&i).is_some());
        }
        #[allow(clippy::disallowed_methods)] // everything in it was opened
        batch.relabel()
    }

    /// Opens the messages from `at` on that have the same receiver `index`; returns the number of the first that has not.
    fn open_run(
        &mut self,
        now: Instant,
        index: u32,
        batch: &mut Batch<Wire>,
        mut at: usize,
        opened: &mut Vec<Opened>,
        out: &mut Out,
    ) -> usize {
        let slot = self.indexes.slot(index);
        let peer = slot.map(|slot| self.peers.at(slot));
        let Some((slot, (id, session))) =
            slot.zip(peer.and_then(|peer| Some((peer.id, peer.receiver(index)?))))
        else {
            self.discards.add(Discard::UnknownIndex);
            return at + 1;
        };
        let is_alive = session.is_alive(now);
        let mut got = Received::default();
        while at < batch.len() && receiver(batch, at) == Ok(index) {
            let datagram = batch.get_mut(at).unwrap_or_default();
            let len = datagram.len();
            match if is_alive { session.open(datagram) } else { Err(Discard::SessionTooOld) } {
                Ok(text) => {
                    batch.advance(at, TRANSPORT_HEADER_LEN);
                    batch.trim(at, text);
                    opened.push(Opened { peer: id, datagram: at as u32 });
                    got.genuine = true;
                    got.data |= text > 0;
                    got.bytes += len as u64;
                }
                Err(reason) => self.discards.add(reason),
            }
            at += 1;
        }
        if got.genuine {
            self.note_received(now, slot, index, got, out);
        }
        at
    }

    fn note_received(&mut self, now: Instant, slot: u32, index: u32, got: Received, out: &mut Out) {
        let peer = self.peers.at(slot);
        peer.rx_bytes += got.bytes;
        peer.note_received(now);
        if got.data {
            if peer.timers.is_set(Timer::Keepalive) {
                peer.wants_another_keepalive = true;
            } else {
                peer.timers.set(Timer::Keepalive, now + KEEPALIVE_TIMEOUT);
            }
        }
        self.schedule.note(slot, &peer.timers);
        let is_confirmed = peer.promote(index, &mut self.indexes);
        if is_confirmed {
            peer.note_established(now, &mut self.indexes);
            out.events.push(Event::Established { peer: peer.id, initiator: false });
            self.flush(now, slot, out);
        }
        let session = self.peers.at(slot).current.as_deref_mut();
        if session.is_some_and(|session| session.becomes_stale_to_receive(now)) {
            self.want_handshake(now, slot, out);
        }
    }
}

/// What was opened of a run.
#[derive(Clone, Copy, Default)]
struct Received {
    genuine: bool,
    data: bool,
    bytes: u64,
}

/// The receiver index of transport message `i`.
#[inline]
fn receiver(batch: &Batch<Wire>, i: usize) -> Result<u32, Discard> {
    match batch.get(i) {
        Some(&[k0, k1, k2, k3, i0, i1, i2, i3, ref rest @ ..])
            if u32::from_le_bytes([k0, k1, k2, k3]) == kind::TRANSPORT && rest.len() >= KEEPALIVE_LEN - 8 =>
        {
            Ok(u32::from_le_bytes([i0, i1, i2, i3]))
        }
        _ => Err(Discard::Malformed),
    }
}
