//! How the header is read and written that stands before each packet of a device with offload (virtio 1.2, 5.1.6).

/// Its length in bytes.
pub const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
// A bit beside the kind: the packets carry congestion marks.
const GSO_ECN: u8 = 0x80;

/// What the kernel says of a packet that it hands over, or is told of one that it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The transport checksum is not complete yet.
    pub checksum: Option<Checksum>,
    /// The packet is a super-packet, to be cut into segments.
    pub gso: Option<Gso>,
    /// Length in bytes of all headers of a super-packet. A hint: the kernel counts too much at times.
    pub header_len: u16,
}

/// Where a checksum is to be completed: its field holds the sum of the pseudo-header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// First byte that is summed, from the start of the packet: the transport header.
    pub start: u16,
    /// Where in the transport header the checksum stands.
    pub offset: u16,
}

/// How a super-packet is to be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// What is in it.
    pub kind: Kind,
    /// Bytes of payload in each segment but the last, which may have fewer.
    pub size: u16,
}

/// What a super-packet is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of one length, over either.
    Udp,
}

/// The header names a kind of super-packet that was never asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown kind {0} of super-packet")]
pub struct UnknownKind(pub u8);

impl Header {
    /// Reads the header. Numbers are in this machine's byte order, as the device has them unless told otherwise.
    ///
    /// # Errors
    /// [`UnknownKind`].
    pub fn decode(bytes: &[u8; LEN]) -> Result<Self, UnknownKind> {
        let [flags, kind, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        let number = |a, b| u16::from_ne_bytes([a, b]);
        let kind = match kind & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(Kind::TcpV4),
            GSO_TCPV6 => Some(Kind::TcpV6),
            GSO_UDP_L4 => Some(Kind::Udp),
            unknown => return Err(UnknownKind(unknown)),
        };
        Ok(Self {
            checksum: (flags & NEEDS_CSUM != 0)
                .then(|| Checksum { start: number(s0, s1), offset: number(o0, o1) }),
            gso: kind.map(|kind| Gso { kind, size: number(g0, g1) }),
            header_len: number(h0, h1),
        })
    }

    /// Writes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let kind = self.gso.map_or(GSO_NONE, |gso| match gso.kind {
            Kind::TcpV4 => GSO_TCPV4,
            Kind::TcpV6 => GSO_TCPV6,
            Kind::Udp => GSO_UDP_L4,
        });
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [g0, g1] = self.gso.map_or(0, |gso| gso.size).to_ne_bytes();
        let [s0, s1] = self.checksum.map_or(0, |checksum| checksum.start).to_ne_bytes();
        let [o0, o1] = self.checksum.map_or(0, |checksum| checksum.offset).to_ne_bytes();
        let flags = if self.checksum.is_some() { NEEDS_CSUM } else { 0 };
        [flags, kind, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

impl Kind {
    /// The protocol number in the IP header.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::TcpV4 | Self::TcpV6 => tidewire_packet::protocol::TCP,
            Self::Udp => tidewire_packet::protocol::UDP,
        }
    }

    /// Where in the transport header the checksum stands.
    #[must_use]
    pub const fn checksum_offset(self) -> u16 {
        match self {
            Self::TcpV4 | Self::TcpV6 => 16,
            Self::Udp => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_as_the_kernel_writes_it() {
        let n = u16::to_ne_bytes;
        let bytes = [[1, 1], n(52), n(1368), n(20), n(16)].concat();
        let header = Header::decode(bytes[..].try_into().unwrap()).unwrap();
        assert_eq!(header.checksum, Some(Checksum { start: 20, offset: 16 }));
        assert_eq!(header.gso, Some(Gso { kind: Kind::TcpV4, size: 1368 }));
        assert_eq!(header.header_len, 52);
        assert_eq!(header.encode()[..], bytes);
    }

    #[test]
    fn a_plain_packet_has_a_header_of_zeros() {
        assert_eq!(Header::default().encode(), [0; LEN]);
        assert_eq!(Header::decode(&[0; LEN]), Ok(Header::default()));
    }

    #[test]
    fn congestion_marks_do_not_change_the_kind() {
        let header = Header::decode(&[0, 0x84, 0, 0, 1, 1, 0, 0, 0, 0]).unwrap();
        assert_eq!(header.gso.unwrap().kind, Kind::TcpV6);
    }

    #[test]
    fn old_udp_fragmentation_is_unknown() {
        assert_eq!(Header::decode(&[0, 3, 0, 0, 1, 1, 0, 0, 0, 0]), Err(UnknownKind(3)));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(bytes: [u8; LEN]) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
            }
        }
    }
}
