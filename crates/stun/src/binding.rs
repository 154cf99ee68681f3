//! What a binding request and its response look like (RFC 8489), and which of them are taken for one.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::attribute::{
    Attribute, Attributes, FINGERPRINT, MAPPED_ADDRESS, Malformed, SOFTWARE, XOR_MAPPED_ADDRESS,
    XOR_MAPPED_ADDRESS_ALT, address, xor_address,
};
use crate::fingerprint::fingerprint;

/// Length of a request in bytes.
pub const REQUEST_LEN: usize = 40;
/// Length of the longest response in bytes, with an IPv6 address; with an IPv4 address it is 32.
pub const RESPONSE_LEN: usize = 44;

const HEADER_LEN: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Tailscale's relays answer nobody else.
const OUR_SOFTWARE: [u8; 8] = *b"tailnode";
const FINGERPRINT_LEN: usize = 8;

/// The number by which a response is matched to its request: 12 random bytes. They are all that proves a
/// response, so they must not be guessable, and the source of the response should be checked as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub [u8; 12]);

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A binding request as Tailscale's relays want it: SOFTWARE `tailnode`, then FINGERPRINT. Send it from the
/// very socket whose public address is wanted.
#[must_use]
pub fn request(tx: &TxId) -> [u8; REQUEST_LEN] {
    let mut out = [0; REQUEST_LEN];
    let mut write = Writer { out: &mut out, len: 0 };
    write.header(BINDING_REQUEST, REQUEST_LEN - HEADER_LEN, tx);
    write.attribute(SOFTWARE, OUR_SOFTWARE.len());
    write.bytes(&OUR_SOFTWARE);
    let print = fingerprint(&write.out[..write.len]);
    write.attribute(FINGERPRINT, 4);
    write.bytes(&print.to_be_bytes());
    out
}

/// Reads a success response: the transaction, and the address that the server saw the request come from.
///
/// The XOR-mapped address counts (type 0x0020, or 0x8020 as some servers write it), else the plain one; of
/// several the first. Bytes behind the announced length are ignored, as is a fingerprint. An IPv4 address
/// mapped into IPv6 is unmapped: a relay with one socket for both families answers so.
///
/// # Errors
/// [`ResponseError`]: the server is to blame.
pub fn parse_response(datagram: &[u8]) -> Result<(TxId, SocketAddr), ResponseError> {
    let (kind, len, tx, rest) = split_header(datagram).ok_or(ResponseError::NotStun)?;
    if kind != BINDING_SUCCESS {
        return Err(ResponseError::NotSuccess { kind: u16::from_be_bytes(kind) });
    }
    let attributes = rest.get(..len).ok_or(ResponseError::Malformed)?;
    let mut mapped = None;
    let mut fallback = None;
    for attribute in Attributes::new(attributes) {
        let Attribute { kind, value } = attribute?;
        match kind {
            XOR_MAPPED_ADDRESS | XOR_MAPPED_ADDRESS_ALT => {
                mapped = mapped.or(Some(xor_address(value, &mask(&tx))?));
            }
            MAPPED_ADDRESS => fallback = fallback.or(Some(address(value)?)),
            _ => {}
        }
    }
    mapped.or(fallback).map(|addr| (tx, addr)).ok_or(ResponseError::NoAddress)
}

/// Reads a binding request as a relay does: only from the field's own software (`tailnode`), and only if the
/// last attribute is a fingerprint that fits, at the very end of the datagram.
///
/// The length in the header is not looked at, and other attributes may be there, as with Tailscale's relays;
/// one byte more or less refuses it.
///
/// # Errors
/// [`RequestError`]: the sender is to blame. Answer nothing.
pub fn parse_request(datagram: &[u8]) -> Result<TxId, RequestError> {
    let (kind, _, tx, attributes) = split_header(datagram).ok_or(RequestError::NotStun)?;
    if kind != BINDING_REQUEST {
        return Err(RequestError::NotRequest { kind: u16::from_be_bytes(kind) });
    }
    let mut ours = false;
    let mut last = None;
    for attribute in Attributes::new(attributes) {
        let attribute = attribute?;
        ours |= attribute.kind == SOFTWARE && attribute.value == OUR_SOFTWARE;
        last = Some(attribute);
    }
    if !ours {
        return Err(RequestError::Software);
    }
    let Some(Attribute { kind: FINGERPRINT, value: &[a, b, c, d] }) = last else {
        return Err(RequestError::NoFingerprint);
    };
    match datagram.split_last_chunk::<FINGERPRINT_LEN>() {
        Some((before, _)) if fingerprint(before) == u32::from_be_bytes([a, b, c, d]) => Ok(tx),
        _ => Err(RequestError::Fingerprint),
    }
}

/// Writes the response to a request that came from `addr` to the start of `out`, and returns its length: 32
/// or 44 bytes.
///
/// An IPv4 address mapped into IPv6, as a socket for both families reports it, is written as IPv4.
#[must_use]
pub fn response(tx: &TxId, addr: SocketAddr, out: &mut [u8; RESPONSE_LEN]) -> usize {
    let mut write = Writer { out, len: 0 };
    let port = addr.port() ^ 0x2112;
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => write.mapped(tx, 1, port, &ip.octets()),
        IpAddr::V6(ip) => write.mapped(tx, 2, port, &ip.octets()),
    }
    write.len
}

/// Why a datagram is no answer to a binding request. The server is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResponseError {
    /// Shorter than a header, the two top bits set, or another cookie.
    #[error("no STUN message")]
    NotStun,
    /// Another class or method: a request, an indication, an error response.
    #[error("STUN message of type {kind:#06x}, expected a binding success response")]
    NotSuccess {
        /// The message type.
        kind: u16,
    },
    /// The announced length, or that of an attribute, goes beyond the datagram, or an address is not of a
    /// known family.
    #[error("malformed STUN attributes")]
    Malformed,
    /// A response without an address.
    #[error("no mapped address in the STUN response")]
    NoAddress,
}

impl From<Malformed> for ResponseError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Why a datagram is no request that a relay answers. The sender is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Shorter than a header, the two top bits set, or another cookie.
    #[error("no STUN message")]
    NotStun,
    /// Another class or method.
    #[error("STUN message of type {kind:#06x}, expected a binding request")]
    NotRequest {
        /// The message type.
        kind: u16,
    },
    /// An attribute goes beyond the datagram, or bytes are left over that make none.
    #[error("malformed STUN attributes")]
    Malformed,
    /// Sent by other software, or it does not say.
    #[error("STUN request of other software")]
    Software,
    /// The last attribute is no fingerprint.
    #[error("STUN request that does not end in a fingerprint")]
    NoFingerprint,
    /// The fingerprint does not fit.
    #[error("STUN request with a wrong fingerprint")]
    Fingerprint,
}

impl From<Malformed> for RequestError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Message type, announced length of the attributes, transaction, and what follows the header.
fn split_header(datagram: &[u8]) -> Option<([u8; 2], usize, TxId, &[u8])> {
    let (&[class, method, high, low, ref rest @ ..], attributes) =
        datagram.split_first_chunk::<HEADER_LEN>()?;
    let (cookie, tx) = rest.split_first_chunk::<4>()?;
    if class & 0xc0 != 0 || *cookie != COOKIE {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    Some(([class, method], len, TxId(*tx.first_chunk()?), attributes))
}

/// What addresses are XORed with: the cookie, then the transaction (RFC 8489 section 14.2).
fn mask(tx: &TxId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(&tx.0);
    mask
}

/// Writes at the end of what is written. Every message made here is of a known size, for which its buffer is
/// long enough.
struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn header(&mut self, kind: [u8; 2], attributes: usize, tx: &TxId) {
        self.bytes(&kind);
        self.bytes(&(attributes as u16).to_be_bytes());
        self.bytes(&mask(tx));
    }

    fn attribute(&mut self, kind: u16, len: usize) {
        self.bytes(&kind.to_be_bytes());
        self.bytes(&(len as u16).to_be_bytes());
    }

    fn mapped(&mut self, tx: &TxId, family: u8, port: u16, ip: &[u8]) {
        self.header(BINDING_SUCCESS, 8 + ip.len(), tx);
        self.attribute(XOR_MAPPED_ADDRESS, 4 + ip.len());
        self.bytes(&[0, family]);
        self.bytes(&port.to_be_bytes());
        for (byte, mask) in ip.iter().zip(mask(tx)) {
            self.bytes(&[byte ^ mask]);
        }
    }
}
