//! Which packets belong to one flow of TCP or UDP, and which may follow which in a super-packet.

use tidewire_packet::protocol;

use crate::{checksum::Sum, segment::tcp, vnet::Kind};

/// Longest headers of a packet that is gathered: IPv6 and TCP with all options.
pub(crate) const MAX_HEADERS: usize = 40 + 60;

/// What a packet is to the gathering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packet {
    /// Data of a flow, which others may follow.
    Data(Segment),
    /// Of a flow, by this hash, but never part of a super-packet: what comes later must not overtake it.
    Lone(u32),
    /// Nothing whose order matters here.
    Other,
}

/// Data of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) kind: Kind,
    pub(crate) transport: u8,
    pub(crate) header_len: u8,
    pub(crate) payload_len: u16,
    /// Zero for UDP.
    pub(crate) sequence: u32,
    /// IPv4's identification where fragments could need it.
    pub(crate) id: Option<u16>,
    /// Nothing may follow it.
    pub(crate) is_last: bool,
    pub(crate) hash: u32,
}

impl Packet {
    /// Looks at a packet. Only plain headers are gathered: IPv4 without options and fragments, IPv6 without extension
    /// headers, TCP with no flags but ACK and PSH, UDP with a checksum; and only where the lengths agree.
    #[inline]
    pub(crate) fn of(packet: &[u8]) -> Self {
        match packet.first() {
            Some(0x45) => Self::v4(packet),
            Some(0x60..=0x6f) => Self::v6(packet),
            _ => Self::Other,
        }
    }

    fn v4(packet: &[u8]) -> Self {
        let Some((ip, transport)) = packet.split_first_chunk::<20>() else { return Self::Other };
        let fragment = u16::from_be_bytes([ip[6], ip[7]]);
        let is_whole = usize::from(u16::from_be_bytes([ip[2], ip[3]])) == packet.len();
        if fragment & 0x3fff != 0 || !is_whole {
            return Self::Other;
        }
        let may_fragment = fragment & 0x4000 == 0;
        let id = may_fragment.then(|| u16::from_be_bytes([ip[4], ip[5]]));
        let addresses = u64::from_ne_bytes(*ip[12..].first_chunk().expect("20 bytes"));
        Self::transport(ip[9], transport, 20, id, addresses)
    }

    fn v6(packet: &[u8]) -> Self {
        let Some((ip, transport)) = packet.split_first_chunk::<40>() else { return Self::Other };
        if usize::from(u16::from_be_bytes([ip[4], ip[5]])) != transport.len() {
            return Self::Other;
        }
        let (words, _) = ip[8..].as_chunks();
        let addresses =
            words.iter().fold(0u64, |hash, word| hash.rotate_left(21) ^ u64::from_ne_bytes(*word));
        Self::transport(ip[6], transport, 40, None, addresses)
    }

    fn transport(protocol: u8, transport: &[u8], at: u8, id: Option<u16>, addresses: u64) -> Self {
        let Some(ports) = transport.first_chunk().map(|ports| u32::from_ne_bytes(*ports)) else {
            return Self::Other;
        };
        let hash = hash(addresses, ports, protocol);
        let data = match protocol {
            protocol::TCP => tcp(transport, at, id, hash),
            protocol::UDP => udp(transport, at, id, hash),
            _ => return Self::Other,
        };
        data.map_or(Self::Lone(hash), Self::Data)
    }
}

fn tcp(transport: &[u8], at: u8, id: Option<u16>, hash: u32) -> Option<Segment> {
    let header: &[u8; 20] = transport.first_chunk()?;
    let len = (header[12] >> 4) * 4;
    let payload_len = transport.len().checked_sub(usize::from(len)).filter(|len| *len > 0)?;
    let kind = if at == 20 { Kind::TcpV4 } else { Kind::TcpV6 };
    (len >= 20 && header[13] & !tcp::PSH == tcp::ACK).then_some(Segment {
        kind,
        transport: at,
        header_len: at + len,
        payload_len: u16::try_from(payload_len).ok()?,
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        id,
        is_last: header[13] & tcp::PSH != 0,
        hash,
    })
}

fn udp(transport: &[u8], at: u8, id: Option<u16>, hash: u32) -> Option<Segment> {
    let header: &[u8; 8] = transport.first_chunk()?;
    let is_whole = usize::from(u16::from_be_bytes([header[4], header[5]])) == transport.len();
    let has_checksum = header[6..] != [0, 0];
    (is_whole && has_checksum && transport.len() > 8).then_some(Segment {
        kind: Kind::Udp,
        transport: at,
        header_len: at + 8,
        payload_len: u16::try_from(transport.len() - 8).ok()?,
        sequence: 0,
        id,
        is_last: false,
        hash,
    })
}

/// Whether two packets whose data begins at the same place are of one flow and their headers say the same, but for what
/// differs from segment to segment: lengths, identification, checksums, sequence number and PSH.
#[inline]
pub(crate) fn agree(a: &[u8], b: &[u8], segment: &Segment) -> bool {
    let same = |from: u8, to: u8| match (a.get(from.into()..to.into()), b.get(from.into()..to.into())) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    let at = segment.transport;
    let ip = if at == 20 { same(0, 2) && same(6, 10) && same(12, 20) } else { same(0, 4) && same(6, 40) };
    ip && same(at, at + 4)
        && (segment.kind == Kind::Udp
            || (same(at + 8, at + 13) && same(at + 14, at + 16) && same(at + 18, segment.header_len)))
}

/// Whether the checksums of a packet of data are right. What is put together gets new ones, and no error may vanish in
/// them.
#[inline]
pub(crate) fn is_intact(packet: &[u8], segment: &Segment) -> bool {
    let (ip, transport) = packet.split_at(segment.transport.into());
    let addresses = if segment.transport == 20 {
        if !Sum::default().bytes(ip).is_whole() {
            return false;
        }
        &ip[12..]
    } else {
        &ip[8..]
    };
    let len = u16::try_from(transport.len()).unwrap_or(u16::MAX);
    Sum::default().pseudo_header(addresses, segment.kind.protocol(), len).bytes(transport).is_whole()
}

#[inline]
fn hash(addresses: u64, ports: u32, protocol: u8) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    // Ports and addresses are often counted up together: they must not meet before they are spread.
    let spread = addresses.wrapping_mul(ODD);
    let mixed = (spread ^ spread >> 32 ^ u64::from(ports) << 8 ^ u64::from(protocol)).wrapping_mul(ODD);
    (mixed >> 32) as u32
}
