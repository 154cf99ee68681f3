//! Where a packet goes that came in: to its connection, to a listener, to a bound socket, or to nobody.

use std::time::Instant;

use smoltcp::socket::tcp::State;
use tidewire_packet::{Batch, Plain};

use super::{
    Stack,
    inspect::{Datagram, Flow, Kind, Segment, inspect},
    listen::Welcome,
    options::{Opening, held},
    sender::Report,
    sequence::is_after,
    tally::Discard,
};
use crate::{End, Local};

/// Segments with payload until one is acknowledged at once; what is left is when the batch is over. RFC 5681, 4.2 asks
/// for every second.
const ACKNOWLEDGE_EVERY: u8 = 2;

impl Stack {
    /// Takes in packets. Each causes at most one reply; what the stack has to say waits for
    /// [`poll_transmit`](Self::poll_transmit).
    pub fn process_inbound(&mut self, now: Instant, mut batch: Batch<Plain>) {
        self.advance(now);
        for i in 0..batch.len() {
            let Some(packet) = batch.get_mut(i) else { continue };
            if let Err(reason) = self.take_in(packet) {
                self.tally.count(reason);
            }
        }
    }

    fn take_in(&mut self, packet: &mut [u8]) -> Result<(), Discard> {
        let inspected = inspect(packet, &self.addresses)?;
        let packet = packet.get_mut(..inspected.len).ok_or(Discard::Malformed)?;
        match inspected.kind {
            Kind::Tcp(segment) => self.take_segment(&segment, packet),
            Kind::Udp(datagram) => self.take_datagram(&datagram, packet),
            Kind::Echo => {
                self.engine.ingress(packet, &mut self.nobody);
                Ok(())
            }
        }
    }

    fn take_segment(&mut self, segment: &Segment, packet: &mut [u8]) -> Result<(), Discard> {
        let mut found = self.find(&segment.flow);
        if let Some(index) = found
            && segment.opens()
            && self.makes_way(index)
        {
            self.release(index);
            found = None;
        }
        if let Some(index) = found {
            self.hand_over(index, segment, packet);
            return Ok(());
        }
        let welcome = if segment.opens() { self.welcome(segment) } else { Welcome::Nobody };
        match welcome {
            Welcome::Socket(index) => {
                self.take_opening(index, segment, packet);
                self.welcomed(index);
                Ok(())
            }
            Welcome::Nobody => {
                self.engine.ingress(packet, &mut self.nobody);
                Ok(())
            }
            Welcome::Full(reason) => Err(reason),
        }
    }

    /// Hands a segment to its connection.
    fn hand_over(&mut self, index: u32, segment: &Segment, packet: &mut [u8]) {
        let now = self.now;
        let Some(slot) = self.slots.at(index) else { return };
        let Some((tcp, socket)) = slot.tcp() else { return };
        tcp.heard(now);
        match socket.state() {
            State::SynSent if segment.is_syn() => self.take_opening(index, segment, packet),
            State::SynSent => self.engine.ingress(packet, &mut slot.set),
            // The answer to it was lost.
            State::SynReceived if segment.opens() => self.resend(index),
            _ if segment.is_ordinary() => self.take_ordinary(index, segment, packet),
            _ => self.engine.ingress(packet, &mut slot.set),
        }
        self.answer(index, segment);
        self.settle(index);
        self.note(index);
        self.activate(index);
    }

    /// Hands over the segment that opens the connection, or answers the one that did.
    fn take_opening(&mut self, index: u32, segment: &Segment, packet: &mut [u8]) {
        let now = self.now;
        let Some(slot) = self.slots.at(index) else { return };
        let Some((tcp, _)) = slot.tcp() else { return };
        tcp.first = segment.seq.wrapping_add(1);
        let opening = Opening::parse(segment.options(packet));
        let ack = segment.acknowledges().then_some(segment.ack);
        let window = tcp.sender.opened(now, opening, segment.window, ack);
        segment.rewrite(packet, segment.ack, window);
        self.engine.ingress(packet, &mut slot.set);
    }

    /// Hands over a segment of an open connection.
    ///
    /// What it acknowledges goes to the sender. smoltcp is shown the result in a form that it takes whatever the
    /// segment's place in the stream, and the segment itself only for what it carries, or asks: it drops the payload of a
    /// segment that was overtaken for its old acknowledgement, and the acknowledgement of one that came twice.
    fn take_ordinary(&mut self, index: u32, segment: &Segment, packet: &mut [u8]) {
        let now = self.now;
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        if is_after(segment.ack, tcp.sender.next()) {
            // It acknowledges what was never sent; smoltcp says where this end is (RFC 9293, 3.10.7.4).
            if let Some(slot) = self.slots.at(index) {
                self.engine.ingress(packet, &mut slot.set);
            }
            return;
        }
        let held = held(segment.options(packet), segment.ack, tcp.sender.next());
        // The number just before the one that is due asks whether this end is there (RFC 9293, 3.8.4).
        let asks = segment.seq.wrapping_add(1) == tcp.expected(socket);
        let report = Report { ack: segment.ack, window: segment.window, carries: segment.carries(), held };
        let advice = tcp.sender.received(now, report);
        if advice.show {
            self.show(index);
        }
        if (segment.carries() || asks)
            && let Some(slot) = self.slots.at(index)
            && let Some((tcp, _)) = slot.tcp()
        {
            let (ack, window) = tcp.sender.shown();
            segment.rewrite(packet, ack, window);
            self.engine.ingress(packet, &mut slot.set);
        }
        self.repair(index, advice.repair);
    }

    /// Acknowledges what came in, if it is time to; resets the connection if nobody will read it.
    fn answer(&mut self, index: u32, segment: &Segment) {
        let Some((tcp, socket)) = self.slots.at(index).and_then(|slot| slot.tcp()) else { return };
        let unwanted = tcp.abandoned && socket.can_recv() && tcp.seen != State::TimeWait;
        tcp.unanswered += u8::from(segment.payload > 0);
        if tcp.unanswered >= ACKNOWLEDGE_EVERY {
            tcp.unanswered = 0;
            self.send_one(index);
        }
        if unwanted {
            self.end(index, End::Aborted);
        }
    }

    fn take_datagram(&mut self, datagram: &Datagram, packet: &[u8]) -> Result<(), Discard> {
        let exact = Local { address: Some(datagram.to.ip()), port: datagram.to.port() };
        let any = Local { address: None, ..exact };
        let Some(index) = self.bound.get(&exact).or_else(|| self.bound.get(&any)).copied() else {
            self.engine.ingress(packet, &mut self.nobody);
            return Ok(());
        };
        let Some(slot) = self.slots.at(index) else { return Ok(()) };
        let Some((_, socket)) = slot.udp() else { return Ok(()) };
        let before = socket.recv_queue();
        self.engine.ingress(packet, &mut slot.set);
        // smoltcp drops in silence what does not fit; an empty datagram shows no difference.
        let taken =
            slot.udp().is_some_and(|(_, socket)| socket.recv_queue() > before) || datagram.payload == 0;
        self.note(index);
        if taken { Ok(()) } else { Err(Discard::Datagrams) }
    }

    fn find(&mut self, flow: &Flow) -> Option<u32> {
        if let Some((last, index)) = self.last
            && last == *flow
        {
            return Some(index);
        }
        let index = *self.flows.get(flow)?;
        self.last = Some((*flow, index));
        Some(index)
    }

    /// Whether a connection only answers late packets, so that a new one between the same two ports may take its place
    /// (RFC 9293, 3.6.1; initial sequence numbers are random, so none is compared).
    fn makes_way(&mut self, index: u32) -> bool {
        let tcp = self.slots.at(index).and_then(|slot| slot.tcp());
        tcp.is_some_and(|(tcp, _)| tcp.seen == State::TimeWait && tcp.abandoned)
    }
}
