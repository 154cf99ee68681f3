//! How frames wait for a client: back to back in pooled segments, bounded in memory and by age, the oldest dropped first.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tidewire_derp::frame::{HEADER_LEN, KEY_LEN, Kind, PACKET_OVERHEAD, header};
use tidewire_keys::NodePublic;

/// Memory of one segment in bytes: what one TLS record holds, so that a full segment leaves as one record.
pub(crate) const SEGMENT: usize = 16 * 1024;
/// Free segments that the pool keeps.
const POOLED: usize = 256;
/// Frames that came within this time share a segment, and with it their age.
const SAME_AGE: Duration = Duration::from_millis(50);

/// Free segments, and how much memory all queues together hold.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
    held: usize,
}

/// Whole frames of one kind for one client. Owns no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    segments: VecDeque<Segment>,
    held: usize,
}

/// What a queue allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most memory in bytes, counted in capacity; one segment is always allowed.
    pub(crate) bytes: usize,
    /// How long a frame may wait.
    pub(crate) age: Duration,
}

#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    /// Where the first frame starts that has not left.
    start: usize,
    frames: u32,
    /// When the first frame came.
    born: Instant,
}

impl Pool {
    /// Memory in bytes that waits in all queues.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    fn take(&mut self, least: usize) -> Vec<u8> {
        let bytes = match self.free.pop() {
            Some(bytes) if least <= SEGMENT => bytes,
            Some(bytes) => {
                self.free.push(bytes);
                Vec::with_capacity(least)
            }
            None => Vec::with_capacity(least.max(SEGMENT)),
        };
        self.held += bytes.capacity();
        bytes
    }

    fn give(&mut self, mut bytes: Vec<u8>) {
        self.held -= bytes.capacity();
        if bytes.capacity() == SEGMENT && self.free.len() < POOLED {
            bytes.clear();
            self.free.push(bytes);
        }
    }
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Appends a `RecvPacket` frame. Returns how many frames were dropped to make room: the oldest, a segment at a time.
    ///
    pub(crate) fn push(
        &mut self,
        now: Instant,
        from: &NodePublic,
        packet: &[u8],
        bounds: Bounds,
        pool: &mut Pool,
    ) -> u64 {
        let len = PACKET_OVERHEAD + packet.len();
        let mut dropped = 0;
        let fits = |last: &Segment| {
            last.bytes.capacity() - last.bytes.len() >= len
                && now.saturating_duration_since(last.born) < SAME_AGE.min(bounds.age)
        };
        if !self.segments.back().is_some_and(fits) {
            while !self.segments.is_empty() && self.held + len.max(SEGMENT) > bounds.bytes {
                dropped += self.drop_oldest(pool);
            }
            let bytes = pool.take(len);
            self.held += bytes.capacity();
            self.segments.push_back(Segment { bytes, start: 0, frames: 0, born: now });
        }
        let last = self.segments.back_mut().expect("there is a segment with room, or one was just added");
        last.bytes.extend_from_slice(&header(Kind::RecvPacket, KEY_LEN + packet.len()));
        last.bytes.extend_from_slice(from.as_bytes());
        last.bytes.extend_from_slice(packet);
        last.frames += 1;
        dropped
    }

    /// Drops what has waited too long. Returns how many frames.
    pub(crate) fn expire(&mut self, now: Instant, bounds: Bounds, pool: &mut Pool) -> u64 {
        let mut dropped = 0;
        while self
            .segments
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(oldest.born) > bounds.age)
        {
            dropped += self.drop_oldest(pool);
        }
        dropped
    }

    /// Moves whole frames to the end of `out` until it holds `full` bytes or more would exceed that; a frame longer than
    /// `full` goes into an empty `out` alone. Returns how many frames.
    pub(crate) fn pop_into(&mut self, out: &mut Vec<u8>, full: usize, pool: &mut Pool) -> u64 {
        let mut frames = 0;
        while let Some(oldest) = self.segments.front_mut() {
            let room =
                if out.is_empty() { full.max(oldest.first_len()) } else { full.saturating_sub(out.len()) };
            let waiting = oldest.bytes.get(oldest.start..).unwrap_or_default();
            if waiting.len() > room {
                return frames + oldest.pop_some(out, room);
            }
            out.extend_from_slice(waiting);
            frames += u64::from(oldest.frames);
            self.remove_oldest(pool);
        }
        frames
    }

    /// Gives all memory back. Returns how many frames were in it.
    pub(crate) fn clear(&mut self, pool: &mut Pool) -> u64 {
        let mut dropped = 0;
        while !self.segments.is_empty() {
            dropped += self.drop_oldest(pool);
        }
        dropped
    }

    fn drop_oldest(&mut self, pool: &mut Pool) -> u64 {
        let frames = self.segments.front().map_or(0, |oldest| u64::from(oldest.frames));
        self.remove_oldest(pool);
        frames
    }

    fn remove_oldest(&mut self, pool: &mut Pool) {
        if let Some(oldest) = self.segments.pop_front() {
            self.held -= oldest.bytes.capacity();
            pool.give(oldest.bytes);
        }
        if self.segments.is_empty() {
            self.segments = VecDeque::new();
        }
    }
}

impl Segment {
    /// Moves the first frames that take at most `room` bytes together, which are not all of them.
    fn pop_some(&mut self, out: &mut Vec<u8>, room: usize) -> u64 {
        let from = self.start;
        let mut frames = 0;
        while self.start + self.first_len() - from <= room && frames < self.frames {
            self.start += self.first_len();
            frames += 1;
        }
        out.extend_from_slice(self.bytes.get(from..self.start).unwrap_or_default());
        self.frames -= frames;
        u64::from(frames)
    }

    /// Length of the first frame that has not left, header included.
    fn first_len(&self) -> usize {
        let header = self.bytes.get(self.start..).and_then(|waiting| waiting.first_chunk::<HEADER_LEN>());
        header.map_or(0, |&[_, a, b, c, d]| HEADER_LEN + u32::from_be_bytes([a, b, c, d]) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::t0;

    const BOUNDS: Bounds = Bounds { bytes: 4 * SEGMENT, age: Duration::from_secs(1) };

    fn key() -> NodePublic {
        NodePublic::from_bytes([7; 32])
    }

    fn lengths(mut bytes: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(&[0x05, a, b, c, d]) = bytes.first_chunk() {
            let body = u32::from_be_bytes([a, b, c, d]) as usize;
            assert_eq!(bytes[5..37], [7; 32]);
            lengths.push(body - 32);
            bytes = &bytes[5 + body..];
        }
        assert!(bytes.is_empty());
        lengths
    }

    #[test]
    fn frames_leave_whole_and_in_order() {
        let (mut pool, mut queue, mut out) = (Pool::default(), Queue::default(), Vec::new());
        let sent: Vec<usize> = (0..200).map(|at| at * 7 % 1400).collect();
        for &len in &sent {
            let large = Bounds { bytes: 1 << 20, ..BOUNDS };
            assert_eq!(queue.push(t0(), &key(), &vec![1; len], large, &mut pool), 0, "nothing is dropped");
        }
        let mut got = Vec::new();
        while !queue.is_empty() {
            out.clear();
            assert!(queue.pop_into(&mut out, 5000, &mut pool) > 0);
            assert!(out.len() <= 5000);
            got.extend(lengths(&out));
        }
        assert_eq!(got, sent);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn a_frame_longer_than_the_room_goes_alone() {
        let (mut pool, mut queue, mut out) = (Pool::default(), Queue::default(), Vec::new());
        for len in [10, 65_536, 10] {
            queue.push(t0(), &key(), &vec![1; len], Bounds { bytes: 1 << 20, ..BOUNDS }, &mut pool);
        }
        for expected in [vec![10], vec![65_536], vec![10]] {
            out.clear();
            queue.pop_into(&mut out, 16_384, &mut pool);
            assert_eq!(lengths(&out), expected);
        }
        assert!(queue.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let (mut pool, mut queue, mut out) = (Pool::default(), Queue::default(), Vec::new());
        let mut dropped = 0;
        for len in 0..1000 {
            dropped += queue.push(t0(), &key(), &vec![1; len], BOUNDS, &mut pool);
            assert!(pool.held() <= BOUNDS.bytes);
        }
        queue.pop_into(&mut out, usize::MAX, &mut pool);
        let left = lengths(&out);
        assert_eq!(left.len() as u64 + dropped, 1000);
        assert_eq!(left, (dropped as usize..1000).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_queue_owns_no_memory() {
        let (mut pool, mut queue, mut out) = (Pool::default(), Queue::default(), Vec::new());
        queue.push(t0(), &key(), &[1; 100], BOUNDS, &mut pool);
        assert_eq!(pool.held(), SEGMENT);
        queue.pop_into(&mut out, SEGMENT, &mut pool);
        assert_eq!((pool.held(), queue.held, queue.segments.capacity()), (0, 0, 0));
    }

    #[test]
    fn the_old_is_dropped_and_the_young_is_not() {
        let (mut pool, mut queue, mut out) = (Pool::default(), Queue::default(), Vec::new());
        queue.push(t0(), &key(), &[1; 1], BOUNDS, &mut pool);
        queue.push(t0() + Duration::from_millis(700), &key(), &[1; 2], BOUNDS, &mut pool);
        assert_eq!(queue.expire(t0() + Duration::from_millis(1000), BOUNDS, &mut pool), 0);
        assert_eq!(queue.expire(t0() + Duration::from_millis(1001), BOUNDS, &mut pool), 1);
        queue.pop_into(&mut out, SEGMENT, &mut pool);
        assert_eq!(lengths(&out), [2]);
    }
}
