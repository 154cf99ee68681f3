//! How handshake messages from outside are taken: what is checked at the door, what waits, and what is answered.

use std::time::Instant;

use super::{Tunnel, begin::draw};
use crate::{
    cookie::Cookie,
    discard::Discard,
    load::Queued,
    mac,
    message::{CookieReply, Initiation, MAC_LEN, Message, RESPONSE_LEN, kind},
    noise::Responder,
    out::{Event, Out, To},
    session::Session,
    source::Source,
    timers::{INITIATION_INTERVAL, Timer, WIPE_AFTER_TIME},
};

impl Tunnel {
    /// Takes an initiation, a response or a cookie reply that came from `source`.
    ///
    /// Form and mac1 are checked here, and whether a response or cookie reply is awaited at all. What passes waits in a
    /// queue of [`HANDSHAKES`](crate::HANDSHAKES), out of which [`process_events`](Self::process_events) takes a few at a
    /// time; cookie replies do not wait. So nothing is produced here, only there.
    pub fn handshake(&mut self, now: Instant, source: Source, message: &[u8], _out: &mut Out) {
        let taken = match Message::parse(message) {
            Ok(Message::CookieReply(reply)) => self.consume_cookie(now, reply),
            Ok(Message::Initiation(_)) => self.at_the_door(message),
            Ok(Message::Response(response)) if self.awaits(response.receiver.get()) => {
                self.at_the_door(message)
            }
            Ok(Message::Response(_)) => Err(Discard::UnexpectedResponse),
            Ok(Message::Transport { .. }) | Err(_) => Err(Discard::Malformed),
        };
        match taken {
            Ok(Waits::Yes) => self.queue.push(now, source, message, &mut self.discards),
            Ok(Waits::No) => {}
            Err(reason) => self.discards.add(reason),
        }
    }

    /// Handles a message that waited.
    pub(super) fn handle(&mut self, now: Instant, queued: &Queued, out: &mut Out) {
        let message = queued.message();
        if self.queue.is_loaded(now) {
            if !self.baker.is_paid(now, &queued.source, message) {
                return self.ask_cookie(now, queued, out);
            }
            if !self.budget.take(now, &queued.source) {
                return self.discards.add(Discard::OverBudget);
            }
        }
        match Message::parse(message) {
            Ok(Message::Initiation(initiation)) => {
                self.consume_initiation(now, queued.source, initiation, out)
            }
            Ok(Message::Response(response)) => self.consume_response(now, queued.source, response, out),
            _ => self.discards.add(Discard::Malformed),
        }
    }

    fn at_the_door(&self, message: &[u8]) -> Result<Waits, Discard> {
        if mac::mac1_holds(message, &self.mac1_key) { Ok(Waits::Yes) } else { Err(Discard::BadMac1) }
    }

    fn awaits(&mut self, index: u32) -> bool {
        let Some(slot) = self.indexes.slot(index) else { return false };
        self.peers.at(slot).pending.as_ref().is_some_and(|pending| pending.index == index)
    }

    fn consume_cookie(&mut self, now: Instant, reply: &CookieReply) -> Result<Waits, Discard> {
        let slot = self.indexes.slot(reply.receiver.get()).ok_or(Discard::UnexpectedCookie)?;
        let peer = self.peers.at(slot);
        let mac1 = peer.last_mac1.ok_or(Discard::UnexpectedCookie)?;
        let cookie = Cookie::open(now, &peer.key, &mac1, reply).ok_or(Discard::BadCookie)?;
        peer.cookie = Some(Box::new(cookie));
        Ok(Waits::No)
    }

    fn ask_cookie(&mut self, now: Instant, queued: &Queued, out: &mut Out) {
        let (sender, mac1) = match Message::parse(queued.message()) {
            Ok(Message::Initiation(initiation)) => (initiation.sender, initiation.mac1),
            Ok(Message::Response(response)) => (response.sender, response.mac1),
            _ => return self.discards.add(Discard::Malformed),
        };
        let reply = self.baker.reply(now, &mut self.drbg, &queued.source, sender.get(), &mac1);
        self.discards.add(Discard::CookieAsked);
        self.send(To::Source(queued.source), &reply, out);
    }

    fn consume_initiation(&mut self, now: Instant, source: Source, initiation: &Initiation, out: &mut Out) {
        self.handshakes_run += 1;
        let ephemeral = draw(&mut self.drbg);
        let (responder, greeting) = match Responder::read(&self.known, ephemeral, &initiation.noise) {
            Ok(read) => read,
            Err(reason) => return self.discards.add(reason),
        };
        let Some(slot) = self.known.slot(&greeting.from) else {
            return self.discards.add(Discard::UnknownInitiator);
        };
        let peer = self.peers.at(slot);
        if peer.newest_stamp.is_some_and(|newest| greeting.stamp <= newest) {
            return self.discards.add(Discard::OldInitiation);
        }
        if peer.greeted_at.is_some_and(|at| now < at + INITIATION_INTERVAL) {
            return self.discards.add(Discard::InitiationTooSoon);
        }
        let mut noise = [0; 48];
        let keys = match responder.reply(&peer.psk, &mut noise) {
            Ok(keys) => keys,
            Err(reason) => return self.discards.add(reason),
        };
        peer.newest_stamp = Some(greeting.stamp);
        peer.greeted_at = Some(now);
        peer.rx_bytes += size_of::<Initiation>() as u64;
        peer.note_received(now);
        peer.timers.set(Timer::Wipe, now + WIPE_AFTER_TIME);
        let index = self.indexes.allocate(&mut self.drbg, slot);
        let session = Session::new(now, &keys, index, initiation.sender.get(), false);
        peer.install_answered(session, &mut self.indexes);
        out.events.push(Event::Heard { peer: peer.id, source });
        let mut message = [0; RESPONSE_LEN];
        message[..4].copy_from_slice(&kind::RESPONSE.to_le_bytes());
        message[4..8].copy_from_slice(&index.to_le_bytes());
        message[8..12].copy_from_slice(initiation.sender.as_ref());
        message[12..RESPONSE_LEN - 2 * MAC_LEN].copy_from_slice(&noise);
        self.send_signed(now, slot, To::Source(source), &mut message, out);
    }
}

/// Whether a message that was taken waits for its turn.
enum Waits {
    Yes,
    No,
}
