//! What a data plane tells its caller, what it can be asked, and why it wants to be woken.

use std::{net::SocketAddr, time::Duration};

use tidewire_keys::{NodePublic, Seed};
use tidewire_path::{PingRefusal, Route};
use tidewire_transport::Hop;

/// Something that happened. Changes of state only: what single packets do is counted, not told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Packets for a peer take another way from here on.
    Switched {
        /// Which peer.
        peer: NodePublic,
        /// Where they went.
        from: Route,
        /// Where they go.
        to: Route,
        /// Why.
        reason: tidewire_path::Reason,
    },
    /// A handshake with a peer is done; packets flow under a new session.
    Established {
        /// Which peer.
        peer: NodePublic,
    },
    /// A peer does not answer handshakes any more; the next packet for it tries again.
    GaveUp {
        /// Which peer.
        peer: NodePublic,
    },
    /// All session keys with a peer were wiped.
    Expired {
        /// Which peer.
        peer: NodePublic,
    },
    /// Where this node can be reached by UDP, as far as it knows: tell the peers.
    OwnAddresses(Vec<SocketAddr>),
    /// Answer to [`Command::Ping`].
    Pong {
        /// The command's token.
        token: u64,
        /// Which peer.
        peer: NodePublic,
        /// The way there.
        hop: Hop,
        /// The time there and back.
        rtt: Duration,
    },
    /// No answer to [`Command::Ping`] in time.
    PingTimeout {
        /// The command's token.
        token: u64,
        /// Which peer.
        peer: NodePublic,
    },
    /// [`Command::Ping`] could not be carried out.
    PingRefused {
        /// The command's token.
        token: u64,
        /// Which peer.
        peer: NodePublic,
        /// Why.
        reason: PingRefusal,
    },
}

/// Something that the core can be asked for.
#[derive(Debug)]
pub enum Command {
    /// Asks a peer for a sign of life by all ways; the first answer becomes [`Event::Pong`] with this token.
    Ping {
        /// Which peer.
        peer: NodePublic,
        /// Comes back with the answer.
        token: u64,
    },
    /// The machine has another network, or slept: nothing that was proven of paths holds.
    NetworkChanged,
    /// Starts a handshake though no packet waits, as after a restart.
    Initiate {
        /// With which peer.
        peer: NodePublic,
    },
    /// What the wall clock shows, since 1970 in UTC. Where it is ahead of what was reckoned from the epoch, handshake stamps
    /// follow it: a clock that was behind at the start may have been set since.
    WallTime(Duration),
    /// Mixes fresh randomness into every generator.
    Reseed(Seed),
}

/// Why the core wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// A timer of a session, or handshakes that wait.
    Tunnel(tidewire_tunnel::Why),
    /// A probe, or the end of a trust.
    Path(tidewire_path::Why),
    /// Work was left over because a call does only so much.
    Resume,
    /// Nothing is scheduled: the last defence.
    Floor,
}
