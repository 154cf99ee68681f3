//! What a relay knows of one connection.

use std::time::{Duration, Instant};

use tidewire_derp::frame::{self, Decoder};
use tidewire_keys::NodePublic;

use super::{ClientId, bucket::Bucket, limits::RateLimit, outbox::Outbox, stats::Closed, timers::Deadlines};
use crate::websocket::Intake;

/// Longest body of a login in bytes. A real one has some 150; a stranger may have us keep so much.
const MAX_LOGIN: usize = 8 * 1024;
/// Answers "not here" that a connection may get at once, and in a second, as in the original.
const NOT_HERE_BURST: f64 = 3.0;
const NOT_HERE_RATE: f64 = 1.0;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) phase: Phase,
    pub(crate) outbox: Outbox,
    pub(crate) deadlines: Deadlines,
    /// Its key, from the login until it has left the roster.
    pub(crate) key: Option<NodePublic>,
    /// It ends for this reason as soon as what waits has been sent.
    pub(crate) ending: Option<Closed>,
    /// It may be read from.
    pub(crate) is_readable: bool,
    /// So many bytes at once.
    pub(crate) allowance: usize,
    /// It has this relay as its home.
    pub(crate) is_at_home: bool,
    /// Between two `KeepAlive`s; drawn at the login.
    pub(crate) keep_alive: Duration,
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Reading an HTTP request; what has come of it.
    Head(Vec<u8>),
    /// Reading frames.
    Stream(Box<Stream>),
    /// What comes is not looked at.
    Ending,
}

/// What reading frames needs.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) decoder: Decoder,
    pub(crate) websocket: Option<Box<Intake>>,
    /// Who sends them; `None` before the login.
    pub(crate) sender: Option<Sender>,
}

/// A client as the sender of frames.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) id: ClientId,
    pub(crate) key: NodePublic,
    pub(crate) not_here: Bucket,
    pub(crate) rate: Option<Bucket>,
    /// At this epoch of the roster it received for its key, and `route` was right.
    pub(crate) epoch: u64,
    /// Where the last packet went.
    pub(crate) route: Option<(NodePublic, ClientId)>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Head(Vec::new()),
            outbox: Outbox::default(),
            deadlines: Deadlines::default(),
            key: None,
            ending: None,
            is_readable: true,
            allowance: usize::MAX,
            is_at_home: false,
            keep_alive: Duration::ZERO,
        }
    }

    /// Neither logged in nor about to end.
    pub(crate) const fn is_pending(&self) -> bool {
        self.key.is_none() && self.ending.is_none()
    }
}

impl Stream {
    pub(crate) fn new(websocket: Option<Box<Intake>>) -> Self {
        let limits = frame::Limits { login: MAX_LOGIN, ..frame::Limits::RELAY };
        Self { decoder: Decoder::new(limits), websocket, sender: None }
    }
}

impl Sender {
    pub(crate) fn new(now: Instant, id: ClientId, key: NodePublic, rate: Option<RateLimit>) -> Self {
        let rate = rate.map(|rate| {
            Bucket::new(now, rate.bytes_per_second.max(RateLimit::LEAST) as f64, rate.burst as f64)
        });
        let not_here = Bucket::new(now, NOT_HERE_RATE, NOT_HERE_BURST);
        Self { id, key, not_here, rate, epoch: 0, route: None }
    }
}
