//! Which packets may reach a socket: whole, for this stack, from a host, with right checksums.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, checksum};
use tidewire_packet::{IpHeader, protocol};

use super::tally::Discard;
use crate::config::is_host;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;

/// A packet that passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inspected {
    /// Its length; what lies behind it is padding.
    pub(super) len: usize,
    pub(super) kind: Kind,
}

/// What a packet that passed is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Tcp(Segment),
    Udp(Datagram),
    /// An ICMP echo request.
    Echo,
}

/// The two ends of a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Flow {
    // First, because that is where flows differ.
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What of a TCP segment decides where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) flow: Flow,
    flags: u8,
    pub(super) seq: u32,
    /// Means something only with the flag ACK.
    pub(super) ack: u32,
    pub(super) window: u16,
    /// Bytes of payload.
    pub(super) payload: usize,
    // Where the TCP header begins, and where it ends.
    at: usize,
    end: usize,
}

impl Segment {
    /// Whether it opens a connection.
    pub(super) const fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// Whether it is the other end's SYN, with an acknowledgement or without.
    pub(super) const fn is_syn(&self) -> bool {
        self.flags & (SYN | RST) == SYN
    }

    /// Whether its acknowledgement number means something.
    pub(super) const fn acknowledges(&self) -> bool {
        self.flags & ACK != 0
    }

    /// Whether it belongs to a connection that is open.
    pub(super) const fn is_ordinary(&self) -> bool {
        self.flags & (SYN | ACK | RST) == ACK
    }

    /// Whether it does more than acknowledge.
    pub(super) const fn carries(&self) -> bool {
        self.payload > 0 || self.flags & FIN != 0
    }

    /// The options of its TCP header.
    pub(super) fn options<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.at + TCP_HEADER..self.end).unwrap_or_default()
    }

    /// Writes another acknowledgement number and window into `packet`. The checksum is left behind: it was verified.
    pub(super) fn rewrite(&self, packet: &mut [u8], ack: u32, window: u16) {
        if let Some(header) = packet.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut::<TCP_HEADER>())
        {
            header[8..12].copy_from_slice(&ack.to_be_bytes());
            header[14..16].copy_from_slice(&window.to_be_bytes());
        }
    }
}

/// A packet that acknowledges everything before `ack` and announces `window`, as if from the flow's other end, whose
/// next byte is `seq`. For smoltcp, which verifies no checksum.
pub(super) fn acknowledgement(flow: &Flow, seq: u32, ack: u32, window: u16) -> ([u8; 60], usize) {
    let mut packet = [0; 60];
    let at = match (flow.remote.ip(), flow.local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet[..10].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol::TCP]);
            packet[12..16].copy_from_slice(&from.octets());
            packet[16..20].copy_from_slice(&to.octets());
            20
        }
        (from, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, protocol::TCP, 64]);
            packet[8..24].copy_from_slice(&octets(from));
            packet[24..40].copy_from_slice(&octets(to));
            40
        }
    };
    let header = &mut packet[at..at + TCP_HEADER];
    header[..2].copy_from_slice(&flow.remote.port().to_be_bytes());
    header[2..4].copy_from_slice(&flow.local.port().to_be_bytes());
    header[4..8].copy_from_slice(&seq.to_be_bytes());
    header[8..12].copy_from_slice(&ack.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = ACK;
    header[14..16].copy_from_slice(&window.to_be_bytes());
    (packet, at + TCP_HEADER)
}

/// What of a TCP segment that leaves matters to its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Emitted {
    pub(super) seq: u32,
    /// Sequence numbers that it takes: payload, SYN and FIN.
    pub(super) len: u32,
}

impl Emitted {
    /// Reads a packet that smoltcp made, which has no IP options; all zero for one that is no TCP.
    pub(super) fn of(packet: &[u8]) -> Self {
        let (protocol_at, at) =
            if packet.first().is_some_and(|first| first >> 4 == 4) { (9, 20) } else { (6, 40) };
        let header = packet.get(at..).and_then(|rest| rest.first_chunk::<TCP_HEADER>());
        let (Some(&protocol::TCP), Some(header)) = (packet.get(protocol_at), header) else {
            return Self::default();
        };
        let [_, _, _, _, s0, s1, s2, s3, _, _, _, _, offset, flags, ..] = *header;
        let payload = packet.len().saturating_sub(at + usize::from(offset >> 4) * 4);
        let marks = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let seq = u32::from_be_bytes([s0, s1, s2, s3]);
        Self { seq, len: u32::try_from(payload).unwrap_or(u32::MAX).saturating_add(marks) }
    }
}

/// What of a datagram decides where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    /// The own address and port that it is for.
    pub(super) to: SocketAddr,
    /// Bytes of payload.
    pub(super) payload: usize,
}

/// Looks a packet over.
///
/// # Errors
/// Why it must not reach a socket.
pub(super) fn inspect(bytes: &[u8], own: &[IpAddr]) -> Result<Inspected, Discard> {
    let header = IpHeader::parse(bytes).map_err(|_| Discard::Malformed)?;
    if !own.contains(&header.destination()) {
        return Err(Discard::NotOwn);
    }
    if !is_host(header.source()) {
        return Err(Discard::Source);
    }
    let packet = bytes.get(..header.total_len()).ok_or(Discard::Malformed)?;
    if header.source().is_ipv4() {
        inspect_v4(packet, header.header_len())?;
    }
    let payload = packet.get(header.header_len()..).ok_or(Discard::Malformed)?;
    let kind = match header.protocol() {
        protocol::TCP => tcp(&header, payload)?,
        protocol::UDP => udp(&header, payload)?,
        protocol::ICMP if header.source().is_ipv4() => icmp(payload)?,
        protocol::ICMPV6 if header.source().is_ipv6() => icmpv6(&header, payload)?,
        _ => return Err(Discard::Protocol),
    };
    Ok(Inspected { len: packet.len(), kind })
}

fn inspect_v4(packet: &[u8], header_len: usize) -> Result<(), Discard> {
    let fragment = packet.get(6..8).is_none_or(|f| u16::from_be_bytes([f[0], f[1]]) & 0x3fff != 0);
    if fragment {
        return Err(Discard::Fragment);
    }
    right(packet.get(..header_len).is_some_and(|header| checksum::data(header) == !0))
}

fn tcp(header: &IpHeader, payload: &[u8]) -> Result<Kind, Discard> {
    let fixed: &[u8; TCP_HEADER] = payload.first_chunk().ok_or(Discard::Malformed)?;
    let header_len = usize::from(fixed[12] >> 4) * 4;
    if header_len < TCP_HEADER || header_len > payload.len() {
        return Err(Discard::Malformed);
    }
    right(with_pseudo_header(header, IpProtocol::Tcp, payload) == !0)?;
    let flow = Flow {
        remote: SocketAddr::new(header.source(), u16::from_be_bytes([fixed[0], fixed[1]])),
        local: SocketAddr::new(header.destination(), u16::from_be_bytes([fixed[2], fixed[3]])),
    };
    if flow.remote.port() == 0 || flow.local.port() == 0 {
        return Err(Discard::Malformed);
    }
    Ok(Kind::Tcp(Segment {
        flow,
        flags: fixed[13],
        seq: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        ack: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        window: u16::from_be_bytes([fixed[14], fixed[15]]),
        payload: payload.len() - header_len,
        at: header.header_len(),
        end: header.header_len() + header_len,
    }))
}

fn udp(header: &IpHeader, payload: &[u8]) -> Result<Kind, Discard> {
    let fixed: &[u8; UDP_HEADER] = payload.first_chunk().ok_or(Discard::Malformed)?;
    let len = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let datagram = payload.get(..len).filter(|_| len >= UDP_HEADER).ok_or(Discard::Malformed)?;
    let port = u16::from_be_bytes([fixed[2], fixed[3]]);
    if port == 0 {
        return Err(Discard::Malformed);
    }
    // Over IPv4 zero means that the sender computed none (RFC 768); over IPv6 it is an error (RFC 8200, 8.1).
    let unsummed = fixed[6..8] == [0, 0] && header.source().is_ipv4();
    right(unsummed || with_pseudo_header(header, IpProtocol::Udp, datagram) == !0)?;
    let to = SocketAddr::new(header.destination(), port);
    Ok(Kind::Udp(Datagram { to, payload: len - UDP_HEADER }))
}

fn icmp(payload: &[u8]) -> Result<Kind, Discard> {
    const ECHO_REQUEST: u8 = 8;
    let fixed: &[u8; ICMP_HEADER] = payload.first_chunk().ok_or(Discard::Malformed)?;
    right(checksum::data(payload) == !0)?;
    if fixed[0] == ECHO_REQUEST { Ok(Kind::Echo) } else { Err(Discard::Icmp) }
}

fn icmpv6(header: &IpHeader, payload: &[u8]) -> Result<Kind, Discard> {
    const ECHO_REQUEST: u8 = 128;
    let fixed: &[u8; ICMP_HEADER] = payload.first_chunk().ok_or(Discard::Malformed)?;
    right(with_pseudo_header(header, IpProtocol::Icmpv6, payload) == !0)?;
    if fixed[0] == ECHO_REQUEST { Ok(Kind::Echo) } else { Err(Discard::Icmp) }
}

fn with_pseudo_header(header: &IpHeader, protocol: IpProtocol, payload: &[u8]) -> u16 {
    let (source, destination) = (header.source().into(), header.destination().into());
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    checksum::combine(&[
        checksum::pseudo_header(&source, &destination, protocol, len),
        checksum::data(payload),
    ])
}

const fn right(checksum_holds: bool) -> Result<(), Discard> {
    if checksum_holds { Ok(()) } else { Err(Discard::Checksum) }
}
