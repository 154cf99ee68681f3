//! Which bytes are an IP packet, how long it truly is, and between whom it travels.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol numbers that the data plane looks at (IANA's registry).
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Tailscale's control messages inside the tunnel.
    pub const TSMP: u8 = 99;
}

/// Why bytes are not an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IpError {
    /// Fewer bytes than the fixed header, or none at all.
    #[error("shorter than an IP header")]
    Short,
    /// The version is neither 4 nor 6.
    #[error("IP version {0} is neither 4 nor 6")]
    Version(u8),
    /// The IPv4 header says it is shorter than 20 bytes, or longer than the packet.
    #[error("IPv4 header length is impossible")]
    HeaderLength,
    /// The header says the packet is longer than the bytes there are, or shorter than its header.
    #[error("the IP header's length does not fit the bytes")]
    TotalLength,
}

/// What the header of a packet says; made only by [`IpHeader::parse`], so the lengths hold for the bytes it was made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpHeader {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    later_fragment: bool,
    header_len: u16,
    total_len: u32,
}

impl IpHeader {
    /// Reads an IPv4 (RFC 791, 3.1) or IPv6 (RFC 8200, 3) header. `bytes` may be longer than the packet, as after
    /// WireGuard's padding. Checksums are not looked at; IPv6 extension headers are not walked.
    ///
    /// # Errors
    /// [`IpError`] where the bytes are no IP packet; they are never read past their end.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, IpError> {
        match bytes.first().map(|b| b >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            Some(version) => Err(IpError::Version(version)),
            None => Err(IpError::Short),
        }
    }

    /// Who sent it.
    #[inline]
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// For whom it is.
    #[inline]
    #[must_use]
    pub const fn destination(&self) -> IpAddr {
        self.destination
    }

    /// What is inside: IPv4's protocol, or IPv6's next header as it stands in the fixed header.
    #[inline]
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Length of the header in bytes, IPv4 options included, IPv6 extension headers not.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.header_len as usize
    }

    /// Length of the whole packet in bytes, header included: what is left when padding is cut.
    #[inline]
    #[must_use]
    pub const fn total_len(&self) -> usize {
        self.total_len as usize
    }

    /// Source and destination port of TCP or UDP in `bytes`, the packet this header was parsed from; `None` for other
    /// protocols, later fragments, and packets too short to have ports.
    #[must_use]
    pub fn ports(&self, bytes: &[u8]) -> Option<(u16, u16)> {
        if self.later_fragment || !matches!(self.protocol, protocol::TCP | protocol::UDP) {
            return None;
        }
        let [a, b, c, d] = *bytes.get(self.header_len()..self.total_len())?.first_chunk()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    fn parse_v4(bytes: &[u8]) -> Result<Self, IpError> {
        let header: &[u8; 20] = bytes.first_chunk().ok_or(IpError::Short)?;
        let [b0, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        let header_len = u16::from(b0 & 0x0f) * 4;
        let total_len = u16::from_be_bytes([l0, l1]);
        if header_len < 20 || usize::from(header_len) > bytes.len() {
            return Err(IpError::HeaderLength);
        }
        if total_len < header_len || usize::from(total_len) > bytes.len() {
            return Err(IpError::TotalLength);
        }
        Ok(Self {
            source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
            destination: IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3)),
            protocol,
            later_fragment: u16::from_be_bytes([f0, f1]) & 0x1fff != 0,
            header_len,
            total_len: u32::from(total_len),
        })
    }

    fn parse_v6(bytes: &[u8]) -> Result<Self, IpError> {
        let header: &[u8; 40] = bytes.first_chunk().ok_or(IpError::Short)?;
        let total_len = 40 + u32::from(u16::from_be_bytes([header[4], header[5]]));
        if total_len as usize > bytes.len() {
            return Err(IpError::TotalLength);
        }
        let mut source = [0; 16];
        let mut destination = [0; 16];
        source.copy_from_slice(&header[8..24]);
        destination.copy_from_slice(&header[24..40]);
        Ok(Self {
            source: IpAddr::V6(Ipv6Addr::from(source)),
            destination: IpAddr::V6(Ipv6Addr::from(destination)),
            protocol: header[6],
            later_fragment: false,
            header_len: 40,
            total_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn v4(payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let mut p = vec![
            0x45,
            0,
            total[0],
            total[1],
            0,
            0,
            0,
            0,
            64,
            protocol::UDP,
            0,
            0,
            100,
            64,
            0,
            1,
            100,
            64,
            0,
            2,
        ];
        p.extend_from_slice(payload);
        p
    }

    fn v6(payload: &[u8]) -> Vec<u8> {
        let mut p = vec![0x60, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap(), protocol::TCP, 64];
        p.extend_from_slice(&[0xfd; 16]);
        p.extend_from_slice(&[0xfe; 16]);
        p.extend_from_slice(payload);
        p
    }

    #[test]
    fn ipv4_is_read_and_its_padding_cut() {
        let mut bytes = v4(&[0x12, 0x34, 0x00, 0x35]);
        bytes.extend_from_slice(&[0; 8]);
        let ip = IpHeader::parse(&bytes).unwrap();
        assert_eq!(ip.source(), IpAddr::from([100, 64, 0, 1]));
        assert_eq!(ip.destination(), IpAddr::from([100, 64, 0, 2]));
        assert_eq!((ip.header_len(), ip.total_len(), ip.protocol()), (20, 24, protocol::UDP));
        assert_eq!(ip.ports(&bytes), Some((0x1234, 0x35)));
    }

    #[test]
    fn ports_are_not_read_out_of_the_padding() {
        let mut bytes = v4(&[0x12, 0x34]);
        bytes.extend_from_slice(&[0xaa; 14]);
        assert_eq!(IpHeader::parse(&bytes).unwrap().ports(&bytes), None);
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut bytes = v4(&[0; 8]);
        bytes[7] = 1;
        assert_eq!(IpHeader::parse(&bytes).unwrap().ports(&bytes), None);
    }

    #[test]
    fn ipv6_is_read_and_its_padding_cut() {
        let mut bytes = v6(&[0, 80, 1, 187]);
        bytes.push(0);
        let ip = IpHeader::parse(&bytes).unwrap();
        assert_eq!((ip.header_len(), ip.total_len(), ip.protocol()), (40, 44, protocol::TCP));
        assert_eq!(ip.source(), IpAddr::from([0xfd; 16]));
        assert_eq!(ip.ports(&bytes), Some((80, 443)));
    }

    #[test]
    fn impossible_lengths_are_told_apart() {
        assert_eq!(IpHeader::parse(&[]), Err(IpError::Short));
        assert_eq!(IpHeader::parse(&[0x45; 19]), Err(IpError::Short));
        assert_eq!(IpHeader::parse(&[0x15; 40]), Err(IpError::Version(1)));
        let mut short_header = v4(&[]);
        short_header[0] = 0x44;
        assert_eq!(IpHeader::parse(&short_header), Err(IpError::HeaderLength));
        short_header[0] = 0x46;
        assert_eq!(IpHeader::parse(&short_header), Err(IpError::HeaderLength));
        let mut long = v4(&[]);
        long[3] = 21;
        assert_eq!(IpHeader::parse(&long), Err(IpError::TotalLength));
        long[3] = 19;
        assert_eq!(IpHeader::parse(&long), Err(IpError::TotalLength));
        assert_eq!(IpHeader::parse(&v6(&[1])[..40]), Err(IpError::TotalLength));
    }

    proptest! {
        #[test]
        fn any_bytes_give_lengths_that_hold(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Ok(ip) = IpHeader::parse(&bytes) {
                prop_assert!(ip.header_len() <= ip.total_len());
                prop_assert!(ip.total_len() <= bytes.len());
                let _ = ip.ports(&bytes);
            }
        }
    }
}
