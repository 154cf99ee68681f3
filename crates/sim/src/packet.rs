//! The overlay packets that simulated hosts exchange: UDP in IPv4 with a payload.

use std::net::Ipv4Addr;

use tidewire_packet::{IpHeader, protocol};

/// A UDP packet from `source` to `destination`. Checksums are zero: nothing here looks at them.
pub(crate) fn udp(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length =
        |more: usize| u16::try_from(payload.len() + more).expect("payloads of tests are small").to_be_bytes();
    let (total, udp) = (length(28), length(8));
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, protocol::UDP, 0, 0];
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet.extend_from_slice(&[0, 9, 0, 9, udp[0], udp[1], 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// The payload of such a packet.
pub(crate) fn payload(packet: &[u8]) -> Option<&[u8]> {
    let header = IpHeader::parse(packet).ok()?;
    packet.get(header.header_len() + 8..header.total_len())
}
