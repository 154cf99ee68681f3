//! Packets, checksums and the kernel's side of a device with offload, written a second time: slowly and from the RFCs.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of what all share")]

use proptest::prelude::*;
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tun::{
    gather::{Gather, MAX_SLICES, Offload},
    vnet::{self, Checksum, Gso, Header, Kind},
};

pub const BOTH: Offload = Offload { tcp: true, udp: true };

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;
pub const CWR: u8 = 128;

/// RFC 1071, word by word.
pub fn slow_sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// One end to the other: what differs between flows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flow {
    pub v6: bool,
    pub udp: bool,
    /// In the addresses and ports.
    pub number: u8,
}

/// What differs between the packets of a flow, but for their payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    pub sequence: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub options: Vec<u8>,
    pub id: u16,
    pub dont_fragment: bool,
    pub tos: u8,
    pub ttl: u8,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            sequence: 1000,
            ack: 77,
            flags: ACK,
            window: 500,
            options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            id: 4711,
            dont_fragment: true,
            tos: 0,
            ttl: 64,
        }
    }
}

impl Flow {
    pub fn headers(self, look: &Look) -> usize {
        (if self.v6 { 40 } else { 20 }) + if self.udp { 8 } else { 20 + look.options.len() }
    }

    /// A packet with right lengths and checksums.
    pub fn packet(self, look: &Look, payload: &[u8]) -> Vec<u8> {
        let mut packet = self.unsummed(look, payload);
        let transport = if self.v6 { 40 } else { 20 };
        let at = transport + if self.udp { 6 } else { 16 };
        let checksum = match !transport_sum(&packet, transport) {
            0 => 0xffff,
            checksum => checksum,
        };
        packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    /// A super-packet as the kernel hands it over: the checksum field holds the sum of the pseudo-header.
    pub fn super_packet(self, look: &Look, payload: &[u8], size: u16) -> (Header, Vec<u8>) {
        let mut packet = self.unsummed(look, payload);
        let transport = if self.v6 { 40 } else { 20 };
        let offset = if self.udp { 6 } else { 16 };
        let partial = pseudo_sum(&packet, transport);
        packet[transport + offset..][..2].copy_from_slice(&partial.to_be_bytes());
        let header = Header {
            checksum: Some(Checksum { start: transport as u16, offset: offset as u16 }),
            gso: Some(Gso { kind: self.kind(), size }),
            header_len: self.headers(look) as u16,
        };
        (header, packet)
    }

    pub fn kind(self) -> Kind {
        match (self.udp, self.v6) {
            (true, _) => Kind::Udp,
            (false, false) => Kind::TcpV4,
            (false, true) => Kind::TcpV6,
        }
    }

    fn unsummed(self, look: &Look, payload: &[u8]) -> Vec<u8> {
        let transport = self.transport(look, payload);
        let mut packet = Vec::new();
        let protocol = if self.udp { 17 } else { 6 };
        let len = transport.len() as u16;
        if self.v6 {
            packet.extend([0x60 | look.tos >> 4, look.tos << 4, 0, 9]);
            packet.extend(len.to_be_bytes());
            packet.extend([protocol, look.ttl]);
            packet.extend([0xfd; 15]);
            packet.push(self.number);
            packet.extend([0xfe; 16]);
        } else {
            packet.extend([0x45, look.tos]);
            packet.extend((20 + len).to_be_bytes());
            packet.extend(look.id.to_be_bytes());
            packet.extend([if look.dont_fragment { 0x40 } else { 0 }, 0, look.ttl, protocol, 0, 0]);
            packet.extend([100, 64, 0, self.number, 100, 64, 0, 200]);
            let checksum = !slow_sum(&[&packet]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        packet.extend(transport);
        packet
    }

    fn transport(self, look: &Look, payload: &[u8]) -> Vec<u8> {
        let mut transport = vec![0x30, self.number, 0x14, 0x51];
        if self.udp {
            transport.extend((8 + payload.len() as u16).to_be_bytes());
            transport.extend([0, 0]);
        } else {
            transport.extend(look.sequence.to_be_bytes());
            transport.extend(look.ack.to_be_bytes());
            transport.extend([((20 + look.options.len()) / 4 * 16) as u8, look.flags]);
            transport.extend(look.window.to_be_bytes());
            transport.extend([0; 4]);
            transport.extend(&look.options);
        }
        transport.extend(payload);
        transport
    }
}

/// The sum of the pseudo-header alone.
pub fn pseudo_sum(packet: &[u8], transport: usize) -> u16 {
    let v6 = packet[0] >> 4 == 6;
    let (addresses, protocol) = if v6 { (&packet[8..40], packet[6]) } else { (&packet[12..20], packet[9]) };
    slow_sum(&[addresses, &[0, protocol], &((packet.len() - transport) as u16).to_be_bytes()])
}

/// The sum of the pseudo-header and everything behind the IP header; 0xffff in a whole packet.
pub fn transport_sum(packet: &[u8], transport: usize) -> u16 {
    slow_sum(&[&pseudo_sum(packet, transport).to_be_bytes(), &packet[transport..]])
}

/// Whether all lengths and checksums of a packet of TCP or UDP without IP options are right.
pub fn is_whole(packet: &[u8]) -> bool {
    let v6 = packet[0] >> 4 == 6;
    let transport = if v6 { 40 } else { 20 };
    let stated = u16::from_be_bytes(if v6 { [packet[4], packet[5]] } else { [packet[2], packet[3]] });
    let protocol = packet[if v6 { 6 } else { 9 }];
    let lengths = usize::from(stated) + if v6 { 40 } else { 0 } == packet.len()
        && (protocol != 17
            || usize::from(u16::from_be_bytes([packet[transport + 4], packet[transport + 5]]))
                == packet.len() - transport);
    lengths && (v6 || slow_sum(&[&packet[..20]]) == 0xffff) && transport_sum(packet, transport) == 0xffff
}

/// What the kernel makes of what is written to the device: segments of a super-packet, or the packet.
pub fn expand(written: &[u8]) -> Vec<Vec<u8>> {
    let header = Header::decode(written[..vnet::LEN].try_into().unwrap()).unwrap();
    let packet = &written[vnet::LEN..];
    let Some(gso) = header.gso else {
        assert_eq!(header, Header::default());
        return vec![packet.to_vec()];
    };
    let v6 = packet[0] >> 4 == 6;
    let checksum = header.checksum.expect("a super-packet needs its checksum completed");
    let transport = usize::from(checksum.start);
    assert_eq!(transport, if v6 { 40 } else { 20 });
    let udp = gso.kind == Kind::Udp;
    assert_eq!(packet[if v6 { 6 } else { 9 }], if udp { 17 } else { 6 });
    assert_eq!(checksum.offset, if udp { 6 } else { 16 });
    let at = transport + usize::from(checksum.offset);
    assert_eq!(
        packet[at..at + 2],
        pseudo_sum(packet, transport).to_be_bytes(),
        "the field holds the pseudo-header's sum"
    );
    let headers = transport + if udp { 8 } else { usize::from(packet[transport + 12] >> 4) * 4 };
    assert_eq!(usize::from(header.header_len), headers);
    let payload = &packet[headers..];
    assert!(payload.len() > usize::from(gso.size), "one segment is no super-packet");
    let count = payload.chunks(gso.size.into()).len();
    let segment = |(i, part): (usize, &[u8])| {
        let mut segment = [&packet[..headers], part].concat();
        let len = segment.len() as u16;
        if v6 {
            segment[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        } else {
            segment[2..4].copy_from_slice(&len.to_be_bytes());
            let id = u16::from_be_bytes([packet[4], packet[5]]).wrapping_add(i as u16);
            segment[4..6].copy_from_slice(&id.to_be_bytes());
            segment[10..12].fill(0);
            let checksum = !slow_sum(&[&segment[..20]]);
            segment[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        if udp {
            segment[transport + 4..transport + 6].copy_from_slice(&(len - transport as u16).to_be_bytes());
        } else {
            let first = u32::from_be_bytes(packet[transport + 4..transport + 8].try_into().unwrap());
            let sequence = first.wrapping_add((i * usize::from(gso.size)) as u32);
            segment[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
            if i + 1 < count {
                segment[transport + 13] &= !(FIN | PSH);
            }
            if i > 0 {
                segment[transport + 13] &= !CWR;
            }
        }
        segment[at..at + 2].fill(0);
        let checksum = match !transport_sum(&segment, transport) {
            0 => 0xffff,
            checksum => checksum,
        };
        segment[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        segment
    };
    payload.chunks(gso.size.into()).enumerate().map(segment).collect()
}

pub fn batch(packets: &[Vec<u8>]) -> Batch<Plain> {
    let mut batch = Pool::default().batch(Class::Receive);
    for packet in packets {
        batch.push(packet).unwrap();
    }
    batch
}

/// The bytes of every write that `packets` are gathered into.
pub fn gathered(packets: &[Vec<u8>], offload: Offload) -> Vec<Vec<u8>> {
    gathered_batch(&batch(packets), offload)
}

pub fn gathered_batch(batch: &Batch<Plain>, offload: Offload) -> Vec<Vec<u8>> {
    let mut gather = Gather::default();
    // A plan leaves nothing behind for the next.
    gather.plan(batch, offload);
    gather.plan(batch, offload);
    let writes: Vec<_> = (0..gather.len())
        .map(|n| {
            let write = gather.write(n, batch).unwrap();
            let mut slices = [std::io::IoSlice::new(&[]); MAX_SLICES];
            let count = write.slices(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            if let Some(packet) = write.alone() {
                assert_eq!(bytes, [&[0; vnet::LEN], packet].concat());
            }
            bytes
        })
        .collect();
    let mut members: Vec<_> = (0..gather.len()).flat_map(|n| gather.members(n)).collect();
    members.sort_unstable();
    assert!(members.into_iter().eq(0..batch.len()), "every packet is written once");
    writes
}

pub fn payload(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(7).wrapping_add(seed)).collect()
}

pub fn any_flow() -> impl Strategy<Value = Flow> {
    (any::<bool>(), any::<bool>(), 0u8..4).prop_map(|(v6, udp, number)| Flow { v6, udp, number })
}

pub fn any_look() -> impl Strategy<Value = Look> {
    let flags =
        prop_oneof![8 => Just(ACK), 2 => Just(ACK | PSH), 1 => Just(ACK | FIN | PSH), 1 => Just(ACK | CWR)];
    (any::<u32>(), flags, 0usize..=10, any::<u16>(), any::<bool>(), any::<u8>()).prop_map(
        |(sequence, flags, words, id, dont_fragment, tos)| Look {
            sequence,
            flags,
            options: vec![1; words * 4],
            id,
            dont_fragment,
            tos,
            ..Look::default()
        },
    )
}
