//! How a disco message travels: magic, sender, nonce, and the box that only the receiver opens.

use alloc::vec::Vec;

use tidewire_keys::{BoxError, DiscoPublic, NONCE_LEN, SharedBox, TAG_LEN};
use zerocopy::{FromBytes, IntoBytes};

use crate::message::{Message, ParseError};
use crate::wire;

/// The six bytes every disco datagram starts with.
pub const MAGIC: [u8; 6] = *b"TS\xf0\x9f\x92\xac";
/// Where the sender's key ends: 38 bytes, from which on Tailscale takes a datagram for disco.
pub const SENDER_END: usize = MAGIC.len() + DiscoPublic::LEN;
/// Where the box begins: 62 bytes, from which on relay servers take a packet for disco.
pub const HEADER_LEN: usize = SENDER_END + NONCE_LEN;
/// The shortest datagram that can hold a message: 80 bytes, with the tag, a type and a version.
pub const MIN_LEN: usize = HEADER_LEN + TAG_LEN + size_of::<wire::Head>();

const _: () = assert!(SENDER_END == 38 && HEADER_LEN == size_of::<wire::Header>() && MIN_LEN == 80);

/// A disco datagram whose box is still closed. Reading it takes no cryptography, so strangers can be dropped
/// by [`sender`](Self::sender) first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// Who says to have sent it; true only once the box has opened.
    pub sender: DiscoPublic,
    /// The nonce of the box.
    pub nonce: [u8; NONCE_LEN],
    /// The box: a tag of 16 bytes and at least 2 more. In the datagram it stands from [`HEADER_LEN`] to the
    /// end.
    pub boxed: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads the outside of a datagram (without the Geneve header, if there was one).
    ///
    /// # Errors
    /// [`EnvelopeError`] if it is no disco datagram, or too short for any message.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, EnvelopeError> {
        if !datagram.starts_with(&MAGIC) {
            return Err(EnvelopeError::NotDisco);
        }
        match wire::Header::ref_from_prefix(datagram) {
            Ok((header, boxed)) if datagram.len() >= MIN_LEN => {
                Ok(Self { sender: header.sender.into(), nonce: header.nonce, boxed })
            }
            _ => Err(EnvelopeError::Short { found: datagram.len() }),
        }
    }

    /// Opens the box and reads the message. `shared` belongs to [`sender`](Self::sender) and the receiver's
    /// own key.
    ///
    /// # Errors
    /// [`OpenError`]: the sender is to blame, or an old key is still in flight. Answer nothing.
    pub fn open(&self, shared: &SharedBox) -> Result<Message, OpenError> {
        Ok(Message::parse(&shared.open(&self.nonce, self.boxed)?)?)
    }
}

/// Puts a message into an envelope: the datagram as it goes out (behind the Geneve header, if there is one).
///
/// `shared` belongs to the secret key of `sender` and the receiver's public key; `nonce` must be used once, as
/// 24 random bytes are.
#[must_use]
pub fn seal(message: &Message, sender: &DiscoPublic, shared: &SharedBox, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    let mut plain = Vec::new();
    message.encode(&mut plain);
    let mut datagram = Vec::with_capacity(HEADER_LEN + TAG_LEN + plain.len());
    let header = wire::Header { magic: MAGIC, sender: sender.to_bytes(), nonce };
    datagram.extend_from_slice(header.as_bytes());
    shared.seal_into(&nonce, &plain, &mut datagram);
    datagram
}

/// Why a datagram is no disco envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// It does not start with the magic: something else altogether.
    #[error("no disco magic")]
    NotDisco,
    /// It starts with the magic and ends before the shortest message would.
    #[error("a disco datagram of {found} bytes, expected at least 80")]
    Short {
        /// Its length in bytes.
        found: usize,
    },
}

/// Why an envelope did not yield a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The box did not open.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// The box opened, but its content is no message.
    #[error(transparent)]
    Message(#[from] ParseError),
}
