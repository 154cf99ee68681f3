//! What happens to the bytes that a connection sends: request, WebSocket messages, frames, and packets on their way.

use std::{mem, time::Instant};

use tidewire_derp::{
    Frame, FrameError,
    frame::{GoneReason, Kind},
};
use tidewire_keys::NodePublic;
use tidewire_packet_ident::is_disco;

use super::{
    ClientId, Closed, Core, Discard, Event, Why,
    client::{Phase, Sender, Stream},
};
use crate::{
    http::{self, MAX_HEAD, Outcome},
    websocket::{self, Control, Intake, Violation},
};

/// What a client whose rate is limited may be read at once although it has less left: a read of a few bytes costs as much as
/// one of so many. No debt is longer than the time that these take.
const LEAST_READ: usize = 4096;

impl Core {
    /// Bytes came from a connection, after TLS; cut anywhere.
    pub fn receive(&mut self, now: Instant, id: ClientId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(id) else { return };
        match mem::replace(&mut client.phase, Phase::Ending) {
            Phase::Head(head) => self.receive_head(now, id, head, bytes),
            Phase::Stream(stream) => self.receive_stream(now, id, stream, bytes),
            Phase::Ending => {}
        }
    }

    fn receive_head(&mut self, now: Instant, id: ClientId, mut head: Vec<u8>, bytes: &[u8]) {
        let start =
            if head.is_empty() { bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count() } else { 0 };
        head.extend_from_slice(bytes.get(start..).unwrap_or_default());
        let outcome = match http::head_end(head.get(..MAX_HEAD).unwrap_or(&head)) {
            Some(end) => {
                let rest = head.split_off(end);
                let outcome = http::respond(&head, &self.public_hex);
                head = rest;
                outcome
            }
            None if head.len() >= MAX_HEAD => http::too_large(),
            None => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.phase = Phase::Head(head);
                }
                return;
            }
        };
        match outcome {
            Outcome::Derp { response } => self.begin(now, id, None, &response, &head),
            Outcome::WebSocket { response, agreed: true } => {
                self.begin(now, id, Some(Box::default()), &response, &head);
            }
            Outcome::WebSocket { mut response, agreed: false } => {
                let violation = Violation::Subprotocol;
                websocket::close(violation.code(), &mut response);
                self.answer(now, id, &response, Closed::WebSocket(violation));
            }
            Outcome::Answer { response } => self.answer(now, id, &response, Closed::Answered),
        }
    }

    fn answer(&mut self, now: Instant, id: ClientId, response: &[u8], reason: Closed) {
        if let Some(client) = self.clients.get_mut(id) {
            client.outbox.push_raw(response);
        }
        self.finish(now, id, reason);
    }

    /// Frames begin; `bytes` came behind the request.
    fn begin(
        &mut self,
        now: Instant,
        id: ClientId,
        intake: Option<Box<Intake>>,
        response: &[u8],
        bytes: &[u8],
    ) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.outbox.is_websocket = intake.is_some();
        client.outbox.push_raw(response);
        self.greet(id);
        self.receive_stream(now, id, Box::new(Stream::new(intake)), bytes);
    }

    fn receive_stream(&mut self, now: Instant, id: ClientId, mut stream: Box<Stream>, bytes: &[u8]) {
        let result = match stream.websocket.take() {
            None => self.receive_frames(now, id, &mut stream, bytes),
            Some(mut intake) => {
                let result = self.receive_messages(now, id, &mut stream, &mut intake, bytes);
                stream.websocket = Some(intake);
                result
            }
        };
        self.pace(now, id, &mut stream, bytes.len());
        match (result, self.clients.get_mut(id)) {
            (Ok(()), Some(client)) => client.phase = Phase::Stream(stream),
            (Err(reason), _) => self.finish(now, id, reason),
            (Ok(()), None) => {}
        }
    }

    /// Takes WebSocket messages apart.
    fn receive_messages(
        &mut self,
        now: Instant,
        id: ClientId,
        stream: &mut Stream,
        intake: &mut Intake,
        mut bytes: &[u8],
    ) -> Result<(), Closed> {
        let mut unwrapped = mem::take(&mut self.unwrapped);
        unwrapped.clear();
        let mut result = Ok(());
        while result.is_ok() {
            match intake.next(&mut bytes, &mut unwrapped) {
                Ok(None) => break,
                Ok(Some(control)) => result = self.control(id, &control),
                Err(violation) => result = Err(Closed::WebSocket(violation)),
            }
        }
        let frames = self.receive_frames(now, id, stream, &unwrapped);
        self.unwrapped = unwrapped;
        frames.and(result)
    }

    fn control(&mut self, id: ClientId, control: &Control) -> Result<(), Closed> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        match control {
            Control::Ping(payload) => {
                client.outbox.push_websocket_pong(payload);
                self.mark_dirty(id);
                Ok(())
            }
            Control::Close(payload) => {
                client.outbox.close_websocket_back(payload);
                Err(Closed::Left)
            }
        }
    }

    fn receive_frames(
        &mut self,
        now: Instant,
        id: ClientId,
        stream: &mut Stream,
        mut bytes: &[u8],
    ) -> Result<(), Closed> {
        let Stream { decoder, sender, .. } = stream;
        match (&mut *sender, bytes.first()) {
            (_, None) => return Ok(()),
            (None, Some(&kind)) if decoder.is_between_frames() && kind != Kind::ClientInfo as u8 => {
                return Err(Closed::NoLogin);
            }
            (None, _) => {}
            (Some(sender), _) => self.note_writer(sender),
        }
        loop {
            match (decoder.next(&mut bytes), &mut *sender) {
                (Ok(None), _) => return Ok(()),
                (Ok(Some(Frame::SendPacket { to, packet })), Some(sender)) => {
                    self.forward(now, sender, to, packet)
                }
                (Ok(Some(frame)), Some(_)) => self.obey(id, frame)?,
                (Ok(Some(Frame::ClientInfo { key, sealed })), None) => {
                    let login = self.log_in(now, id, key, &sealed);
                    let mut new = login.inspect_err(|&reason| {
                        self.events.push_back(Event::Refused { id, key, reason });
                    })?;
                    self.note_writer(&mut new);
                    *sender = Some(new);
                }
                (Ok(Some(_)), None) => return Err(Closed::NoLogin),
                (Err(error), Some(_)) if is_ignored(error) => {}
                (Err(error), _) => return Err(Closed::Frame(error)),
            }
        }
    }

    /// Whoever writes receives for its key, and what it remembers of the roster is brought up to date.
    fn note_writer(&mut self, sender: &mut Sender) {
        if sender.epoch != self.roster.epoch() {
            self.roster.wrote(&sender.key, sender.id);
            sender.epoch = self.roster.epoch();
            sender.route = None;
        }
    }

    /// Passes a packet on.
    fn forward(&mut self, now: Instant, sender: &mut Sender, to: NodePublic, packet: &[u8]) {
        let is_disco = is_disco(packet);
        self.stats.packets_in += 1;
        self.stats.bytes_in += packet.len() as u64;
        self.stats.disco_in += u64::from(is_disco);
        if packet.len() > self.limits.packet_bytes {
            return self.stats.discard(Discard::TooLong, 1);
        }
        let Some(receiver) = self.route(sender, to) else { return self.miss(now, sender, to, is_disco) };
        let Some(client) = self.clients.get_mut(receiver) else {
            return self.stats.discard(Discard::Absent, 1);
        };
        let dropped =
            client.outbox.push_packet(now, &sender.key, packet, is_disco, &self.limits, &mut self.pool);
        self.stats.discard(Discard::QueueFull, dropped);
        if !client.outbox.is_listed {
            client.outbox.is_listed = true;
            self.dirty.push_back(receiver);
        }
    }

    fn route(&mut self, sender: &mut Sender, to: NodePublic) -> Option<ClientId> {
        if let Some((key, receiver)) = sender.route
            && key == to
        {
            return Some(receiver);
        }
        let receiver = self.roster.active(&to)?;
        let clients = &self.clients;
        self.roster.seen(&sender.key, receiver, |id| clients.get(id).is_some());
        sender.route = Some((to, receiver));
        Some(receiver)
    }

    /// A packet was for nobody. The sender hears so only of disco, and not often.
    fn miss(&mut self, now: Instant, sender: &mut Sender, to: NodePublic, is_disco: bool) {
        self.stats.discard(Discard::Absent, 1);
        if is_disco && sender.not_here.try_take(now) {
            self.tell(sender.id, Frame::PeerGone { peer: to, reason: GoneReason::NotHere });
        }
    }

    /// Does what any other frame of a client asks for.
    fn obey(&mut self, id: ClientId, frame: Frame<'_>) -> Result<(), Closed> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        match frame {
            Frame::Ping(data) => {
                self.stats.pings_unanswered += u64::from(!client.outbox.push_pong(data));
                self.mark_dirty(id);
            }
            Frame::NotePreferred(is_at_home) => {
                self.stats.at_home -= u64::from(client.is_at_home);
                self.stats.at_home += u64::from(is_at_home);
                client.is_at_home = is_at_home;
            }
            Frame::ForwardPacket { .. } | Frame::WatchConns | Frame::ClosePeer(_) => {
                return Err(Closed::Mesh(frame.kind()));
            }
            // What only a relay says means nothing from a client, and neither does a second login.
            Frame::ServerKey(_)
            | Frame::ClientInfo { .. }
            | Frame::ServerInfo(_)
            | Frame::SendPacket { .. }
            | Frame::RecvPacket { .. }
            | Frame::KeepAlive
            | Frame::PeerGone { .. }
            | Frame::PeerPresent(_)
            | Frame::Pong(_)
            | Frame::Health(_)
            | Frame::Restarting { .. } => {}
        }
        Ok(())
    }

    /// Charges what a client sent, and stops reading from it while it is in debt.
    fn pace(&mut self, now: Instant, id: ClientId, stream: &mut Stream, count: usize) {
        let Some(bucket) = stream.sender.as_mut().and_then(|sender| sender.rate.as_mut()) else { return };
        let paid = bucket.charge(now, count);
        let Some(client) = self.clients.get_mut(id) else { return };
        client.allowance = bucket.left().max(LEAST_READ);
        if paid.is_some() {
            client.is_readable = false;
            self.set_timer(id, Why::Resume, paid);
        }
    }
}

/// Whether a wrong frame is of a type that means nothing from a client, so that it does not matter how wrong it is.
fn is_ignored(error: FrameError) -> bool {
    let kind = match error {
        FrameError::TooLong { kind, .. } => Kind::from_byte(kind),
        FrameError::TooShort { kind, .. } => Some(kind),
        FrameError::Magic => return true,
    };
    !matches!(
        kind,
        Some(
            Kind::SendPacket
                | Kind::ForwardPacket
                | Kind::NotePreferred
                | Kind::WatchConns
                | Kind::ClosePeer
                | Kind::Ping
        )
    )
}
