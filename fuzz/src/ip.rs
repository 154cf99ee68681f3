//! What must hold for the header of any IP packet: it lies in the bytes, and nothing behind its true length matters.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidewire_packet::{IpError, IpHeader, protocol};

/// Any packet, perhaps with padding behind it.
pub fn ip(data: &[u8]) {
    let Ok(header) = IpHeader::parse(data) else {
        refused(data);
        return;
    };
    let (head, total) = (header.header_len(), header.total_len());
    assert!(20 <= head && head <= total && total <= data.len());
    assert_eq!(IpHeader::parse(&data[..total]), Ok(header), "padding is cut without a trace");
    let mut padded = data[..total].to_vec();
    padded.extend([0xa5; 16]);
    assert_eq!(IpHeader::parse(&padded), Ok(header));
    assert_eq!(padded.len() - total, 16);
    assert!(IpHeader::parse(&data[..total - 1]).is_err(), "a byte too few");
    fields(data, &header);
    ports(&data[..total], &header);
}

/// The fields again, by the offsets of RFC 791 and RFC 8200.
fn fields(data: &[u8], header: &IpHeader) {
    let v4 = |at: usize| IpAddr::V4(Ipv4Addr::new(data[at], data[at + 1], data[at + 2], data[at + 3]));
    let v6 = |at: usize| IpAddr::V6(Ipv6Addr::from(*data[at..].first_chunk::<16>().expect("a whole header")));
    let expected = match data[0] >> 4 {
        4 => (v4(12), v4(16), data[9]),
        6 => (v6(8), v6(24), data[6]),
        other => panic!("version {other} was accepted"),
    };
    assert_eq!((header.source(), header.destination(), header.protocol()), expected);
}

/// Ports are there only where there are any, and are the first four bytes of the payload.
fn ports(packet: &[u8], header: &IpHeader) {
    let payload = &packet[header.header_len()..];
    let later_fragment = packet[0] >> 4 == 4 && (packet[6] & 0x1f, packet[7]) != (0, 0);
    let has =
        matches!(header.protocol(), protocol::TCP | protocol::UDP) && payload.len() >= 4 && !later_fragment;
    let expected = has.then(|| {
        (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]))
    });
    assert_eq!(header.ports(packet), expected);
}

/// An error names what is wrong.
fn refused(data: &[u8]) {
    match IpHeader::parse(data) {
        Err(IpError::Short) => assert!(data.len() < 40),
        Err(IpError::Version(version)) => {
            assert!(version == data[0] >> 4 && version != 4 && version != 6);
        }
        Err(IpError::HeaderLength) => assert_eq!(data[0] >> 4, 4),
        Err(IpError::TotalLength) => assert!(data.len() >= 20),
        Ok(_) => panic!("refused once, accepted once"),
    }
}
