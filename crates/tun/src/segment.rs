//! How a packet from the device becomes packets for the network: super-packets cut, checksums completed.

use std::ops::Range;

use tidewire_packet::{Batch, HEADROOM, Plain, TAILROOM, padded_len};

use crate::{
    checksum::Sum,
    vnet::{self, Checksum, Header, Kind},
};

/// Longest headers of a super-packet: IPv4 and TCP with all options, or IPv6 with 28 bytes of extension headers.
pub const MAX_HEADERS: usize = 128;

/// Why a packet from the device makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The header before the packet is incomplete or names an unknown kind.
    #[error("the device's header is incomplete or unknown")]
    Vnet,
    /// The IP or transport header contradicts the device's header, or is incomplete.
    #[error("the packet's headers contradict the device's")]
    Headers,
    /// The checksum to be completed lies outside of the packet.
    #[error("the checksum lies outside of the packet")]
    Checksum,
    /// A super-packet without payload, or of segments without bytes, or of segments longer than a packet can be.
    #[error("a super-packet of impossible segments")]
    Segments,
}

impl From<vnet::UnknownKind> for Malformed {
    fn from(_: vnet::UnknownKind) -> Self {
        Self::Vnet
    }
}

/// Whether a super-packet was cut to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// No segment is left.
    All,
    /// The batch is full; the rest belongs into the next one.
    Full,
}

/// A super-packet that is being cut: its headers, and which segment is next. The payload stays with the caller.
#[derive(Clone, Debug)]
pub struct SuperPacket {
    headers: [u8; MAX_HEADERS],
    header_len: usize,
    transport: usize,
    kind: Kind,
    v6: bool,
    size: usize,
    len: usize,
    next: usize,
}

/// Completes the checksum of a packet that is no super-packet, where the device says that it is not complete.
///
/// # Errors
/// [`Malformed::Checksum`].
pub fn complete(header: &Header, packet: &mut [u8]) -> Result<(), Malformed> {
    let Some(Checksum { start, offset }) = header.checksum else { return Ok(()) };
    let summed = packet.get_mut(usize::from(start)..).ok_or(Malformed::Checksum)?;
    let sum = Sum::default().bytes(summed);
    let field =
        summed.get_mut(usize::from(offset)..).and_then(<[u8]>::first_chunk_mut).ok_or(Malformed::Checksum)?;
    *field = sum.transport_checksum().to_be_bytes();
    Ok(())
}

/// Whether a packet of `len` bytes goes into `batch` without its datagrams, once sealed, exceeding `limit` bytes in all.
/// The first packet always does.
#[must_use]
pub fn fits(batch: &mut Batch<Plain>, len: usize, mtu: usize, limit: usize) -> bool {
    let (filled, _) = batch.spare_mut();
    filled == 0 || filled + HEADROOM + padded_len(len, mtu) + TAILROOM <= limit
}

impl SuperPacket {
    /// Reads the headers of a super-packet of `len` bytes, of which `front` has the first, headers included. `None` if
    /// `header` says that it is an ordinary packet.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(header: &Header, front: &[u8], len: usize) -> Result<Option<Self>, Malformed> {
        let Some(gso) = header.gso else { return Ok(None) };
        let (v6, transport) = ip(gso.kind, header.checksum, front)?;
        let header_len = transport + transport_header_len(gso.kind, front, transport)?;
        let size = usize::from(gso.size);
        if size == 0 || len <= header_len || header_len + size > usize::from(u16::MAX) {
            return Err(Malformed::Segments);
        }
        let from = front.get(..header_len).ok_or(Malformed::Headers)?;
        let mut headers = [0; MAX_HEADERS];
        headers.get_mut(..header_len).ok_or(Malformed::Headers)?.copy_from_slice(from);
        Ok(Some(Self { headers, header_len, transport, kind: gso.kind, v6, size, len, next: 0 }))
    }

    /// Length in bytes of the whole super-packet.
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.len
    }

    /// Length in bytes of the first segment, headers included.
    #[must_use]
    pub fn first_len(&self) -> usize {
        self.len.min(self.header_len + self.size)
    }

    /// Makes the first segment where its bytes lie already: in `segment`, which is [`first_len`](Self::first_len) long.
    pub(crate) fn first_in_place(&mut self, segment: &mut [u8]) {
        debug_assert!(self.next == 0 && segment.len() == self.first_len());
        self.write(segment, None);
    }

    /// Cuts what is left of `packet`, the bytes of the super-packet (headers need not be there), into `batch`, as far as
    /// it [fits].
    pub fn cut(&mut self, packet: &[u8], batch: &mut Batch<Plain>, mtu: usize, limit: usize) -> Cut {
        while let Some(payload) = packet.get(self.payload()).filter(|payload| !payload.is_empty()) {
            let len = self.header_len + payload.len();
            if !fits(batch, len, mtu, limit) {
                return Cut::Full;
            }
            let is_empty = batch.is_empty();
            match batch.reserve(len, padded_len(len, mtu)) {
                Ok(segment) => self.write(segment, Some(payload)),
                // A slab that does not hold even one segment never will.
                Err(_) if is_empty => break,
                Err(_) => return Cut::Full,
            }
        }
        self.next = self.len;
        Cut::All
    }

    /// Where the payload of the next segment lies; empty at the end.
    fn payload(&self) -> Range<usize> {
        let start = self.next.saturating_mul(self.size).saturating_add(self.header_len).min(self.len);
        start..start.saturating_add(self.size).min(self.len)
    }

    /// Writes the next segment, with a copy of `payload`, or of the payload that is there.
    fn write(&mut self, segment: &mut [u8], payload: Option<&[u8]>) {
        let is_last = self.payload().end == self.len;
        let len = u16::try_from(segment.len()).expect("parsing refuses longer segments");
        let (headers, body) = segment.split_at_mut(self.header_len);
        headers.copy_from_slice(&self.headers[..self.header_len]);
        let sum = match payload {
            Some(payload) => Sum::default().copy(payload, body),
            None => Sum::default().bytes(body),
        };
        let (ip, transport) = headers.split_at_mut(self.transport);
        let transport_len = len - self.transport as u16;
        let addresses = if self.v6 {
            put(ip, 4, len - 40);
            &ip[8..40]
        } else {
            put(ip, 2, len);
            put(ip, 4, u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(self.next as u16));
            put(ip, 10, 0);
            put(ip, 10, Sum::default().bytes(ip).checksum());
            &ip[12..20]
        };
        match self.kind {
            Kind::TcpV4 | Kind::TcpV6 => self.tcp(transport, is_last),
            Kind::Udp => put(transport, 4, transport_len),
        }
        let at = usize::from(self.kind.checksum_offset());
        put(transport, at, 0);
        let sum = sum.bytes(transport).pseudo_header(addresses, self.kind.protocol(), transport_len);
        put(transport, at, sum.transport_checksum());
        self.next += 1;
    }

    /// Sequence number and flags: what ends something (FIN, PSH) is the last segment's, and what is said once (CWR) the
    /// first's.
    fn tcp(&self, header: &mut [u8], is_last: bool) {
        let first = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let sequence = first.wrapping_add((self.next * self.size) as u32);
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !is_last {
            header[13] &= !(tcp::FIN | tcp::PSH);
        }
        if self.next > 0 {
            header[13] &= !tcp::CWR;
        }
    }
}

/// Flags of TCP (RFC 9293, 3.1; RFC 3168, 6.1).
pub(crate) mod tcp {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
    pub(crate) const CWR: u8 = 0x80;
}

/// Whether it is IPv6, and where the transport header begins.
fn ip(kind: Kind, checksum: Option<Checksum>, front: &[u8]) -> Result<(bool, usize), Malformed> {
    let first = *front.first().ok_or(Malformed::Headers)?;
    let v6 = match (first >> 4, kind) {
        (4, Kind::TcpV4 | Kind::Udp) => false,
        (6, Kind::TcpV6 | Kind::Udp) => true,
        _ => return Err(Malformed::Headers),
    };
    let (header_len, protocol) = if v6 {
        (40, *front.get(6).ok_or(Malformed::Headers)?)
    } else {
        (usize::from(first & 0x0f) * 4, *front.get(9).ok_or(Malformed::Headers)?)
    };
    // With extension headers in between, the device alone knows where TCP or UDP begins.
    let transport = checksum.map_or(header_len, |checksum| usize::from(checksum.start));
    let plain = transport == header_len && protocol == kind.protocol();
    let extended = v6 && transport > header_len;
    let offset_fits = checksum.is_none_or(|checksum| checksum.offset == kind.checksum_offset());
    if header_len < 20 || !(plain || extended) || !offset_fits {
        return Err(Malformed::Headers);
    }
    Ok((v6, transport))
}

fn transport_header_len(kind: Kind, front: &[u8], transport: usize) -> Result<usize, Malformed> {
    match kind {
        Kind::Udp => Ok(8),
        Kind::TcpV4 | Kind::TcpV6 => {
            match front.get(transport + 12).map(|offset| usize::from(offset >> 4) * 4) {
                Some(len @ 20..) => Ok(len),
                _ => Err(Malformed::Headers),
            }
        }
    }
}

fn put(header: &mut [u8], at: usize, value: u16) {
    header[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
