//! How cleartext leaves: sealed where it lies, or kept until there is a session.

use std::{ops::Range, time::Instant};

use tidewire_keys::PeerId;
use tidewire_packet::{Batch, Class, HEADROOM, Plain, TAILROOM, Wire, padded_len};

use super::Tunnel;
use crate::{
    discard::{Discard, Discards},
    message::{KEEPALIVE_LEN, TAG_LEN, TRANSPORT_HEADER_LEN},
    out::{Out, Outgoing, To},
    session::Session,
    timers::{NO_ANSWER_TIMEOUT, Timer, jitter},
    waiting::Waiting,
};

const _: () = assert!(TRANSPORT_HEADER_LEN <= HEADROOM && TAG_LEN <= TAILROOM);

impl Tunnel {
    /// Seals in place. `to` has one peer for each packet, and on return one for each datagram of the returned batch, in the
    /// same order.
    ///
    /// A packet is padded with zeros to a multiple of 16 bytes, but not beyond the MTU (WireGuard paper, section 5.4.6), and
    /// only as far as there is room behind it. A packet whose peer has no session is copied, to wait for one, and a
    /// handshake begins. An empty packet is a keepalive. Packets beyond the length of `to` are for nobody.
    #[must_use = "the datagrams are in it"]
    pub fn seal(
        &mut self,
        now: Instant,
        batch: Batch<Plain>,
        to: &mut Vec<PeerId>,
        out: &mut Out,
    ) -> Batch<Wire> {
        #[allow(clippy::disallowed_methods)] // what is not sealed below does not stay
        let mut batch = batch.relabel::<Wire>();
        let mut unsealed = std::mem::take(&mut self.unsealed);
        let count = batch.len().min(to.len());
        let mut at = 0;
        while let Some(&peer) = to[..count].get(at) {
            let run = to[at..count].iter().take_while(|&&other| other == peer).count();
            self.seal_run(now, peer, &mut batch, at..at + run, &mut unsealed, out);
            at += run;
        }
        self.discards.add_many(Discard::UnknownPeer, batch.len() - count);
        unsealed.extend((count..batch.len()).map(|i| i as u32));
        if !unsealed.is_empty() {
            let is_sealed = |i: usize| unsealed.binary_search(&(i as u32)).is_err();
            batch.retain(|i, _| is_sealed(i));
            let mut i = 0..;
            to.retain(|_| i.next().is_some_and(is_sealed));
            unsealed.clear();
        }
        self.unsealed = unsealed;
        to.truncate(batch.len());
        batch
    }

    fn seal_run(
        &mut self,
        now: Instant,
        id: PeerId,
        batch: &mut Batch<Wire>,
        run: Range<usize>,
        unsealed: &mut Vec<u32>,
        out: &mut Out,
    ) {
        let Some(slot) = self.peers.slot(id) else {
            self.discards.add_many(Discard::UnknownPeer, run.len());
            return unsealed.extend(run.map(|i| i as u32));
        };
        let peer = self.peers.at(slot);
        let session = peer.current.as_deref_mut().filter(|session| session.can_send(now));
        let Some(session) = session else { return self.keep(now, slot, batch, run, unsealed, out) };
        let mut sent = Sent::default();
        for i in run {
            match seal_one(session, batch, i, self.mtu) {
                Ok(one) => sent += one,
                Err(reason) => {
                    self.discards.add(reason);
                    unsealed.push(i as u32);
                }
            }
        }
        if sent.bytes > 0 {
            self.note_sent(now, slot, sent, out);
        }
    }

    /// Copies the packets of `run`, which then wait for a session.
    fn keep(
        &mut self,
        now: Instant,
        slot: u32,
        batch: &Batch<Wire>,
        run: Range<usize>,
        unsealed: &mut Vec<u32>,
        out: &mut Out,
    ) {
        for i in run {
            let packet = batch.get(i).unwrap_or_default();
            if !packet.is_empty() {
                self.waiting.push(slot, packet, &mut self.discards);
            }
            unsealed.push(i as u32);
        }
        self.want_handshake(now, slot, out);
    }

    /// Seals and sends what waits for the peer in `slot`, which has a session.
    pub(super) fn flush(&mut self, now: Instant, slot: u32, out: &mut Out) {
        let mut sent = Sent::default();
        let peer = self.peers.at(slot);
        let id = peer.id;
        let Some(session) = peer.current.as_deref_mut() else { return };
        while session.can_send(now)
            && let Some(first) = self.waiting.first_len(slot)
        {
            let wanted = self.waiting.bytes(slot) + self.waiting.len(slot) * (HEADROOM + TAILROOM + 16);
            let class = Class::holding(wanted.min(Class::Send.bytes()).max(first + HEADROOM + TAILROOM));
            let mut batch: Batch<Plain> = self.pool.batch(class);
            self.discards.add_many(Discard::NoRoom, fill(&mut batch, slot, &mut self.waiting, self.mtu));
            #[allow(clippy::disallowed_methods)] // sealed at once
            let mut batch = batch.relabel::<Wire>();
            sent += seal_all(session, &mut batch, self.mtu, &mut self.discards);
            if !batch.is_empty() {
                out.datagrams.push(Outgoing { to: To::Peer(id), batch });
            }
        }
        if sent.bytes > 0 {
            self.note_sent(now, slot, sent, out);
        }
    }

    /// Sends an empty message to the peer in `slot`; without a session, begins a handshake, which ends with one.
    pub(super) fn send_keepalive(&mut self, now: Instant, slot: u32, out: &mut Out) {
        let peer = self.peers.at(slot);
        let mut datagram = [0; KEEPALIVE_LEN];
        let session = peer.current.as_deref_mut().filter(|session| session.can_send(now));
        if session.is_none_or(|session| session.seal(&mut datagram).is_err()) {
            return self.want_handshake(now, slot, out);
        }
        let to = To::Peer(peer.id);
        self.send(to, &datagram, out);
        self.note_sent(now, slot, Sent { bytes: KEEPALIVE_LEN as u64, data: false }, out);
    }

    /// Hands out a datagram that fits a small slab.
    pub(super) fn send(&self, to: To, datagram: &[u8], out: &mut Out) {
        let batch = Batch::copy_of(&self.pool, datagram)
            .expect("the largest slab holds a message of at most 148 bytes");
        out.datagrams.push(Outgoing { to, batch });
    }

    fn note_sent(&mut self, now: Instant, slot: u32, sent: Sent, out: &mut Out) {
        let peer = self.peers.at(slot);
        peer.tx_bytes += sent.bytes;
        peer.note_sent(now);
        if sent.data && !peer.timers.is_set(Timer::NoAnswer) {
            peer.timers.set(Timer::NoAnswer, now + NO_ANSWER_TIMEOUT + jitter(&mut self.drbg));
        }
        self.schedule.note(slot, &peer.timers);
        if peer.current.as_ref().is_some_and(|session| session.is_stale_to_send(now)) {
            self.want_handshake(now, slot, out);
        }
    }
}

/// What was sealed of a run.
#[derive(Clone, Copy, Default)]
struct Sent {
    bytes: u64,
    data: bool,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.data |= other.data;
    }
}

fn seal_one(session: &mut Session, batch: &mut Batch<Wire>, i: usize, mtu: usize) -> Result<Sent, Discard> {
    let len = batch.spans().get(i).map_or(0, |span| span.len());
    // The next packet, if there is one, needs the bytes before it for its own header.
    let next = if i + 1 < batch.len() { TRANSPORT_HEADER_LEN } else { 0 };
    let room = batch.room_behind(i).saturating_sub(next + TAG_LEN);
    let padding = (padded_len(len, mtu) - len).min(room);
    let datagram = batch.widen(i, TRANSPORT_HEADER_LEN, padding + TAG_LEN).ok_or(Discard::NoRoom)?;
    let padding_from = TRANSPORT_HEADER_LEN + len;
    datagram[padding_from..padding_from + padding].fill(0);
    session.seal(datagram)?;
    Ok(Sent { bytes: datagram.len() as u64, data: len > 0 })
}

/// Moves packets that wait for the peer in `slot` into an empty `batch` until it is full; returns how many were dropped
/// because no batch can hold them.
fn fill(batch: &mut Batch<Plain>, slot: u32, waiting: &mut Waiting, mtu: usize) -> usize {
    while let Some(len) = waiting.first_len(slot) {
        let is_first = batch.is_empty();
        match batch.reserve(len, padded_len(len, mtu)) {
            Ok(room) => room.copy_from_slice(&waiting.pop(slot).unwrap_or_default()),
            Err(_) if is_first => {
                waiting.pop(slot);
                return 1;
            }
            Err(_) => return 0,
        }
    }
    0
}

fn seal_all(session: &mut Session, batch: &mut Batch<Wire>, mtu: usize, discards: &mut Discards) -> Sent {
    let mut sent = Sent::default();
    for i in 0..batch.len() {
        match seal_one(session, batch, i, mtu) {
            Ok(one) => sent += one,
            Err(reason) => {
                // No counter is left, nor will be for those behind.
                discards.add_many(reason, batch.len() - i);
                batch.retain(|j, _| j < i);
                break;
            }
        }
    }
    sent
}
