//! What the four messages of WireGuard look like on the wire, and which bytes are one.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// Length of a handshake initiation, exactly.
pub const INITIATION_LEN: usize = size_of::<Initiation>();
/// Length of a handshake response, exactly.
pub const RESPONSE_LEN: usize = size_of::<Response>();
/// Length of a cookie reply, exactly.
pub const COOKIE_REPLY_LEN: usize = size_of::<CookieReply>();
/// Length of the header of a transport message: type, receiver index, counter.
pub const TRANSPORT_HEADER_LEN: usize = size_of::<TransportHeader>();
/// Length of the tag at the end of a transport message.
pub const TAG_LEN: usize = 16;
/// Length of the shortest transport message: a keepalive.
pub const KEEPALIVE_LEN: usize = TRANSPORT_HEADER_LEN + TAG_LEN;
/// Length of each of the two MACs that end an initiation and a response.
pub const MAC_LEN: usize = 16;

/// The first four bytes of each message, read as a little-endian number: the type and three reserved zero bytes.
pub(crate) mod kind {
    pub(crate) const INITIATION: u32 = 1;
    pub(crate) const RESPONSE: u32 = 2;
    pub(crate) const COOKIE_REPLY: u32 = 3;
    pub(crate) const TRANSPORT: u32 = 4;
}

/// The first message of a handshake (WireGuard paper, section 5.4.2).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Initiation {
    pub(crate) kind: U32,
    /// The index under which the initiator wants to be answered.
    pub sender: U32,
    /// The Noise message: ephemeral key, static key and time stamp, the latter two encrypted.
    pub noise: [u8; 108],
    /// Proof that the sender knows the responder's public key.
    pub mac1: [u8; MAC_LEN],
    /// Proof that the sender receives at the address it sends from; zeros where no cookie is known.
    pub mac2: [u8; MAC_LEN],
}

/// The second message of a handshake (WireGuard paper, section 5.4.3).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Response {
    pub(crate) kind: U32,
    /// The index under which the responder wants to receive.
    pub sender: U32,
    /// The sender index of the initiation that this answers.
    pub receiver: U32,
    /// The Noise message: ephemeral key and an encrypted nothing.
    pub noise: [u8; 48],
    /// As in [`Initiation::mac1`].
    pub mac1: [u8; MAC_LEN],
    /// As in [`Initiation::mac2`].
    pub mac2: [u8; MAC_LEN],
}

/// What a busy peer answers instead (WireGuard paper, section 5.4.7).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct CookieReply {
    pub(crate) kind: U32,
    /// The sender index of the message that this answers.
    pub receiver: U32,
    /// A random XChaCha20-Poly1305 nonce.
    pub nonce: [u8; 24],
    /// The encrypted cookie and its tag.
    pub cookie: [u8; 32],
}

/// The start of a transport message (WireGuard paper, section 5.4.6).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct TransportHeader {
    pub(crate) kind: U32,
    /// The index of the receiver's session.
    pub receiver: U32,
    /// The number of this packet in its session, which is also the nonce.
    pub counter: U64,
}

/// A datagram that has the form of a WireGuard message. Nothing in it is proven yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Type 1, 148 bytes.
    Initiation(&'a Initiation),
    /// Type 2, 92 bytes.
    Response(&'a Response),
    /// Type 3, 64 bytes.
    CookieReply(&'a CookieReply),
    /// Type 4, 32 bytes or more.
    Transport {
        /// Type, receiver index and counter.
        header: &'a TransportHeader,
        /// The encrypted packet and its tag: at least 16 bytes. Their number says nothing modulo 16, because padding ends
        /// at the MTU.
        sealed: &'a [u8],
    },
}

/// The bytes have not the form of any message. The sender is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// Fewer than four bytes, or these four are no type with three zero bytes behind it.
    #[error("no WireGuard message type with three zero bytes behind it")]
    Kind,
    /// Right type, wrong length.
    #[error("a WireGuard message of type {kind} is not {len} bytes long")]
    Length {
        /// The type, 1 to 4.
        kind: u8,
        /// How many bytes there are.
        len: usize,
    },
}

impl<'a> Message<'a> {
    /// Tells which message `datagram` is, by its first four bytes and its length.
    ///
    /// # Errors
    /// [`MessageError`] where it is none.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, MessageError> {
        let first = *datagram.first_chunk().ok_or(MessageError::Kind)?;
        let length = |kind| MessageError::Length { kind, len: datagram.len() };
        match u32::from_le_bytes(first) {
            kind::INITIATION => exact(datagram).map(Self::Initiation).ok_or(length(1)),
            kind::RESPONSE => exact(datagram).map(Self::Response).ok_or(length(2)),
            kind::COOKIE_REPLY => exact(datagram).map(Self::CookieReply).ok_or(length(3)),
            kind::TRANSPORT if datagram.len() >= KEEPALIVE_LEN => {
                let (header, sealed) = TransportHeader::ref_from_prefix(datagram).map_err(|_| length(4))?;
                Ok(Self::Transport { header, sealed })
            }
            kind::TRANSPORT => Err(length(4)),
            _ => Err(MessageError::Kind),
        }
    }
}

fn exact<T: FromBytes + KnownLayout + Immutable + Unaligned>(datagram: &[u8]) -> Option<&T> {
    T::ref_from_bytes(datagram).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(kind: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[0] = kind;
        bytes
    }

    #[test]
    fn lengths_are_exact_and_a_transport_message_has_at_least_32_bytes() {
        assert_eq!((INITIATION_LEN, RESPONSE_LEN, COOKIE_REPLY_LEN, KEEPALIVE_LEN), (148, 92, 64, 32));
        for (kind, len) in [(1, 148), (2, 92), (3, 64)] {
            assert!(Message::parse(&of(kind, len)).is_ok());
            for wrong in [len - 1, len + 1, 4] {
                assert_eq!(Message::parse(&of(kind, wrong)), Err(MessageError::Length { kind, len: wrong }));
            }
        }
        assert_eq!(Message::parse(&of(4, 31)), Err(MessageError::Length { kind: 4, len: 31 }));
        for len in [32, 33, 1452] {
            assert!(
                matches!(Message::parse(&of(4, len)), Ok(Message::Transport { sealed, .. }) if sealed.len() == len - 16)
            );
        }
    }

    #[test]
    fn three_bytes_are_reserved_and_the_fourth_belongs_to_the_index() {
        for reserved in 1..4 {
            let mut bytes = of(4, 32);
            bytes[reserved] = 1;
            assert_eq!(Message::parse(&bytes), Err(MessageError::Kind));
        }
        for low in 0..=255u8 {
            let mut bytes = of(4, 32);
            bytes[4] = low;
            assert!(
                matches!(Message::parse(&bytes), Ok(Message::Transport { header, .. }) if header.receiver.get() == u32::from(low))
            );
        }
    }

    #[test]
    fn types_outside_one_to_four_are_none() {
        for kind in (0..=255).filter(|kind| !(1..=4).contains(kind)) {
            assert_eq!(Message::parse(&of(kind, 148)), Err(MessageError::Kind));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }
    }
}
