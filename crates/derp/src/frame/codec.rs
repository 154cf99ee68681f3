//! How each frame stands in bytes: bodies read, and frames written.

use std::{net::Ipv6Addr, time::Duration};

use bytes::BufMut;
use tidewire_keys::{NONCE_LEN, NodePublic, RelayPublic, TAG_LEN};

use super::{
    Frame, FrameError, GoneReason, HEADER_LEN, KEY_LEN, Kind, MAGIC, MAX_FRAME, MAX_HEALTH, PeerPresent,
    Sealed,
};

impl<'a> Frame<'a> {
    /// The type of this frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ServerKey(_) => Kind::ServerKey,
            Self::ClientInfo { .. } => Kind::ClientInfo,
            Self::ServerInfo(_) => Kind::ServerInfo,
            Self::SendPacket { .. } => Kind::SendPacket,
            Self::RecvPacket { .. } => Kind::RecvPacket,
            Self::KeepAlive => Kind::KeepAlive,
            Self::NotePreferred(_) => Kind::NotePreferred,
            Self::PeerGone { .. } => Kind::PeerGone,
            Self::PeerPresent(_) => Kind::PeerPresent,
            Self::ForwardPacket { .. } => Kind::ForwardPacket,
            Self::WatchConns => Kind::WatchConns,
            Self::ClosePeer(_) => Kind::ClosePeer,
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
            Self::Health(_) => Kind::Health,
            Self::Restarting { .. } => Kind::Restarting,
        }
    }

    /// Reads the body of a frame of type `kind`. Bytes behind those that mean something are ignored where the type may
    /// grow. A [`Decoder`](crate::Decoder) finds the bodies in a stream.
    ///
    /// # Errors
    /// [`FrameError`] if the length or the magic is wrong.
    pub fn parse(kind: Kind, body: &'a [u8]) -> Result<Self, FrameError> {
        if let Some(max) = kind.max_len().filter(|&max| body.len() > max) {
            return Err(FrameError::TooLong { kind: kind as u8, len: body.len(), max });
        }
        let short = FrameError::TooShort { kind, len: body.len(), min: kind.min_len() };
        Self::read(kind, body).ok_or(short)?
    }

    /// `None`: too short.
    fn read(kind: Kind, body: &'a [u8]) -> Option<Result<Self, FrameError>> {
        let key = |body: &'a [u8]| {
            let (key, rest) = body.split_first_chunk::<KEY_LEN>()?;
            Some((NodePublic::from_bytes(*key), rest))
        };
        Some(Ok(match kind {
            Kind::ServerKey => {
                let (magic, rest) = body.split_first_chunk::<8>()?;
                let relay = RelayPublic::from_bytes(*rest.first_chunk()?);
                return Some(if *magic == MAGIC {
                    Ok(Self::ServerKey(relay))
                } else {
                    Err(FrameError::Magic)
                });
            }
            Kind::ClientInfo => {
                let (key, rest) = key(body)?;
                Self::ClientInfo { key, sealed: Sealed::read(rest)? }
            }
            Kind::ServerInfo => Self::ServerInfo(Sealed::read(body)?),
            Kind::SendPacket => key(body).map(|(to, packet)| Self::SendPacket { to, packet })?,
            Kind::RecvPacket => key(body).map(|(from, packet)| Self::RecvPacket { from, packet })?,
            Kind::KeepAlive => Self::KeepAlive,
            Kind::NotePreferred => Self::NotePreferred(*body.first()? != 0),
            Kind::PeerGone => key(body)
                .map(|(peer, rest)| Self::PeerGone { peer, reason: GoneReason::from_byte(rest.first()) })?,
            Kind::PeerPresent => {
                key(body).map(|(peer, rest)| Self::PeerPresent(PeerPresent::read(peer, rest)))?
            }
            Kind::ForwardPacket => {
                let (from, rest) = key(body)?;
                key(rest).map(|(to, packet)| Self::ForwardPacket { from, to, packet })?
            }
            Kind::WatchConns => Self::WatchConns,
            Kind::ClosePeer => key(body).map(|(peer, _)| Self::ClosePeer(peer))?,
            Kind::Ping => Self::Ping(*body.first_chunk()?),
            Kind::Pong => Self::Pong(*body.first_chunk()?),
            Kind::Health => Self::Health(body.get(..MAX_HEALTH).unwrap_or(body)),
            Kind::Restarting => {
                let (wait, rest) = body.split_first_chunk::<4>()?;
                let millis = |bytes| Duration::from_millis(u64::from(u32::from_be_bytes(bytes)));
                Self::Restarting { reconnect_in: millis(*wait), try_for: millis(*rest.first_chunk()?) }
            }
        }))
    }

    /// Length of the body in bytes.
    #[must_use]
    pub const fn body_len(&self) -> usize {
        match self {
            Self::ServerKey(_) => MAGIC.len() + KEY_LEN,
            Self::ClientInfo { sealed, .. } => KEY_LEN + NONCE_LEN + sealed.boxed.len(),
            Self::ServerInfo(sealed) => NONCE_LEN + sealed.boxed.len(),
            Self::SendPacket { packet, .. } | Self::RecvPacket { packet, .. } => KEY_LEN + packet.len(),
            Self::KeepAlive | Self::WatchConns => 0,
            Self::NotePreferred(_) => 1,
            Self::PeerGone { .. } => KEY_LEN + 1,
            Self::PeerPresent(PeerPresent { addr: None, .. }) | Self::ClosePeer(_) => KEY_LEN,
            Self::PeerPresent(PeerPresent { addr: Some(_), flags, .. }) => {
                KEY_LEN + 18 + (*flags != 0) as usize
            }
            Self::ForwardPacket { packet, .. } => 2 * KEY_LEN + packet.len(),
            Self::Ping(_) | Self::Pong(_) | Self::Restarting { .. } => 8,
            Self::Health(text) => text.len(),
        }
    }

    /// Appends the frame, header and body, to `out` (a `Vec<u8>` or a `BytesMut`).
    ///
    /// # Errors
    /// [`FrameError`] if the other end would refuse it for its length; `out` is as before. Frames of fixed length never fail.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), FrameError> {
        let (kind, len) = (self.kind(), self.body_len());
        let max = kind.max_len().unwrap_or(MAX_FRAME);
        if len > max {
            return Err(FrameError::TooLong { kind: kind as u8, len, max });
        }
        if len < kind.min_len() {
            return Err(FrameError::TooShort { kind, len, min: kind.min_len() });
        }
        out.put_slice(&header(kind, len));
        self.encode_body(out);
        Ok(())
    }

    fn encode_body(&self, out: &mut impl BufMut) {
        match self {
            Self::ServerKey(key) => {
                out.put_slice(&MAGIC);
                out.put_slice(key.as_bytes());
            }
            Self::ClientInfo { key, sealed } => {
                out.put_slice(key.as_bytes());
                sealed.encode(out);
            }
            Self::ServerInfo(sealed) => sealed.encode(out),
            Self::SendPacket { to: key, packet } | Self::RecvPacket { from: key, packet } => {
                out.put_slice(key.as_bytes());
                out.put_slice(packet);
            }
            Self::KeepAlive | Self::WatchConns => {}
            Self::NotePreferred(preferred) => out.put_u8(u8::from(*preferred)),
            Self::PeerGone { peer, reason } => {
                out.put_slice(peer.as_bytes());
                out.put_u8(reason.to_byte());
            }
            Self::PeerPresent(present) => present.encode(out),
            Self::ForwardPacket { from, to, packet } => {
                out.put_slice(from.as_bytes());
                out.put_slice(to.as_bytes());
                out.put_slice(packet);
            }
            Self::ClosePeer(peer) => out.put_slice(peer.as_bytes()),
            Self::Ping(data) | Self::Pong(data) => out.put_slice(data),
            Self::Health(text) => out.put_slice(text),
            Self::Restarting { reconnect_in, try_for } => {
                for span in [reconnect_in, try_for] {
                    out.put_u32(u32::try_from(span.as_millis()).unwrap_or(u32::MAX));
                }
            }
        }
    }
}

/// The five bytes in front of a body of `len` bytes.
#[inline]
#[must_use]
pub const fn header(kind: Kind, len: usize) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = (len as u32).to_be_bytes();
    [kind as u8, a, b, c, d]
}

impl<'a> Sealed<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let (nonce, boxed) = body.split_first_chunk()?;
        (boxed.len() >= TAG_LEN).then_some(Self { nonce, boxed })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(self.nonce);
        out.put_slice(self.boxed);
    }
}

impl GoneReason {
    fn from_byte(byte: Option<&u8>) -> Self {
        match byte {
            None | Some(0) => Self::Disconnected,
            Some(1) => Self::NotHere,
            Some(&other) => Self::Other(other),
        }
    }

    const fn to_byte(self) -> u8 {
        match self {
            Self::Disconnected => 0,
            Self::NotHere => 1,
            Self::Other(byte) => byte,
        }
    }
}

impl PeerPresent {
    fn read(peer: NodePublic, rest: &[u8]) -> Self {
        let addr = rest.split_first_chunk::<16>().and_then(|(ip, rest)| {
            let port = u16::from_be_bytes(*rest.first_chunk()?);
            Some((Ipv6Addr::from(*ip), port))
        });
        Self { peer, addr, flags: rest.get(18).copied().unwrap_or(0) }
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(self.peer.as_bytes());
        if let Some((ip, port)) = self.addr {
            out.put_slice(&ip.octets());
            out.put_u16(port);
            if self.flags != 0 {
                out.put_u8(self.flags);
            }
        }
    }
}
