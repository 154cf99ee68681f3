//! How long, how often and how many: every figure that path choice goes by.

use std::time::Duration;

/// A path in use is pinged this often while its peer is active (as Tailscale does).
pub const HEARTBEAT: Duration = Duration::from_secs(3);
/// An unanswered heartbeat is repeated after this long, or after two round trips where that is longer.
pub const HEARTBEAT_REPEAT: Duration = Duration::from_millis(300);
/// Packets that go to a peer from which nothing has come for so long have the path in use pinged at once: whether it is gone need
/// not wait for the heartbeat. While nothing comes each time is twice as long, up to a heartbeat.
pub const UNANSWERED: Duration = Duration::from_millis(500);
/// A peer that sends through the relay, while for [`UNANSWERED`] nothing has come by the path in use, has lost it in its
/// direction. It is believed so at most this often.
pub const MIRROR: Duration = Duration::from_secs(10);
/// After this many heartbeats in a row without an answer a path is doubted before its proof runs out.
pub const HEARTBEATS_TO_DOUBT: u32 = 3;
/// For this long a pong proves a path (as Tailscale does).
pub const TRUST: Duration = Duration::from_millis(6_500);
/// For this long after its proof ran out a path is used together with the relay (as Tailscale does).
pub const OVERLAP: Duration = Duration::from_millis(1_500);
/// A peer is active for this long after the last WireGuard packet to or from it (as Tailscale does).
pub const ACTIVE: Duration = Duration::from_secs(45);
/// After a CallMeMaybe from a peer that is not active, its addresses are pinged for this long.
pub const ALERT: Duration = Duration::from_secs(2);

/// A pong that takes longer does not count (as Tailscale does).
pub const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// From one ping of a search to the next to the same address, once the early ones are through (as Tailscale does).
pub const DISCOVER: Duration = Duration::from_secs(5);
/// From each early ping of a search to the next. A first ping is often lost in the other side's NAT, which opens only when
/// that side has sent something itself: so pings leave at 0, 200, 600, 1500 and 3000 ms.
pub const EARLY: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(900),
    Duration::from_millis(1_500),
];
/// A packet from an address that has not answered yet says that the way in is open: it is pinged, at the first ping
/// from there at once, and then no more often than this.
pub const HINTED: Duration = Duration::from_millis(500);
/// A ping that no budget was left for is tried again after this long.
pub const BUDGET_RETRY: Duration = Duration::from_millis(500);
/// A path this fast is good enough: nothing better is looked for (as Tailscale does).
pub const GOOD_ENOUGH: Duration = Duration::from_millis(5);
/// A slower one is compared with all others this often (as Tailscale does).
pub const UPGRADE: Duration = Duration::from_secs(60);

/// A CallMeMaybe is repeated this often until a path is proven: who gets one pings each address once and never again.
pub const CALL: Duration = Duration::from_secs(5);
/// The first repetition of a search comes sooner: what the first one made the peer send met a NAT that was still closed.
pub const CALL_AGAIN: Duration = Duration::from_secs(1);
/// Two CallMeMaybes to one peer are at least this far apart, so that a burst of changes is told once.
pub const CALL_GAP: Duration = Duration::from_millis(200);

/// Own addresses seen by STUN are told without asking anew for this long (as Tailscale does).
pub const STUN_FRESH: Duration = Duration::from_secs(27);
/// An answer is waited for this long; then a CallMeMaybe leaves with what is known (as Tailscale does).
pub const STUN_PATIENCE: Duration = Duration::from_secs(3);
/// From each request to a server that did not answer to the next.
pub const STUN_REPEAT: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(900)];
/// While the node is active STUN is asked this often at least, and up to [`STUN_JITTER`] later: NATs forget at about 30 s.
pub const STUN_PERIOD: Duration = Duration::from_secs(20);
/// The random part of the period.
pub const STUN_JITTER: Duration = Duration::from_secs(6);
/// An address that STUN no longer confirms is told for this long (as Tailscale does).
pub const STUN_LIFETIME: Duration = Duration::from_secs(310);

/// An address without any other source is forgotten this long after the last packet from it.
pub const CANDIDATE_LIFETIME: Duration = Duration::from_secs(300);
/// Data or a ping came from an address this recently: a path that the peer may be using, which is pinged with the heartbeat.
pub const IN_USE: Duration = Duration::from_secs(6);
/// A path over which data went unanswered is barred for this long the first time, twice as long each time after.
pub const BAR: Duration = Duration::from_secs(15);
/// The longest bar.
pub const BAR_MAX: Duration = Duration::from_secs(600);
/// So long after the end of a bar it is no longer held against a path.
pub const BAR_FORGIVEN: Duration = Duration::from_secs(600);

/// Addresses taken from the map for one peer.
pub const MAX_LISTED: usize = 32;
/// Addresses taken from one CallMeMaybe, and sent in one.
pub const MAX_CALLED: usize = 32;
/// Addresses kept for one peer because pings or data came from them.
pub const MAX_MET: usize = 16;
/// Other paths in use that are pinged with the heartbeat.
pub const MAX_IN_USE: usize = 4;
/// Pings of one peer that are waited for.
pub const MAX_PROBES: usize = 512;
/// Pings that a caller waits for, for one peer.
pub const MAX_ASKED: usize = 16;
/// STUN servers that are asked.
pub const MAX_STUN_SERVERS: usize = 16;

/// So many events in a row, and one more each interval after.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// From one to the next in the long run.
    pub interval: Duration,
    /// How many may come at once after a pause.
    pub burst: u32,
}

/// Pings to addresses that only a peer's word names, for one peer: what a peer can have sent to a third party.
pub const PINGS_PER_PEER: Rate = Rate { interval: Duration::from_micros(62_500), burst: 128 };
/// The same for all peers together.
pub const PINGS: Rate = Rate { interval: Duration::from_micros(500), burst: 4_096 };
/// Pongs to one peer: what a recorded ping, sent again from forged sources, can have sent to others.
pub const PONGS_PER_PEER: Rate = Rate { interval: Duration::from_micros(5_000), burst: 1_024 };
