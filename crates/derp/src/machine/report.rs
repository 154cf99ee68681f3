//! What the machine tells: events, failures with the step and what was seen, drops with their reason, and a snapshot.

use std::{
    fmt,
    io::ErrorKind,
    time::{Duration, Instant},
};

use tidewire_keys::NodePublic;
use tidewire_transport::RegionId;

use super::ladder::Rung;
use crate::frame::{FrameError, GoneReason, Kind};
use crate::login::LoginError;

/// A change that someone may want to know of.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Logged in: the relay opened our login and answered it.
    Up {
        /// Which region.
        region: RegionId,
        /// Name of the node in it.
        node: String,
        /// How it was reached.
        rung: Rung,
        /// Whether through an HTTP proxy.
        proxied: bool,
    },
    /// A connection that was up is no more.
    Down {
        /// Which region.
        region: RegionId,
        /// Why.
        why: DownReason,
    },
    /// An attempt failed before it was up. The next one follows by itself while the region is wanted.
    Failed(Failure),
    /// A peer is not at the relay through which it was sent to or heard.
    PeerGone {
        /// Which region.
        region: RegionId,
        /// Who.
        peer: NodePublic,
        /// Why, as far as the relay says.
        reason: GoneReason,
    },
    /// The relay says what is wrong with our connection, or that nothing is any more.
    Health {
        /// Which region.
        region: RegionId,
        /// What is wrong; `None`: healthy again.
        problem: Option<String>,
    },
    /// The relay says that it restarts. The connection is made again by itself.
    Restarting {
        /// Which region.
        region: RegionId,
        /// It wants us back no sooner than this.
        reconnect_in: Duration,
        /// For so long it should be tried.
        try_for: Duration,
    },
}

/// Why a connection that was up is no more.
#[derive(Clone, PartialEq, Debug)]
pub enum DownReason {
    /// It failed; the next attempt follows by itself while the region is wanted.
    Failed(Failure),
    /// Nothing was sent for a minute, and the region is not one to stay connected to.
    Idle,
    /// The region left the map, or is described otherwise there.
    Map,
}

/// What failed, where, and what was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Which region.
    pub region: RegionId,
    /// Name of the node in it; empty if the region has none that could be tried.
    pub node: String,
    /// How it was tried, once that was decided.
    pub rung: Option<Rung>,
    /// Whether through an HTTP proxy.
    pub proxied: bool,
    /// How far it came.
    pub step: Step,
    /// What was seen there.
    pub seen: Seen,
}

/// The steps of a connection, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// Finding the node's addresses.
    Resolve,
    /// TCP, to the node or to the proxy.
    Connect,
    /// The proxy's answer.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The answer to the HTTP upgrade, or to the fast start in its place.
    Upgrade,
    /// The WebSocket handshake.
    WebSocket,
    /// The relay's key, first of all frames.
    ServerKey,
    /// The answer to our login.
    Login,
    /// Logged in.
    Connected,
}

/// What was seen where a step failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Nothing in time.
    Timeout,
    /// No address for the name, or both families are switched off.
    NoAddress,
    /// The region has no node that serves DERP.
    NoNode,
    /// What the system says.
    Io(ErrorKind),
    /// What TLS says, certificates included.
    Tls(String),
    /// An HTTP status that is no success.
    Status(u16),
    /// 101, but to another protocol: what its `Upgrade` says.
    UpgradedTo(String),
    /// The server chose another protocol already in TLS.
    Alpn(String),
    /// An answer that is not HTTP/1, or too long a head.
    NotHttp,
    /// DERP frames without an agreement on WebSocket, which was asked for.
    RawDerp,
    /// What WebSocket says.
    WebSocket(String),
    /// A WebSocket close with a code that means an error.
    Close(u16),
    /// The end of the stream.
    End,
    /// A frame that is refused.
    Frame(FrameError),
    /// A frame of this type where another was due.
    Order(Kind),
    /// A login that does not open, or makes no sense.
    Login(LoginError),
    /// No sign of life, though we asked.
    Silent,
    /// The stream takes nothing any more.
    Stalled,
}

/// Why a packet ended here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Discard {
    /// The region is not in the map.
    NoRegion,
    /// Longer than a relay carries.
    TooLong,
    /// The queue was full, and it was the oldest.
    QueueFull,
    /// It waited too long.
    Old,
    /// The connection ended in the middle of it.
    Cut,
    /// The region left the map, or is described otherwise there, while it waited.
    Map,
    /// A frame from a relay that is shorter than its type must be.
    ShortFrame,
    /// A frame from a relay that is no client's business.
    ForeignFrame,
    /// What was received did not fit the queue to the data plane.
    NotTaken,
}

/// One count for each [`Discard`].
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Packets handed in to be sent.
    pub sent_packets: u64,
    /// Packets that relays brought.
    pub received_packets: u64,
    /// Connections that were logged in.
    pub logins: u64,
    /// Attempts that failed before that.
    pub failures: u64,
    /// Events that nobody fetched in time.
    pub events_lost: u64,
    /// Packets that ended here, by reason.
    pub discards: Discards,
}

/// How things stand.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    /// The home region.
    pub home: Option<RegionId>,
    /// Regions that are connected, wanted, or failed last time, in the order of their numbers.
    pub regions: Vec<RegionStatus>,
    /// Counts since the start.
    pub counters: Counters,
}

/// How things stand with one region.
#[derive(Clone, PartialEq, Debug)]
pub struct RegionStatus {
    /// Which.
    pub region: RegionId,
    /// Its short name.
    pub code: String,
    /// How far it is.
    pub state: LinkState,
    /// Name of the node, while there is an attempt or a connection.
    pub node: Option<String>,
    /// How it is reached, once that is decided.
    pub rung: Option<Rung>,
    /// Whether through an HTTP proxy.
    pub proxied: bool,
    /// Round trip time to the relay.
    pub rtt: Option<Duration>,
    /// What the relay says is wrong.
    pub problem: Option<String>,
    /// The last failure, kept after a success.
    pub last_failure: Option<Failure>,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Not wanted.
    Idle,
    /// Failed; the next attempt is at this time.
    Waiting(Instant),
    /// Being made.
    Connecting,
    /// Logged in since then.
    Up(Instant),
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::NoRegion,
        Self::TooLong,
        Self::QueueFull,
        Self::Old,
        Self::Cut,
        Self::Map,
        Self::ShortFrame,
        Self::ForeignFrame,
        Self::NotTaken,
    ];
}

impl Discards {
    /// How many ended for that reason.
    #[must_use]
    pub const fn get(&self, reason: Discard) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its count, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.into_iter().zip(self.0)
    }

    pub(crate) const fn add(&mut self, reason: Discard, count: u64) {
        self.0[reason as usize] += count;
    }
}

impl fmt::Debug for Discards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "{failure}"),
            Self::Idle => f.write_str("nothing was sent for a minute"),
            Self::Map => f.write_str("the map changed"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relay {}", self.region)?;
        if !self.node.is_empty() {
            write!(f, " node {}", self.node)?;
        }
        if self.proxied {
            f.write_str(" through the proxy")?;
        }
        if let Some(rung) = self.rung {
            write!(f, " by {rung}")?;
        }
        write!(f, ", {}: {}", self.step, self.seen)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "finding its address",
            Self::Connect => "connecting",
            Self::Proxy => "asking the proxy",
            Self::Tls => "TLS handshake",
            Self::Upgrade => "HTTP upgrade",
            Self::WebSocket => "WebSocket handshake",
            Self::ServerKey => "waiting for its key",
            Self::Login => "logging in",
            Self::Connected => "connected",
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::NoAddress => f.write_str("it has no address"),
            Self::NoNode => f.write_str("the region has no node that serves DERP"),
            Self::Io(kind) => write!(f, "{kind}"),
            Self::Tls(what) | Self::WebSocket(what) => f.write_str(what),
            Self::Status(status) => write!(f, "HTTP status {status}"),
            Self::UpgradedTo(protocol) => write!(f, "upgraded to `{protocol}` instead of DERP"),
            Self::Alpn(protocol) => write!(f, "the server speaks `{protocol}`"),
            Self::NotHttp => f.write_str("the answer is not HTTP/1"),
            Self::RawDerp => f.write_str("the relay answers without WebSocket"),
            Self::Close(code) => write!(f, "WebSocket closed with code {code}"),
            Self::End => f.write_str("the stream ended"),
            Self::Frame(error) => write!(f, "{error}"),
            Self::Order(kind) => write!(f, "{kind:?} frame where another was due"),
            Self::Login(error) => write!(f, "{error}"),
            Self::Silent => f.write_str("no sign of life"),
            Self::Stalled => f.write_str("it takes nothing any more"),
        }
    }
}
