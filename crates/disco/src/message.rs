//! What disco messages say, and how loosely they are read.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use tidewire_keys::{Drbg, NodePublic};
use zerocopy::{FromBytes, IntoBytes};

use crate::message_type::MessageType;
use crate::relay::{AllocateRequest, AllocateResponse, Allocation, Bind};
use crate::wire;

/// A disco message, as it stands inside the box: type, version, payload.
///
/// Anything that [`parse`](Self::parse) returns is read back the same from what [`encode`](Self::encode)
/// writes for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Asks whether a path works.
    Ping(Ping),
    /// Answers a ping.
    Pong(Pong),
    /// Asks the receiver to ping these addresses at once; sent through DERP. Empty when the message was
    /// malformed or of another version, which the field takes for a valid one that says nothing.
    ///
    /// At most as many addresses as the datagram had room for: 18 bytes each.
    CallMeMaybe(Vec<SocketAddr>),
    /// Asks a peer relay to bind the sender's address (the first of three). Its challenge is zero.
    Bind(Bind),
    /// A peer relay's answer to a bind.
    Challenge(Bind),
    /// Gives the challenge back.
    Answer(Bind),
    /// Tells the receiver of an allocation at a peer relay through which it can be reached; sent through
    /// DERP.
    CallMeMaybeVia(Allocation),
    /// Asks a peer relay for an allocation; sent through DERP.
    AllocateRequest(AllocateRequest),
    /// A peer relay's answer to a request for an allocation; sent through DERP.
    AllocateResponse(AllocateResponse),
}

/// Asks whether a path works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping {
    /// What the pong will repeat.
    pub tx: TxId,
    /// Who says to be asking: a hint, to be believed only if that node has the disco key of the envelope. Old
    /// versions send none; all zeros mean none.
    pub node: Option<NodePublic>,
    /// Zero bytes behind, for probing the MTU of a path.
    pub padding: u16,
}

/// Answers a ping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pong {
    /// The ping's.
    pub tx: TxId,
    /// Where the ping came from, as the answering side saw it.
    pub src: SocketAddr,
}

impl Message {
    /// Reads the content of an opened box.
    ///
    /// Lax as Tailscale is: the version is ignored for pings, pongs and the bind messages, and so are bytes
    /// after the known fields, except behind the address lists. Other versions of
    /// [`CallMeMaybeVia`](Self::CallMeMaybeVia) and the allocation messages are refused, where Tailscale goes
    /// on with an empty message.
    ///
    /// # Errors
    /// [`ParseError`]: the sender is to blame.
    pub fn parse(plain: &[u8]) -> Result<Self, ParseError> {
        let Ok((head, payload)) = wire::Head::ref_from_prefix(plain) else { return Err(ParseError::NoType) };
        let kind = MessageType::from_byte(head.kind).ok_or(ParseError::UnknownType(head.kind))?;
        match kind {
            MessageType::Ping => Ping::parse(payload).map(Self::Ping),
            MessageType::Pong => Pong::parse(payload).map(Self::Pong),
            MessageType::CallMeMaybe => Ok(Self::CallMeMaybe(called(head.version, payload))),
            MessageType::Bind => Bind::parse(kind, payload).map(Self::Bind),
            MessageType::Challenge => Bind::parse(kind, payload).map(Self::Challenge),
            MessageType::Answer => Bind::parse(kind, payload).map(Self::Answer),
            _ if head.version != 0 => Err(ParseError::Version { kind, version: head.version }),
            MessageType::CallMeMaybeVia => Allocation::parse(kind, payload).map(Self::CallMeMaybeVia),
            MessageType::AllocateRequest => AllocateRequest::parse(payload).map(Self::AllocateRequest),
            MessageType::AllocateResponse => AllocateResponse::parse(payload).map(Self::AllocateResponse),
        }
    }

    /// Appends the message to `out`, version 0. Its size is up to the caller: 18 bytes for each address.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(wire::Head { kind: self.kind() as u8, version: 0 }.as_bytes());
        match self {
            Self::Ping(ping) => ping.encode(out),
            Self::Pong(pong) => pong.encode(out),
            Self::CallMeMaybe(addrs) => wire::encode_addrs(addrs, out),
            Self::Bind(bind) | Self::Challenge(bind) | Self::Answer(bind) => bind.encode(out),
            Self::CallMeMaybeVia(allocation) => allocation.encode(out),
            Self::AllocateRequest(request) => request.encode(out),
            Self::AllocateResponse(response) => response.encode(out),
        }
    }

    /// The type byte.
    #[must_use]
    pub const fn kind(&self) -> MessageType {
        match self {
            Self::Ping(_) => MessageType::Ping,
            Self::Pong(_) => MessageType::Pong,
            Self::CallMeMaybe(_) => MessageType::CallMeMaybe,
            Self::Bind(_) => MessageType::Bind,
            Self::Challenge(_) => MessageType::Challenge,
            Self::Answer(_) => MessageType::Answer,
            Self::CallMeMaybeVia(_) => MessageType::CallMeMaybeVia,
            Self::AllocateRequest(_) => MessageType::AllocateRequest,
            Self::AllocateResponse(_) => MessageType::AllocateResponse,
        }
    }
}

/// The number by which a ping and its pong are matched: 12 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub [u8; 12]);

impl TxId {
    /// A new one, that nobody can guess.
    #[must_use]
    pub fn generate(drbg: &mut Drbg) -> Self {
        Self(drbg.array())
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why the content of a box is no message. The sender is to blame, or newer than we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// Not even a type and a version.
    #[error("no message type and version")]
    NoType,
    /// A type that is not known.
    #[error("unknown message type {0:#04x}")]
    UnknownType(u8),
    /// A version that is not known, of a message where that matters.
    #[error("{kind:?} of version {version}, expected 0")]
    Version {
        /// The message.
        kind: MessageType,
        /// Its version.
        version: u8,
    },
    /// The fixed fields are not all there.
    #[error("{kind:?} of {found} bytes is too short")]
    Short {
        /// The message.
        kind: MessageType,
        /// The length of its payload in bytes.
        found: usize,
    },
    /// What should be addresses is nothing, or no multiple of 18 bytes.
    #[error("{kind:?} with {found} bytes of addresses, expected 18 for each and at least one")]
    Addresses {
        /// The message.
        kind: MessageType,
        /// The length of the list in bytes.
        found: usize,
    },
}

impl Ping {
    fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let short = ParseError::Short { kind: MessageType::Ping, found: payload.len() };
        let (tx, rest) = payload.split_first_chunk().ok_or(short)?;
        let node = rest.first_chunk().map(|key| NodePublic::from_bytes(*key)).filter(|key| !key.is_zero());
        let padding = rest.len() - node.map_or(0, |_| NodePublic::LEN);
        Ok(Self { tx: TxId(*tx), node, padding: u16::try_from(padding).unwrap_or(u16::MAX) })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tx.0);
        if let Some(node) = self.node {
            out.extend_from_slice(node.as_bytes());
        }
        out.resize(out.len() + usize::from(self.padding), 0);
    }
}

impl Pong {
    fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let short = ParseError::Short { kind: MessageType::Pong, found: payload.len() };
        let (pong, _) = wire::Pong::ref_from_prefix(payload).map_err(|_| short)?;
        Ok(Self { tx: TxId(pong.tx), src: (&pong.src).into() })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(wire::Pong { tx: self.tx.0, src: self.src.into() }.as_bytes());
    }
}

/// The addresses of a CallMeMaybe; none if it is of another version or malformed, which is no error.
fn called(version: u8, payload: &[u8]) -> Vec<SocketAddr> {
    if version == 0 { wire::parse_addrs(payload).unwrap_or_default() } else { Vec::new() }
}
