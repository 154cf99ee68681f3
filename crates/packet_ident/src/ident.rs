//! The rules by which a datagram is given its kind.

use core::fmt;
use core::ops::RangeFrom;

use crate::geneve::{self, Protocol, Refused};

/// The six bytes every disco message starts with.
pub const DISCO_MAGIC: [u8; 6] = *b"TS\xf0\x9f\x92\xac";

/// Magic and sender key: from here on a datagram counts as disco (as Tailscale's magicsock decides).
const DISCO_MIN: usize = 38;
/// Magic, sender key and nonce: from here on a relayed packet counts as disco (as Tailscale's relay servers
/// decide).
const DISCO_WRAPPER: usize = 62;
const STUN_HEADER: usize = 20;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Says what a datagram from a UDP socket is. Total: any bytes have an answer, and none costs more than a
/// look at the first 16.
///
/// The classes do not overlap, so the order in which they are tried cannot matter; README and [`Kind`] have
/// the rules.
#[inline]
#[must_use]
pub fn identify(datagram: &[u8]) -> Ident {
    match wireguard(datagram) {
        Ok(message) => Ident { kind: Kind::WireGuard(message), geneve: None },
        Err(reason) => identify_other(datagram, reason),
    }
}

/// Whether a packet that came through a relay is disco: the magic, and room for key and nonce (62 bytes in
/// all).
///
/// This is the rule by which relay servers give disco a queue of its own, and report an absent destination.
#[inline]
#[must_use]
pub fn is_disco(packet: &[u8]) -> bool {
    packet.len() >= DISCO_WRAPPER && packet.starts_with(&DISCO_MAGIC)
}

/// What a datagram is, and the Geneve header around it if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ident {
    /// What the datagram is, without the Geneve header.
    pub kind: Kind,
    /// The header in front of it. Also there when the header is right and what follows is not
    /// ([`Reason::GeneveBody`], [`Reason::GeneveControl`]).
    pub geneve: Option<geneve::Header>,
}

impl Ident {
    /// Where in the datagram the message stands: all of it, or what follows the Geneve header.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> RangeFrom<usize> {
        if self.geneve.is_some() { geneve::LEN.. } else { 0.. }
    }
}

/// The protocol of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A STUN binding request or success response (RFC 8489): at least 20 bytes, the two top bits clear, the
    /// second byte 1, the magic cookie. Never inside Geneve. The attributes are not looked at.
    Stun,
    /// A disco message: the magic, and at least 38 bytes.
    Disco,
    /// A WireGuard message (WireGuard paper, section 5.4): a type of 1 to 4, three zero bytes, and a length
    /// that such a message has.
    WireGuard(Message),
    /// None of these; the reason says how close it came.
    Unknown(Reason),
}

/// The four messages of WireGuard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Handshake initiation, exactly 148 bytes.
    Initiation,
    /// Handshake response, exactly 92 bytes.
    Response,
    /// Cookie reply, exactly 64 bytes.
    Cookie,
    /// Transport data, 32 bytes or more. Not always a multiple of 16: padding ends at the MTU.
    Data,
}

/// Why a datagram is of no known kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// Nothing about it is familiar.
    NoMatch,
    /// The STUN cookie is in its place, but it is no binding request or success response, for instance an
    /// error response.
    StunOther,
    /// The disco magic, but not even a whole sender key behind it.
    DiscoShort,
    /// A WireGuard message type whose three reserved bytes are not zero.
    WireGuardReserved,
    /// A WireGuard message type and zero bytes, but no such message has that length.
    WireGuardLength,
    /// A Geneve header of another version, or with a reserved bit.
    GeneveReserved,
    /// A Geneve header with options, or with the critical bit.
    GeneveOptions,
    /// A Geneve header that announces WireGuard and has the control bit, which only relay handshakes in disco
    /// have.
    GeneveControl,
    /// A Geneve header whose body is not of the protocol that it announces.
    GeneveBody,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMatch => "no known protocol starts like this",
            Self::StunOther => "STUN, but no binding request or success response",
            Self::DiscoShort => "disco magic, but shorter than the sender's key",
            Self::WireGuardReserved => "WireGuard message type, but the three reserved bytes are not zero",
            Self::WireGuardLength => "WireGuard message type, but no such message has this length",
            Self::GeneveReserved => "Geneve header of another version or with reserved bits",
            Self::GeneveOptions => "Geneve header with options",
            Self::GeneveControl => "Geneve control header in front of WireGuard",
            Self::GeneveBody => "Geneve header whose body is not what it announces",
        })
    }
}

/// Type and reserved bytes together are a little-endian number, as WireGuard itself reads them; the fourth
/// byte after the type is the first of an index, and free.
#[inline]
fn wireguard(message: &[u8]) -> Result<Message, Reason> {
    let Some(head) = message.first_chunk() else { return Err(Reason::NoMatch) };
    match (u32::from_le_bytes(*head), message.len()) {
        (4, 32..) => Ok(Message::Data),
        (1, 148) => Ok(Message::Initiation),
        (2, 92) => Ok(Message::Response),
        (3, 64) => Ok(Message::Cookie),
        (1..=4, _) => Err(Reason::WireGuardLength),
        (head, _) if matches!(head & 0xff, 1..=4) => Err(Reason::WireGuardReserved),
        _ => Err(Reason::NoMatch),
    }
}

/// What is not naked WireGuard, for `not_wireguard`.
fn identify_other(datagram: &[u8], not_wireguard: Reason) -> Ident {
    let naked = |kind| Ident { kind, geneve: None };
    if datagram.starts_with(&DISCO_MAGIC) {
        return naked(disco(datagram));
    }
    if let Some(kind) = stun(datagram) {
        return naked(kind);
    }
    match geneve::Header::parse(datagram) {
        Ok((header, body)) => Ident { kind: inside(header, body), geneve: Some(header) },
        Err(Refused::Reserved) => naked(Kind::Unknown(Reason::GeneveReserved)),
        Err(Refused::Options) => naked(Kind::Unknown(Reason::GeneveOptions)),
        Err(Refused::NotGeneve) => naked(Kind::Unknown(not_wireguard)),
    }
}

fn disco(message: &[u8]) -> Kind {
    if message.len() >= DISCO_MIN { Kind::Disco } else { Kind::Unknown(Reason::DiscoShort) }
}

fn stun(datagram: &[u8]) -> Option<Kind> {
    let &[class, method, _, _, ref cookie @ ..] = datagram.first_chunk::<8>()?;
    if *cookie != STUN_COOKIE || class & 0xc0 != 0 || datagram.len() < STUN_HEADER {
        return None;
    }
    // The same test as Tailscale's: it tells requests and success responses from errors, not one from the
    // other.
    Some(if method == 1 { Kind::Stun } else { Kind::Unknown(Reason::StunOther) })
}

/// The body must be what the header announces: nothing is guessed from the body against the header.
fn inside(header: geneve::Header, body: &[u8]) -> Kind {
    match (header.protocol(), header.control()) {
        (Protocol::Disco, _) if body.starts_with(&DISCO_MAGIC) && body.len() >= DISCO_MIN => Kind::Disco,
        (Protocol::WireGuard, true) => Kind::Unknown(Reason::GeneveControl),
        (Protocol::WireGuard, false) => {
            wireguard(body).map_or(Kind::Unknown(Reason::GeneveBody), Kind::WireGuard)
        }
        (Protocol::Disco, _) => Kind::Unknown(Reason::GeneveBody),
    }
}
