//! What waits to be written to one relay: frames in order of urgency, bounded in bytes and age, never cut in two.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use tidewire_keys::NodePublic;
use tidewire_packet_ident::is_disco;

use super::limits::{DATA_BYTES, DISCO_BYTES, KEEP_BYTES, WRITE_BYTES};
use crate::frame::{Frame, HEADER_LEN, MAX_PACKET};

/// Frames as they will stand in the stream, back to back, so that one write takes as many as there are.
///
/// First what belongs to the connection itself, then disco, then data. Once a byte of a frame is written, the rest of it
/// comes before anything else, and cannot be dropped.
#[derive(Debug)]
pub(crate) struct Outbox {
    control: BytesMut,
    disco: Lane,
    data: Lane,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Pushed {
    /// Older packets that had to go.
    pub(crate) dropped: u64,
    /// It is longer than a relay carries, and was not taken.
    pub(crate) too_long: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { control: BytesMut::new(), disco: Lane::new(DISCO_BYTES), data: Lane::new(DATA_BYTES) }
    }

    /// Puts a packet in, dropping the oldest of its kind where there is no room.
    pub(crate) fn push(&mut self, now: Instant, to: NodePublic, packet: &[u8]) -> Pushed {
        if packet.len() > MAX_PACKET {
            return Pushed { dropped: 0, too_long: true };
        }
        let lane = if is_disco(packet) { &mut self.disco } else { &mut self.data };
        lane.push(now, &Frame::SendPacket { to, packet })
    }

    /// Where what belongs to the connection itself is appended. It goes out whole before any packet.
    pub(crate) const fn control(&mut self) -> &mut BytesMut {
        &mut self.control
    }

    /// The bytes to be written next: of packets only as much as `allowance` says, in whole frames, and not much at once.
    pub(crate) fn next(&self, allowance: usize) -> &[u8] {
        match self.source() {
            Source::Control => &self.control,
            Source::Disco => self.disco.front(allowance),
            Source::Data => self.data.front(allowance),
        }
    }

    /// Length of the frame that is the next among the packets; zero if there is none, or it has already begun.
    pub(crate) fn next_frame_len(&self) -> usize {
        let lane = if self.disco.bytes.is_empty() { &self.data } else { &self.disco };
        if lane.cut > 0 { 0 } else { lane.frame_at(0) }
    }

    /// Says that the first `count` bytes of [`next`](Self::next) are written. Returns how many of them were of packets.
    pub(crate) fn wrote(&mut self, count: usize) -> usize {
        match self.source() {
            Source::Control => {
                self.control.advance(count);
                return 0;
            }
            Source::Disco => self.disco.wrote(count),
            Source::Data => self.data.wrote(count),
        }
        count
    }

    /// Drops the packets that have waited for `age` or longer. Returns how many.
    pub(crate) fn expire(&mut self, now: Instant, age: Duration) -> u64 {
        self.disco.expire(now, age) + self.data.expire(now, age)
    }

    /// Since when the oldest packet waits that may still be dropped.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        [&self.disco, &self.data].into_iter().filter_map(Lane::oldest).min()
    }

    /// The stream is gone: forgets what belonged to it, and the packet that was cut. Returns 1 if there was one.
    pub(crate) fn restart(&mut self) -> u64 {
        self.control = BytesMut::new();
        self.disco.forget_cut() + self.data.forget_cut()
    }

    /// Drops all packets. Returns how many.
    pub(crate) fn clear(&mut self) -> u64 {
        let cut = self.restart();
        cut + self.disco.drop_front(self.disco.bytes.len()) + self.data.drop_front(self.data.bytes.len())
    }

    fn source(&self) -> Source {
        if self.disco.cut > 0 {
            Source::Disco
        } else if self.data.cut > 0 {
            Source::Data
        } else if !self.control.is_empty() {
            Source::Control
        } else if !self.disco.bytes.is_empty() {
            Source::Disco
        } else {
            Source::Data
        }
    }
}

/// Where the next bytes come from.
enum Source {
    Control,
    Disco,
    Data,
}

/// Frames of one urgency.
#[derive(Debug)]
struct Lane {
    bytes: BytesMut,
    /// Bytes at the front that belong to a frame of which some are already written.
    cut: usize,
    /// Since when how many of the bytes wait, in their order. A mark ends where a frame ends.
    marks: VecDeque<Mark>,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    bytes: usize,
}

impl Lane {
    fn new(limit: usize) -> Self {
        Self { bytes: BytesMut::new(), cut: 0, marks: VecDeque::new(), limit }
    }

    fn push(&mut self, now: Instant, frame: &Frame<'_>) -> Pushed {
        let len = HEADER_LEN + frame.body_len();
        let over = (self.bytes.len() + len).saturating_sub(self.limit);
        let dropped = if over > 0 { self.drop_front(over) } else { 0 };
        if frame.encode(&mut self.bytes).is_err() {
            return Pushed { dropped, too_long: true };
        }
        match self.marks.back_mut() {
            Some(last) if last.at == now => last.bytes += len,
            _ => self.marks.push_back(Mark { at: now, bytes: len }),
        }
        Pushed { dropped, too_long: false }
    }

    /// The rest of the frame that was cut; else as many whole frames as fit into `allowance` and one write.
    fn front(&self, allowance: usize) -> &[u8] {
        let mut end = self.cut;
        if end == 0 {
            let first = self.frame_at(0);
            end = if first <= allowance { first } else { 0 };
            let most = allowance.min(WRITE_BYTES);
            while end > 0 && end < self.bytes.len() && end + self.frame_at(end) <= most {
                end += self.frame_at(end);
            }
        }
        &self.bytes[..end]
    }

    /// Length of the frame whose header stands at `at`; zero at the end.
    fn frame_at(&self, at: usize) -> usize {
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(&[_, a, b, c, d]) => HEADER_LEN + u32::from_be_bytes([a, b, c, d]) as usize,
            None => 0,
        }
    }

    fn wrote(&mut self, count: usize) {
        let mut end = self.cut;
        while end < count {
            end += self.frame_at(end);
        }
        self.cut = end - count;
        self.bytes.advance(count);
        self.unmark(count, 0);
        self.release();
    }

    /// Drops whole frames behind the one that was cut until at least `wanted` bytes are gone, or all. Returns how many frames.
    fn drop_front(&mut self, wanted: usize) -> u64 {
        let (mut gone, mut frames) = (0, 0);
        while gone < wanted {
            let len = self.frame_at(self.cut + gone);
            if len == 0 {
                break;
            }
            gone += len;
            frames += 1;
        }
        self.bytes.copy_within(..self.cut, gone);
        self.bytes.advance(gone);
        self.unmark(gone, self.cut);
        self.release();
        frames
    }

    fn expire(&mut self, now: Instant, age: Duration) -> u64 {
        let old = self.marks.iter().take_while(|mark| now.saturating_duration_since(mark.at) >= age);
        let old: usize = old.map(|mark| mark.bytes).sum();
        if old > self.cut { self.drop_front(old - self.cut) } else { 0 }
    }

    fn oldest(&self) -> Option<Instant> {
        let mut marks = self.marks.iter();
        let first = marks.next()?;
        if first.bytes > self.cut { Some(first.at) } else { marks.next().map(|mark| mark.at) }
    }

    fn forget_cut(&mut self) -> u64 {
        let cut = std::mem::take(&mut self.cut);
        self.bytes.advance(cut);
        self.unmark(cut, 0);
        self.release();
        u64::from(cut > 0)
    }

    /// Takes `count` bytes off the marks, leaving out the first `kept` bytes.
    fn unmark(&mut self, mut count: usize, mut kept: usize) {
        for mark in &mut self.marks {
            let spared = kept.min(mark.bytes);
            kept -= spared;
            let taken = count.min(mark.bytes - spared);
            count -= taken;
            mark.bytes -= taken;
            if count == 0 {
                break;
            }
        }
        while self.marks.front().is_some_and(|mark| mark.bytes == 0) {
            self.marks.pop_front();
        }
        // A mark behind the one that was cut may have lost all it had.
        self.marks.retain(|mark| mark.bytes > 0);
    }

    fn release(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP_BYTES {
            self.bytes = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{Decoder, Limits, PACKET_OVERHEAD},
        machine::tests::t0,
    };

    const TO: NodePublic = NodePublic::from_bytes([7; 32]);

    /// A packet that says which it is; disco if `disco`.
    fn packet(number: u32, len: usize, disco: bool) -> Vec<u8> {
        let mut packet = if disco { b"TS\xf0\x9f\x92\xac".to_vec() } else { vec![4; 6] };
        packet.extend(number.to_be_bytes());
        packet.resize(len.max(if disco { 62 } else { 10 }), 0);
        packet
    }

    fn queued(outbox: &Outbox) -> usize {
        outbox.disco.bytes.len() + outbox.data.bytes.len()
    }

    /// Writes everything, at most `chunk` bytes a time, and reads it back: which packets, in which order.
    fn drain(outbox: &mut Outbox, chunk: usize) -> Vec<u32> {
        let mut stream = Vec::new();
        loop {
            let next = outbox.next(usize::MAX);
            let count = next.len().min(chunk);
            if count == 0 {
                break;
            }
            stream.extend_from_slice(&next[..count]);
            outbox.wrote(count);
        }
        numbers(&stream)
    }

    fn numbers(mut stream: &[u8]) -> Vec<u32> {
        let mut decoder = Decoder::new(Limits::RELAY);
        let mut numbers = Vec::new();
        while let Some(frame) = decoder.next(&mut stream).unwrap() {
            let Frame::SendPacket { packet, .. } = frame else { continue };
            numbers.push(u32::from_be_bytes(packet[6..10].try_into().unwrap()));
        }
        assert!(decoder.is_between_frames(), "a frame was cut in two");
        numbers
    }

    #[test]
    fn disco_goes_before_data_and_what_belongs_to_the_connection_before_both() {
        let mut outbox = Outbox::new();
        outbox.push(t0(), TO, &packet(1, 500, false));
        outbox.push(t0(), TO, &packet(2, 100, true));
        Frame::Ping([1; 8]).encode(outbox.control()).unwrap();
        assert_eq!(outbox.next(usize::MAX)[0], 0x12);
        outbox.wrote(13);
        assert_eq!(drain(&mut outbox, usize::MAX), [2, 1]);
    }

    #[test]
    fn a_frame_that_has_begun_is_finished_before_anything_else() {
        let mut outbox = Outbox::new();
        outbox.push(t0(), TO, &packet(1, 500, false));
        outbox.push(t0(), TO, &packet(2, 500, false));
        let mut stream = outbox.next(usize::MAX)[..100].to_vec();
        outbox.wrote(100);
        outbox.push(t0(), TO, &packet(3, 62, true));
        outbox.control().extend_from_slice(&[6, 0, 0, 0, 0]);
        while !outbox.next(usize::MAX).is_empty() {
            let next = outbox.next(usize::MAX).to_vec();
            outbox.wrote(next.len());
            stream.extend(next);
        }
        assert_eq!(numbers(&stream), [1, 3, 2]);
    }

    #[test]
    fn many_small_frames_are_one_write_and_a_large_one_goes_whole() {
        let mut outbox = Outbox::new();
        for number in 0..200 {
            outbox.push(t0(), TO, &packet(number, 1400, false));
        }
        let first = outbox.next(usize::MAX).len();
        assert!(first > WRITE_BYTES - 1500 && first <= WRITE_BYTES, "{first}");
        outbox.clear();
        outbox.push(t0(), TO, &packet(1, MAX_PACKET, false));
        assert_eq!(outbox.next(usize::MAX).len(), MAX_PACKET + PACKET_OVERHEAD);
    }

    #[test]
    fn the_oldest_data_goes_when_there_is_no_room() {
        let mut outbox = Outbox::new();
        let each = 1463 + PACKET_OVERHEAD;
        let most = u32::try_from(DATA_BYTES / each).unwrap();
        let mut dropped = 0;
        for number in 0..most + 10 {
            dropped += outbox.push(t0(), TO, &packet(number, 1463, false)).dropped;
            assert!(queued(&outbox) <= DATA_BYTES);
        }
        assert_eq!(dropped, 10);
        assert_eq!(drain(&mut outbox, usize::MAX), (10..most + 10).collect::<Vec<_>>());
        assert!(outbox.data.bytes.capacity() <= KEEP_BYTES);
    }

    #[test]
    fn old_packets_go_and_the_one_that_has_begun_stays() {
        let mut outbox = Outbox::new();
        let age = Duration::from_millis(500);
        for (number, ms) in [(1, 0), (2, 0), (3, 100), (4, 200)] {
            outbox.push(t0() + Duration::from_millis(ms), TO, &packet(number, 50, false));
        }
        let mut stream = outbox.next(usize::MAX)[..60].to_vec();
        outbox.wrote(60);
        assert_eq!(outbox.oldest(), Some(t0()));
        assert_eq!(outbox.expire(t0() + Duration::from_millis(499), age), 0);
        assert_eq!(outbox.expire(t0() + Duration::from_millis(600), age), 2);
        assert_eq!(outbox.oldest(), Some(t0() + Duration::from_millis(200)));
        while !outbox.next(usize::MAX).is_empty() {
            let next = outbox.next(usize::MAX).to_vec();
            outbox.wrote(next.len());
            stream.extend(next);
        }
        assert_eq!(numbers(&stream), [1, 4]);
    }

    #[test]
    fn a_limited_sender_sends_whole_frames_within_its_allowance() {
        let mut outbox = Outbox::new();
        for number in 0..10 {
            outbox.push(t0(), TO, &packet(number, 63, false));
        }
        for (allowance, expected) in [(0, 0), (99, 0), (100, 100), (399, 300), (400, 400), (5000, 1000)] {
            assert_eq!(outbox.next(allowance).len(), expected);
        }
        assert_eq!(outbox.next_frame_len(), 100);
        outbox.wrote(30);
        assert_eq!((outbox.next(0).len(), outbox.next_frame_len()), (70, 0), "what has begun was allowed");
    }

    #[test]
    fn a_packet_that_no_relay_carries_is_not_taken() {
        let mut outbox = Outbox::new();
        assert!(outbox.push(t0(), TO, &packet(1, MAX_PACKET + 1, false)).too_long);
        assert!(queued(&outbox) == 0 && outbox.oldest().is_none());
    }

    #[test]
    fn a_packet_that_no_relay_carries_costs_no_other_one_its_place() {
        let mut outbox = Outbox::new();
        while outbox.push(t0(), TO, &packet(1, 1463, false)).dropped == 0 {}
        let full = queued(&outbox);
        let pushed = outbox.push(t0(), TO, &packet(2, MAX_PACKET + 1, false));
        assert_eq!((pushed, queued(&outbox)), (Pushed { dropped: 0, too_long: true }, full));
    }

    #[test]
    fn a_new_stream_starts_with_whole_frames() {
        let mut outbox = Outbox::new();
        for number in 0..3 {
            outbox.push(t0(), TO, &packet(number, 100, false));
        }
        outbox.control().extend_from_slice(b"GET");
        outbox.wrote(3);
        outbox.wrote(200);
        assert_eq!(outbox.restart(), 1);
        assert_eq!(drain(&mut outbox, 7), [2]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { len: usize, disco: bool },
        Write(usize),
        Wait(u64),
    }

    proptest! {
        /// Whatever is pushed, written in parts, and dropped for age: the stream is whole frames, each lane in order.
        #[test]
        fn the_stream_is_always_whole_frames_in_order(steps in prop::collection::vec(prop_oneof![
            (0usize..3000, any::<bool>()).prop_map(|(len, disco)| Step::Push { len, disco }),
            (1usize..5000).prop_map(Step::Write),
            (0u64..300).prop_map(Step::Wait),
        ], 0..200)) {
            let mut outbox = Outbox::new();
            let (mut now, mut number, mut stream, mut dropped) = (t0(), 0, Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Push { len, disco } => {
                        // Even numbers are data, odd ones disco.
                        number += 2;
                        let pushed = outbox.push(now, TO, &packet(number + u32::from(disco), len, disco));
                        dropped += pushed.dropped;
                    }
                    Step::Write(most) => {
                        let next = outbox.next(usize::MAX);
                        let count = next.len().min(most);
                        stream.extend_from_slice(&next[..count]);
                        outbox.wrote(count);
                    }
                    Step::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        dropped += outbox.expire(now, Duration::from_millis(500));
                        let oldest = outbox.oldest();
                        prop_assert!(oldest.is_none_or(|at| now - at < Duration::from_millis(500)));
                    }
                }
                let marked: usize = outbox.data.marks.iter().map(|mark| mark.bytes).sum();
                prop_assert_eq!(marked, outbox.data.bytes.len());
            }
            while !outbox.next(usize::MAX).is_empty() {
                let next = outbox.next(usize::MAX).to_vec();
                outbox.wrote(next.len());
                stream.extend(next);
            }
            let seen = numbers(&stream);
            prop_assert_eq!(seen.len() as u64 + dropped, u64::from(number / 2));
            for parity in [0, 1] {
                let lane: Vec<u32> = seen.iter().copied().filter(|n| n % 2 == parity).collect();
                prop_assert!(lane.is_sorted());
            }
        }
    }
}
