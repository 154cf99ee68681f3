//! Which types of frame there are, how they are numbered, and how long each body may be.

use tidewire_keys::{NONCE_LEN, TAG_LEN};

use super::{KEY_LEN, MAGIC, MAX_HEALTH, MAX_LOGIN, MAX_PACKET, MAX_PING, MAX_SERVER_KEY};

/// The types of frame that are known. Any other type is skipped by both ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Relay to client, first of all: its key.
    ServerKey = 0x01,
    /// Client to relay: the login.
    ClientInfo = 0x02,
    /// Relay to client: the login is accepted.
    ServerInfo = 0x03,
    /// Client to relay: a packet and whom it is for.
    SendPacket = 0x04,
    /// Relay to client: a packet and whom it is from.
    RecvPacket = 0x05,
    /// Relay to client: nothing, once a minute.
    KeepAlive = 0x06,
    /// Client to relay: whether this is the client's home.
    NotePreferred = 0x07,
    /// Relay to client: a peer is not there.
    PeerGone = 0x08,
    /// Relay to a relay of its mesh: a client came.
    PeerPresent = 0x09,
    /// Relay to a relay of its mesh: a packet, whom it is from and whom it is for.
    ForwardPacket = 0x0a,
    /// A relay of the mesh asks for `PeerPresent` and `PeerGone`.
    WatchConns = 0x10,
    /// A relay of the mesh asks to close a client's connections.
    ClosePeer = 0x11,
    /// Either way: send these bytes back.
    Ping = 0x12,
    /// Either way: the bytes of a `Ping`.
    Pong = 0x13,
    /// Relay to client: what is wrong with the connection, or that nothing is any more.
    Health = 0x14,
    /// Relay to client: it is about to restart.
    Restarting = 0x15,
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 16] = [
        Self::ServerKey,
        Self::ClientInfo,
        Self::ServerInfo,
        Self::SendPacket,
        Self::RecvPacket,
        Self::KeepAlive,
        Self::NotePreferred,
        Self::PeerGone,
        Self::PeerPresent,
        Self::ForwardPacket,
        Self::WatchConns,
        Self::ClosePeer,
        Self::Ping,
        Self::Pong,
        Self::Health,
        Self::Restarting,
    ];

    /// The type that `byte` names, if it is known.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::ServerKey,
            0x02 => Self::ClientInfo,
            0x03 => Self::ServerInfo,
            0x04 => Self::SendPacket,
            0x05 => Self::RecvPacket,
            0x06 => Self::KeepAlive,
            0x07 => Self::NotePreferred,
            0x08 => Self::PeerGone,
            0x09 => Self::PeerPresent,
            0x0a => Self::ForwardPacket,
            0x10 => Self::WatchConns,
            0x11 => Self::ClosePeer,
            0x12 => Self::Ping,
            0x13 => Self::Pong,
            0x14 => Self::Health,
            0x15 => Self::Restarting,
            _ => return None,
        })
    }

    /// Shortest body.
    #[must_use]
    pub const fn min_len(self) -> usize {
        match self {
            Self::ServerKey => MAGIC.len() + KEY_LEN,
            Self::ClientInfo => KEY_LEN + NONCE_LEN + TAG_LEN,
            Self::ServerInfo => NONCE_LEN + TAG_LEN,
            Self::SendPacket | Self::RecvPacket | Self::PeerGone | Self::PeerPresent | Self::ClosePeer => {
                KEY_LEN
            }
            Self::ForwardPacket => 2 * KEY_LEN,
            Self::NotePreferred => 1,
            Self::Ping | Self::Pong | Self::Restarting => 8,
            Self::KeepAlive | Self::WatchConns | Self::Health => 0,
        }
    }

    /// Longest body; `None` where only the limit for any frame holds, because later versions may append to it.
    #[must_use]
    pub const fn max_len(self) -> Option<usize> {
        match self {
            Self::ServerKey => Some(MAX_SERVER_KEY),
            Self::ClientInfo | Self::ServerInfo => Some(MAX_LOGIN),
            Self::SendPacket | Self::RecvPacket => Some(KEY_LEN + MAX_PACKET),
            Self::ForwardPacket => Some(2 * KEY_LEN + MAX_PACKET),
            Self::NotePreferred => Some(1),
            Self::WatchConns => Some(0),
            Self::ClosePeer => Some(KEY_LEN),
            Self::Ping => Some(MAX_PING),
            Self::KeepAlive
            | Self::PeerGone
            | Self::PeerPresent
            | Self::Pong
            | Self::Health
            | Self::Restarting => None,
        }
    }

    /// How many bytes at the front of a body of `len` bytes mean something; the rest is never looked at.
    pub(crate) fn meaningful(self, len: usize) -> usize {
        match self {
            Self::KeepAlive => 0,
            Self::ServerKey | Self::Ping | Self::Pong | Self::Restarting => len.min(self.min_len()),
            Self::PeerGone => len.min(KEY_LEN + 1),
            Self::PeerPresent => len.min(KEY_LEN + 16 + 2 + 1),
            Self::Health => len.min(MAX_HEALTH),
            Self::ClientInfo
            | Self::ServerInfo
            | Self::SendPacket
            | Self::RecvPacket
            | Self::ForwardPacket
            | Self::NotePreferred
            | Self::WatchConns
            | Self::ClosePeer => len,
        }
    }
}
