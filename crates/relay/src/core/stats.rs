//! What a relay counts: one number for each thing that happens to packets and connections.

use thiserror::Error;
use tidewire_derp::{FrameError, LoginError, frame::Kind};

use crate::websocket::Violation;

/// Why a packet went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discard {
    /// Nobody is here with the key that it was for.
    Absent,
    /// Its receiver's queue was full, and newer packets came.
    QueueFull,
    /// It waited too long for its receiver.
    Aged,
    /// Longer than this relay carries.
    TooLong,
    /// Its receiver left while it waited.
    ReceiverLeft,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Closed {
    /// The other end closed it, or the network did.
    #[error("it ended at the other end")]
    Left,
    /// TLS or the socket failed.
    #[error("TLS or the socket failed")]
    Transport,
    /// An HTTP request was answered, and that was all.
    #[error("its request was answered")]
    Answered,
    /// It did not log in in time.
    #[error("it did not log in in time")]
    SetupTimeout,
    /// It had not logged in, and too many newer connections came.
    #[error("too many connections wait to log in")]
    Crowded,
    /// As many clients as the relay allows are here.
    #[error("the relay has as many clients as it may")]
    Full,
    /// The stream did not start with a login.
    #[error("the stream does not start with a login")]
    NoLogin,
    /// The login is wrong.
    #[error(transparent)]
    Login(LoginError),
    /// The key is not on the list of those that may log in.
    #[error("its key may not log in here")]
    NotAllowed,
    /// This very login was seen before: somebody has recorded it.
    #[error("its login was used before")]
    Replayed,
    /// A frame is wrong.
    #[error(transparent)]
    Frame(FrameError),
    /// A frame that only relays of a mesh may send.
    #[error("it sent a {0:?} frame, and this relay is in no mesh")]
    Mesh(Kind),
    /// The WebSocket protocol was violated.
    #[error(transparent)]
    WebSocket(Violation),
    /// It read so slowly that a write was blocked for too long.
    #[error("it reads too slowly")]
    SlowReader,
    /// The relay shuts down.
    #[error("the relay shuts down")]
    Shutdown,
}

/// What has happened since the start, and how things stand. Numbers never go back except where "now" stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections now, logged in or not.
    pub connections: u64,
    /// Clients that are logged in now; two connections with one key are two.
    pub clients: u64,
    /// Different keys that are logged in now.
    pub keys: u64,
    /// Clients now that have this relay as their home.
    pub at_home: u64,
    /// Bytes of memory now that wait in the queues of clients.
    pub queued_bytes: u64,
    /// Connections that came.
    pub accepted: u64,
    /// Clients that logged in.
    pub logins: u64,
    /// Packets that clients sent.
    pub packets_in: u64,
    /// Bytes of those packets.
    pub bytes_in: u64,
    /// Those packets among them that looked like disco.
    pub disco_in: u64,
    /// Packets that left for clients.
    pub packets_out: u64,
    /// Bytes that left for clients: frames, and HTTP responses, before TLS.
    pub bytes_out: u64,
    /// Frames that said that a peer is gone.
    pub peer_gone: u64,
    /// Pings that got no answer, because an answer was waiting.
    pub pings_unanswered: u64,
    /// The relay's own messages that were dropped, because too many waited.
    pub control_dropped: u64,
    discarded: [u64; Discard::ALL.len()],
    closed: [u64; Closed::NAMES.len()],
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Absent, Self::QueueFull, Self::Aged, Self::TooLong, Self::ReceiverLeft];

    /// A short name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::QueueFull => "queue_full",
            Self::Aged => "aged",
            Self::TooLong => "too_long",
            Self::ReceiverLeft => "receiver_left",
        }
    }
}

impl Closed {
    /// The short names of all reasons, for metrics.
    pub const NAMES: [&'static str; 15] = [
        "left",
        "transport",
        "answered",
        "setup_timeout",
        "crowded",
        "full",
        "no_login",
        "bad_login",
        "not_allowed",
        "replayed",
        "bad_frame",
        "mesh_frame",
        "websocket",
        "slow_reader",
        "shutdown",
    ];

    /// A short name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    const fn index(self) -> usize {
        match self {
            Self::Left => 0,
            Self::Transport => 1,
            Self::Answered => 2,
            Self::SetupTimeout => 3,
            Self::Crowded => 4,
            Self::Full => 5,
            Self::NoLogin => 6,
            Self::Login(_) => 7,
            Self::NotAllowed => 8,
            Self::Replayed => 9,
            Self::Frame(_) => 10,
            Self::Mesh(_) => 11,
            Self::WebSocket(_) => 12,
            Self::SlowReader => 13,
            Self::Shutdown => 14,
        }
    }
}

impl Stats {
    /// Packets that went no further, for that reason.
    #[must_use]
    pub const fn discarded(&self, reason: Discard) -> u64 {
        self.discarded[reason as usize]
    }

    /// Connections that ended, by the short name of the reason.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Closed::NAMES.into_iter().zip(self.closed)
    }

    pub(crate) fn discard(&mut self, reason: Discard, count: u64) {
        self.discarded[reason as usize] += count;
    }

    pub(crate) fn close(&mut self, reason: Closed) {
        self.closed[reason.index()] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_number() {
        let mut stats = Stats::default();
        for (count, reason) in (1..).zip(Discard::ALL) {
            stats.discard(reason, count);
            assert_eq!(stats.discarded(reason), count);
        }
        stats.close(Closed::Left);
        stats.close(Closed::Shutdown);
        let closed: Vec<_> = stats.closed().filter(|(_, count)| *count > 0).collect();
        assert_eq!(closed, [("left", 1), ("shutdown", 1)]);
    }
}
