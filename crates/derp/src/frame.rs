//! What stands in a DERP stream: the types of frame, their bodies, and how long each may be.
//!
//! A frame is one byte of type, four bytes of length (big endian, without these five), and the body. Frames follow each
//! other without a gap and may be split anywhere. Source: Tailscale's `derp/derp.go`, protocol version 2.

mod codec;
mod decode;
mod kind;

use std::{net::Ipv6Addr, time::Duration};

use tidewire_keys::{NONCE_LEN, NodePublic, RelayPublic};

pub use self::{
    codec::header,
    decode::{Decoder, Limits},
    kind::Kind,
};

/// Bytes in front of each body: type and length.
pub const HEADER_LEN: usize = 5;
/// Length of a public key in a body.
pub const KEY_LEN: usize = 32;
/// What carrying a packet adds to it on the way to the relay and back: the header and one key.
pub const PACKET_OVERHEAD: usize = HEADER_LEN + KEY_LEN;
/// What a `ServerKey` body starts with: `DERP` and a key symbol in UTF-8.
pub const MAGIC: [u8; 8] = *b"DERP\xf0\x9f\x94\x91";
/// The version of the protocol that this crate speaks, and that both logins name.
pub const PROTOCOL_VERSION: u32 = 2;
/// Longest packet that a relay carries. The body around it is longer by one key, or by two where relays forward.
pub const MAX_PACKET: usize = 65_536;
/// Longest body that a client accepts, of whatever type.
pub const MAX_FRAME: usize = 1 << 20;
/// Longest body of a login, either way.
pub const MAX_LOGIN: usize = 256 * 1024;
/// Longest body of a `ServerKey`: the 40 bytes that count, and what later versions may add.
pub const MAX_SERVER_KEY: usize = 1024;
/// Longest body of a `Ping`; the first 8 bytes come back.
pub const MAX_PING: usize = 1000;
/// How much of a `Health` text is kept, in bytes; the rest is skipped.
pub const MAX_HEALTH: usize = 4096;

/// Length of what a `Ping` carries and its `Pong` brings back.
pub const PING_LEN: usize = 8;

/// A frame whose body has been checked. Borrows what is long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// The relay's key. The magic was right.
    ServerKey(RelayPublic),
    /// A client's key and its sealed [`ClientInfo`](crate::ClientInfo).
    ClientInfo {
        /// Who logs in.
        key: NodePublic,
        /// The box between that key and the relay's.
        sealed: Sealed<'a>,
    },
    /// The sealed [`ServerInfo`](crate::ServerInfo).
    ServerInfo(Sealed<'a>),
    /// A packet to be carried.
    SendPacket {
        /// Whom it is for.
        to: NodePublic,
        /// Up to [`MAX_PACKET`] bytes; may be empty.
        packet: &'a [u8],
    },
    /// A packet that was carried.
    RecvPacket {
        /// Who logged in at the relay and sent it.
        from: NodePublic,
        /// Up to [`MAX_PACKET`] bytes; may be empty.
        packet: &'a [u8],
    },
    /// Nothing but a sign of life.
    KeepAlive,
    /// Whether the relay is the client's home.
    NotePreferred(bool),
    /// A peer is not there.
    PeerGone {
        /// Which.
        peer: NodePublic,
        /// Since when, as far as the relay knows.
        reason: GoneReason,
    },
    /// A client came, told to a relay of the mesh.
    PeerPresent(PeerPresent),
    /// A packet between relays of a mesh.
    ForwardPacket {
        /// Who sent it.
        from: NodePublic,
        /// Whom it is for.
        to: NodePublic,
        /// Up to [`MAX_PACKET`] bytes; may be empty.
        packet: &'a [u8],
    },
    /// A relay of the mesh wants to know who is there.
    WatchConns,
    /// A relay of the mesh wants this client's connections closed.
    ClosePeer(NodePublic),
    /// To be answered with the same bytes.
    Ping([u8; PING_LEN]),
    /// The answer to a `Ping`.
    Pong([u8; PING_LEN]),
    /// What is wrong, as text that should be UTF-8 and is cut at [`MAX_HEALTH`] bytes; empty: healthy again.
    Health(&'a [u8]),
    /// The relay is about to restart.
    Restarting {
        /// Wait so long before the next connection. Whole milliseconds.
        reconnect_in: Duration,
        /// Try for so long before this relay counts as gone. Whole milliseconds.
        try_for: Duration,
    },
}

/// A nonce and the NaCl box made with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed<'a> {
    /// The nonce.
    pub nonce: &'a [u8; NONCE_LEN],
    /// Tag and ciphertext.
    pub boxed: &'a [u8],
}

/// Why a peer is not there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GoneReason {
    /// It was there and left. Also what a frame without a reason means.
    Disconnected,
    /// It is not there; the relay does not say whether it ever was.
    NotHere,
    /// A reason that this version does not know.
    Other(u8),
}

/// A client as a relay describes it to the others of its mesh.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerPresent {
    /// Its key.
    pub peer: NodePublic,
    /// Its address and port, where the relay says them. IPv4 stands as an IPv4-mapped address.
    pub addr: Option<(Ipv6Addr, u16)>,
    /// Bits: 1 regular, 2 mesh peer, 4 prober, 8 not the ideal node; zero where the relay says nothing.
    pub flags: u8,
}

/// Why a frame is refused. The other end is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than its type may be.
    #[error("frame of type {kind:#04x} has {len} bytes, more than {max}")]
    TooLong {
        /// The type, known or not.
        kind: u8,
        /// The length that the header gives.
        len: usize,
        /// The longest that is accepted.
        max: usize,
    },
    /// Shorter than its type must be.
    #[error("{kind:?} frame has {len} bytes, fewer than {min}")]
    TooShort {
        /// The type.
        kind: Kind,
        /// The length that the header gives.
        len: usize,
        /// The shortest that makes sense.
        min: usize,
    },
    /// A `ServerKey` without [`MAGIC`]: no DERP relay.
    #[error("the server key does not start with the protocol's magic")]
    Magic,
}
