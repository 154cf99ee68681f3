//! When an initiation is sent, what is in it, and what its answer leads to.

use std::time::Instant;

use tidewire_keys::Drbg;
use zeroize::Zeroizing;

use super::Tunnel;
use crate::{
    discard::Discard,
    mac,
    message::{INITIATION_LEN, MAC_LEN, Response, kind},
    noise::{Initiator, Secret},
    out::{Event, Out, To},
    peer::Pending,
    session::Session,
    source::Source,
    timers::{REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, Timer, WIPE_AFTER_TIME, jitter},
};

impl Tunnel {
    /// There is a reason for a new session with the peer in `slot`: sends an initiation, or sees to it that one is sent as
    /// soon as that is allowed. The 90 s of trying begin anew.
    pub(super) fn want_handshake(&mut self, now: Instant, slot: u32, out: &mut Out) {
        let peer = self.peers.at(slot);
        peer.trying_since = Some(now);
        match peer.shook_at.map(|at| at + REKEY_TIMEOUT) {
            Some(allowed) if now < allowed => {
                if !peer.timers.is_set(Timer::Retransmit) {
                    peer.timers.set(Timer::Retransmit, allowed + jitter(&mut self.drbg));
                    self.schedule.note(slot, &peer.timers);
                }
            }
            _ => self.begin(now, slot, out),
        }
    }

    /// The initiation went unanswered, or was not allowed when it was wanted.
    pub(super) fn begin_again(&mut self, now: Instant, slot: u32, out: &mut Out) {
        let peer = self.peers.at(slot);
        let since = *peer.trying_since.get_or_insert(now);
        match peer.shook_at.map(|at| at + REKEY_TIMEOUT) {
            _ if now >= since + REKEY_ATTEMPT_TIME => self.give_up(now, slot, out),
            Some(allowed) if now < allowed => {
                peer.timers.set(Timer::Retransmit, allowed + jitter(&mut self.drbg));
                self.schedule.note(slot, &peer.timers);
            }
            _ => self.begin(now, slot, out),
        }
    }

    /// Reads a response, which passed mac1.
    pub(super) fn consume_response(
        &mut self,
        now: Instant,
        source: Source,
        response: &Response,
        out: &mut Out,
    ) {
        let index = response.receiver.get();
        let slot = self.indexes.slot(index);
        let pending =
            slot.and_then(|slot| self.peers.at(slot).pending.as_mut()).filter(|it| it.index == index);
        let Some((slot, pending)) = slot.zip(pending) else {
            return self.discards.add(Discard::UnexpectedResponse);
        };
        self.handshakes_run += 1;
        let keys = match pending.noise.finish(&response.noise) {
            Ok(keys) => keys,
            Err(reason) => return self.discards.add(reason),
        };
        let session = Session::new(now, &keys, index, response.sender.get(), true);
        let peer = self.peers.at(slot);
        peer.pending = None;
        peer.rx_bytes += size_of::<Response>() as u64;
        peer.install_begun(session, &mut self.indexes);
        peer.note_received(now);
        peer.note_established(now, &mut self.indexes);
        peer.timers.set(Timer::Wipe, now + WIPE_AFTER_TIME);
        self.schedule.note(slot, &peer.timers);
        out.events.push(Event::Heard { peer: peer.id, source });
        out.events.push(Event::Established { peer: peer.id, initiator: true });
        // The responder may not send before it has received something.
        if self.waiting.len(slot) == 0 {
            self.send_keepalive(now, slot, out);
        } else {
            self.flush(now, slot, out);
        }
    }

    fn begin(&mut self, now: Instant, slot: u32, out: &mut Out) {
        self.handshakes_run += 1;
        let ephemeral = draw(&mut self.drbg);
        let stamp = self.epoch.stamp(now.saturating_duration_since(self.base));
        let peer = self.peers.at(slot);
        let mut noise = [0; 108];
        let begun = self.known.shared(&peer.key).and_then(|shared| {
            Initiator::begin(
                self.known.identity(),
                &peer.key,
                shared,
                &peer.psk,
                ephemeral,
                stamp,
                &mut noise,
            )
        });
        let initiator = match begun {
            Ok(initiator) => initiator,
            Err(reason) => return self.abandon(slot, reason),
        };
        peer.drop_pending(&mut self.indexes);
        let index = self.indexes.allocate(&mut self.drbg, slot);
        peer.pending = Some(Box::new(Pending { index, noise: initiator }));
        let mut message = [0; INITIATION_LEN];
        message[..4].copy_from_slice(&kind::INITIATION.to_le_bytes());
        message[4..8].copy_from_slice(&index.to_le_bytes());
        message[8..INITIATION_LEN - 2 * MAC_LEN].copy_from_slice(&noise);
        let since = *peer.trying_since.get_or_insert(now);
        let again = now + REKEY_TIMEOUT + jitter(&mut self.drbg);
        peer.timers.set(Timer::Retransmit, again.min(since + REKEY_ATTEMPT_TIME));
        let to = To::Peer(peer.id);
        self.send_signed(now, slot, to, &mut message, out);
    }

    /// Sends an initiation or a response to the peer in `slot`.
    pub(super) fn send_signed(&mut self, now: Instant, slot: u32, to: To, message: &mut [u8], out: &mut Out) {
        let peer = self.peers.at(slot);
        let cookie = peer.cookie.as_ref().and_then(|cookie| cookie.value(now));
        peer.last_mac1 = Some(mac::sign(message, &peer.key, cookie));
        peer.shook_at = Some(now);
        peer.tx_bytes += message.len() as u64;
        peer.note_sent(now);
        self.schedule.note(slot, &peer.timers);
        self.send(to, message, out);
    }

    /// No handshake with the peer in `slot` can succeed.
    fn abandon(&mut self, slot: u32, reason: Discard) {
        let peer = self.peers.at(slot);
        peer.trying_since = None;
        peer.timers.stop(Timer::Retransmit);
        self.discards.add(reason);
        self.waiting.drop_all(slot, reason, &mut self.discards);
    }

    fn give_up(&mut self, now: Instant, slot: u32, out: &mut Out) {
        let peer = self.peers.at(slot);
        peer.trying_since = None;
        peer.drop_pending(&mut self.indexes);
        // Without a session a keepalive would begin the next handshake.
        if peer.current.as_ref().is_none_or(|session| !session.can_send(now)) {
            peer.timers.stop(Timer::Keepalive);
        }
        self.waiting.drop_all(slot, Discard::GaveUp, &mut self.discards);
        out.events.push(Event::GaveUp { peer: peer.id });
    }
}

/// A secret for an ephemeral key.
pub(super) fn draw(drbg: &mut Drbg) -> Secret {
    let mut secret = Zeroizing::new([0; 32]);
    drbg.fill(&mut secret[..]);
    secret
}
