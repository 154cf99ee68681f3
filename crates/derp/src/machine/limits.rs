//! How long and how much: every time and depth of the connection machine, in one place.

use std::time::Duration;

/// For one round over a region's nodes: names, TCP, TLS, upgrade and login together (as Tailscale does). Where a rung is refused, the
/// next one has as much again.
pub const ROUND: Duration = Duration::from_secs(10);
/// For finding a node's addresses, all sources together.
pub const RESOLVE: Duration = Duration::from_millis(2500);
/// For one node's TCP connection in both families (as Tailscale does); does not hold through a proxy.
pub const CONNECT: Duration = Duration::from_millis(1500);
/// For an HTTP proxy to be reached and to answer.
pub const PROXY: Duration = Duration::from_secs(5);
/// For a TLS handshake.
pub const TLS: Duration = Duration::from_secs(5);
/// For the first byte of an answer to the upgrade, and for the WebSocket handshake. After that a middlebox has swallowed it.
pub const ANSWER: Duration = Duration::from_secs(3);
/// For the relay's key after the upgrade, and for its answer to the login.
pub const LOGIN: Duration = Duration::from_secs(5);
/// How much earlier IPv6 may try where it has worked on this network (as Tailscale does).
pub const IPV6_HEAD_START: Duration = Duration::from_millis(200);

/// The first wait before another round; each further one doubles it.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait before another round (as Tailscale does).
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A connection that lived so long was no accident: the wait starts small again.
pub const STABLE: Duration = Duration::from_secs(10);
/// The longest that a relay that restarts may have us wait, spread included.
pub const RESTART_MAX: Duration = Duration::from_secs(30);
/// For how long a lower rung is taken at once before the better one is tried again.
pub const REMEMBER_RUNG: Duration = Duration::from_secs(600);
/// For how many local networks a region remembers its rung.
pub const REMEMBER_NETWORKS: usize = 16;

/// A connection that is not kept closes so long after its last packet went out (as Tailscale does).
pub const IDLE: Duration = Duration::from_secs(60);

/// Silence after which we ask, while nothing is owed to us. A relay sends a sign of life every 60 to 65 s.
pub const ASK_IDLE: Duration = Duration::from_secs(70);
/// Silence after which we ask, counted from the first write that nothing has followed.
pub const ASK_ACTIVE: Duration = Duration::from_secs(5);
/// How long we wait for an answer (as Tailscale does), and then ask once more: relays may swallow one ping.
pub const PONG: Duration = Duration::from_secs(5);
/// How long we wait, and only once, after the network changed (as Tailscale does).
pub const PONG_AFTER_CHANGE: Duration = Duration::from_secs(3);
/// How often we ask before the connection counts as dead.
pub const ASKS: u8 = 2;
/// Silence after which nobody asks any more (as Tailscale does): the machine slept.
pub const SILENCE: Duration = Duration::from_secs(120);
/// How long the stream may take nothing while something waits. Twice what a slow link needs for the one write of ours below it.
pub const STALL: Duration = Duration::from_secs(15);

/// Bytes of data frames that wait for one relay. More than the largest window of one TCP connection.
pub const DATA_BYTES: usize = 4 << 20;
/// Bytes of frames that are written at once; a frame that is longer goes alone. Less than what rustls takes in one go, so that
/// each write fills whole TLS records and leaves in one system call.
pub const WRITE_BYTES: usize = 60 << 10;
/// Bytes of disco frames that wait for one relay.
pub const DISCO_BYTES: usize = 128 << 10;
/// How old a frame may get that waits for a connected relay. Longer makes no packet better.
pub const AGE: Duration = Duration::from_millis(500);
/// How old a frame may get while the relay is being connected to.
pub const AGE_CONNECTING: Duration = Duration::from_secs(5);
/// A queue that has run empty keeps at most so much memory.
pub const KEEP_BYTES: usize = 256 << 10;

/// For how many peers it is remembered through which relay they were heard.
pub const ROUTES: usize = 16 << 10;
/// Longest head of an HTTP response.
pub const HEAD_BYTES: usize = 16 << 10;
/// Most header lines in an HTTP response.
pub const HEAD_LINES: usize = 64;
/// Events that wait to be fetched, those about peers that are gone aside; the oldest go.
pub const EVENTS: usize = 1024;
/// Events that wait to be fetched and tell of peers that are gone: a relay can say as many of these as it likes.
pub const EVENTS_GONE: usize = 64;
