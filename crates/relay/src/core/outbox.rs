//! What waits for one client and in which order it leaves: relay messages, then disco, then data.

use std::time::{Duration, Instant};

use tidewire_derp::{Frame, frame::PING_LEN};
use tidewire_keys::NodePublic;

use super::{
    limits::Limits,
    queue::{Bounds, Pool, Queue, SEGMENT},
    stats::Closed,
};
use crate::websocket;

/// Most bytes of the relay's own messages that wait; further ones are dropped.
const MAX_CONTROL: usize = 64 * 1024;
/// Most bytes of WebSocket pongs that wait; a client that does not read gets no further ones (RFC 6455, 5.5.3).
const MAX_RAW: usize = 4 * 1024;
/// What a queue may hold although all queues together hold too much: enough to pass a batch on within a turn.
const FLOOR: usize = 2 * SEGMENT;
/// How long disco may wait: a ping that is older has been given up by its sender.
const DISCO_AGE: Duration = Duration::from_secs(4);

/// Everything that waits for one client. Owns no memory while nothing does.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Leaves as it stands: the HTTP response, and frames of the WebSocket layer itself.
    raw: Vec<u8>,
    /// Frames of the relay's own.
    control: Vec<u8>,
    pong: Option<[u8; PING_LEN]>,
    disco: Queue,
    data: Queue,
    /// Leaves as it stands, when all else has left.
    farewell: Vec<u8>,
    /// Frames leave in WebSocket messages.
    pub(crate) is_websocket: bool,
    /// It stands in the list of those that have something to send.
    pub(crate) is_listed: bool,
}

/// Frames that left with one [`Outbox::pop_into`], and those that had grown too old.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Popped {
    pub(crate) packets: u64,
    pub(crate) aged: u64,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty()
            && self.control.is_empty()
            && self.pong.is_none()
            && self.disco.is_empty()
            && self.data.is_empty()
            && self.farewell.is_empty()
    }

    /// Appends bytes that leave before any frame.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
    }

    /// Answers a ping of the WebSocket layer.
    pub(crate) fn push_websocket_pong(&mut self, payload: &[u8]) {
        if self.raw.len() < MAX_RAW {
            websocket::pong(payload, &mut self.raw);
        }
    }

    /// Appends a message of the relay's own. `false`: too many wait already.
    pub(crate) fn push_control(&mut self, frame: Frame<'_>) -> bool {
        self.control.len() + frame.body_len() <= MAX_CONTROL && frame.encode(&mut self.control).is_ok()
    }

    /// Answers a close of the WebSocket layer, when all else has left.
    pub(crate) fn close_websocket_back(&mut self, payload: &[u8]) {
        websocket::close_back(payload, &mut self.farewell);
    }

    /// Closes the WebSocket layer, if there is one and it is not closed yet, when all else has left.
    pub(crate) fn close_websocket(&mut self, reason: Closed) {
        if self.is_websocket && self.farewell.is_empty() {
            let code = match reason {
                Closed::WebSocket(violation) => violation.code(),
                Closed::Shutdown => websocket::GOING_AWAY,
                _ => websocket::NORMAL,
            };
            websocket::close(code, &mut self.farewell);
        }
    }

    /// Appends a frame that is encoded already.
    pub(crate) fn push_encoded(&mut self, frame: &[u8]) {
        self.control.extend_from_slice(frame);
    }

    /// Answers a ping, unless another answer waits: only one ever does, as in the original.
    pub(crate) fn push_pong(&mut self, data: [u8; PING_LEN]) -> bool {
        let is_free = self.pong.is_none();
        self.pong.get_or_insert(data);
        is_free
    }

    /// Appends a packet. Returns how many older ones were dropped for it.
    pub(crate) fn push_packet(
        &mut self,
        now: Instant,
        from: &NodePublic,
        packet: &[u8],
        is_disco: bool,
        limits: &Limits,
        pool: &mut Pool,
    ) -> u64 {
        let (queue, mut bounds) = if is_disco {
            (&mut self.disco, disco_bounds(limits))
        } else {
            (&mut self.data, data_bounds(limits))
        };
        if pool.held() > limits.queues_bytes {
            bounds.bytes = bounds.bytes.min(FLOOR);
        }
        queue.push(now, from, packet, bounds, pool)
    }

    /// Moves what may leave in one record to the end of `out`: whole frames, together at most `full` bytes unless the
    /// first is longer.
    pub(crate) fn pop_into(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        full: usize,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Popped {
        if !self.raw.is_empty() {
            out.append(&mut self.raw);
            self.raw = Vec::new();
        }
        let popped = if self.is_websocket {
            let mut frames = Vec::new();
            let popped = self.pop_frames(now, &mut frames, full.saturating_sub(out.len() + 8), limits, pool);
            websocket::wrap(&frames, out);
            popped
        } else {
            self.pop_frames(now, out, full, limits, pool)
        };
        if self.disco.is_empty() && self.data.is_empty() {
            out.append(&mut self.farewell);
        }
        popped
    }

    fn pop_frames(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        full: usize,
        limits: &Limits,
        pool: &mut Pool,
    ) -> Popped {
        if !self.control.is_empty() {
            out.append(&mut self.control);
            self.control = Vec::new();
        }
        if let Some(data) = self.pong.take() {
            Frame::Pong(data).encode(out).expect("a pong has a fixed length");
        }
        let aged = self.disco.expire(now, disco_bounds(limits), pool)
            + self.data.expire(now, data_bounds(limits), pool);
        let disco = self.disco.pop_into(out, full, pool);
        let data = if self.disco.is_empty() { self.data.pop_into(out, full, pool) } else { 0 };
        Popped { packets: disco + data, aged }
    }

    /// Drops the packets. Returns how many.
    pub(crate) fn clear_packets(&mut self, pool: &mut Pool) -> u64 {
        self.disco.clear(pool) + self.data.clear(pool)
    }
}

const fn disco_bounds(limits: &Limits) -> Bounds {
    Bounds { bytes: limits.disco_queue_bytes, age: DISCO_AGE }
}

const fn data_bounds(limits: &Limits) -> Bounds {
    Bounds { bytes: limits.data_queue_bytes, age: limits.data_age }
}
