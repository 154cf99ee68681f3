//! Whether super-packets are cut as the kernel itself would cut them, and laid out so that sealing leaves them back to back.

mod model;

use model::*;
use proptest::prelude::*;
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tun::{
    segment::{Cut, Malformed, SuperPacket, complete},
    vnet::{Checksum, Gso, Header, Kind},
};

const LIMIT: usize = 65_507;

/// Cuts into as many batches as it takes.
fn cut(header: &Header, packet: &[u8], mtu: usize, limit: usize) -> Vec<Vec<Vec<u8>>> {
    let pool = Pool::default();
    let mut left = SuperPacket::parse(header, packet, packet.len()).unwrap().expect("a super-packet");
    let mut batches = Vec::new();
    loop {
        let mut batch: Batch<Plain> = pool.batch(Class::Send);
        let cut = left.cut(packet, &mut batch, mtu, limit);
        assert!(!batch.is_empty(), "each batch takes at least one");
        batches.push(batch.iter().map(<[u8]>::to_vec).collect());
        if cut == Cut::All {
            assert_eq!(left.cut(packet, &mut batch, mtu, limit), Cut::All);
            return batches;
        }
    }
}

fn written(header: &Header, packet: &[u8]) -> Vec<u8> {
    [&header.encode()[..], packet].concat()
}

proptest! {
    #[test]
    fn super_packets_are_cut_as_the_kernel_cuts_them(
        flow in any_flow(),
        look in any_look(),
        len in 2usize..20_000,
        size in 1u16..2000,
        limit in 2000usize..80_000,
    ) {
        let size = size.max((len / 300) as u16 + 1);
        prop_assume!(len > usize::from(size));
        let (header, packet) = flow.super_packet(&look, &payload(len, 3), size);
        let segments = cut(&header, &packet, 1420, limit).concat();
        prop_assert!(segments.iter().all(|segment| is_whole(segment)));
        prop_assert!(segments == expand(&written(&header, &packet)), "the kernel cuts otherwise");
    }

    #[test]
    fn any_bytes_are_cut_or_refused(header: [u8; 10], front in prop::collection::vec(any::<u8>(), 0..200), len in 0usize..70_000) {
        let Ok(header) = Header::decode(&header) else { return Ok(()) };
        let mut packet = front;
        let whole = packet.len().max(len);
        let parsed = SuperPacket::parse(&header, &packet, whole);
        packet.resize(whole, 0x55);
        if let Ok(Some(mut super_packet)) = parsed {
            let pool = Pool::default();
            let mut segments = 0;
            loop {
                let mut batch: Batch<Plain> = pool.batch(Class::Send);
                let cut = super_packet.cut(&packet, &mut batch, 1280, LIMIT);
                segments += batch.len();
                if cut == Cut::All {
                    break;
                }
                prop_assert!(!batch.is_empty());
            }
            prop_assert!(segments > 0);
        }
        let before = packet.clone();
        if complete(&header, &mut packet).is_err() {
            prop_assert_eq!(before, packet);
        }
    }
}

#[test]
fn full_segments_lie_back_to_back_once_sealed() {
    let flow = Flow { v6: false, udp: false, number: 1 };
    let size = 1420 - flow.headers(&Look::default());
    let (header, packet) = flow.super_packet(&Look::default(), &payload(40 * size, 1), size as u16);
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Send);
    let mut super_packet = SuperPacket::parse(&header, &packet, packet.len()).unwrap().unwrap();
    assert_eq!(super_packet.cut(&packet, &mut batch, 1420, LIMIT), Cut::All);
    assert_eq!(batch.len(), 40);
    for pair in batch.spans().windows(2) {
        assert_eq!(pair[1].start() - pair[0].start(), 16 + 1420 + 16);
        assert_eq!(pair[0].len(), 1420);
    }
}

#[test]
fn a_batch_takes_what_one_send_carries_and_the_rest_goes_into_the_next() {
    let flow = Flow { v6: false, udp: false, number: 1 };
    let size = 1420 - flow.headers(&Look::default());
    let (header, packet) = flow.super_packet(&Look::default(), &payload(47 * size, 1), size as u16);
    let lens: Vec<_> = cut(&header, &packet, 1420, LIMIT).iter().map(Vec::len).collect();
    assert_eq!(lens, [45, 2]);
}

#[test]
fn segments_at_another_mtu_lie_back_to_back_with_their_padding() {
    // 1368 is what padding to 16 makes of 1360 + 8 headers; the MTU caps it nowhere.
    let flow = Flow { v6: false, udp: true, number: 1 };
    let (header, packet) = flow.super_packet(&Look::default(), &payload(4 * 1001, 1), 1001);
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Send);
    let mut super_packet = SuperPacket::parse(&header, &packet, packet.len()).unwrap().unwrap();
    assert_eq!(super_packet.cut(&packet, &mut batch, 1420, LIMIT), Cut::All);
    for pair in batch.spans().windows(2) {
        assert_eq!(pair[1].start() - pair[0].start(), 16 + 1040 + 16);
    }
}

#[test]
fn fin_and_psh_are_the_last_segments_and_cwr_is_the_firsts() {
    let flow = Flow { v6: true, udp: false, number: 1 };
    let look = Look { flags: ACK | FIN | PSH | CWR, ..Look::default() };
    let (header, packet) = flow.super_packet(&look, &payload(3000, 1), 1000);
    let flags: Vec<_> =
        cut(&header, &packet, 1420, LIMIT).concat().iter().map(|segment| segment[53]).collect();
    assert_eq!(flags, [ACK | CWR, ACK, ACK | FIN | PSH]);
}

#[test]
fn sequence_numbers_and_identifications_wrap() {
    let flow = Flow { v6: false, udp: false, number: 1 };
    let look = Look { sequence: u32::MAX - 500, id: u16::MAX, ..Look::default() };
    let (header, packet) = flow.super_packet(&look, &payload(3000, 1), 1000);
    let segments = cut(&header, &packet, 1420, LIMIT).concat();
    let sequences: Vec<_> =
        segments.iter().map(|s| u32::from_be_bytes(s[24..28].try_into().unwrap())).collect();
    assert_eq!(sequences, [u32::MAX - 500, 499, 1499]);
    let ids: Vec<_> = segments.iter().map(|s| u16::from_be_bytes([s[4], s[5]])).collect();
    assert_eq!(ids, [u16::MAX, 0, 1]);
}

#[test]
fn ipv6_extension_headers_stay_in_front() {
    let flow = Flow { v6: true, udp: true, number: 1 };
    let (mut header, packet) = flow.super_packet(&Look::default(), &payload(2000, 1), 1000);
    // A destination options header of eight bytes between IPv6 and UDP.
    let mut extended = [&packet[..40], &[17, 0, 1, 4, 0, 0, 0, 0], &packet[40..]].concat();
    extended[6] = 60;
    header.checksum = Some(Checksum { start: 48, offset: 6 });
    let segments = cut(&header, &extended, 1420, LIMIT).concat();
    assert_eq!(segments.len(), 2);
    for (segment, part) in segments.iter().zip(payload(2000, 1).chunks(1000)) {
        assert_eq!(segment[40..48], extended[40..48]);
        assert_eq!(segment[56..], *part);
        assert_eq!(u16::from_be_bytes([segment[4], segment[5]]), 8 + 8 + 1000);
        let sum = slow_sum(&[&segment[8..40], &[0, 17], &1008u16.to_be_bytes(), &segment[48..]]);
        assert_eq!(sum, 0xffff);
    }
}

#[test]
fn an_ordinary_packet_gets_its_checksum_completed() {
    for flow in [Flow { v6: false, udp: true, number: 1 }, Flow { v6: true, udp: false, number: 2 }] {
        let (mut header, mut packet) = flow.super_packet(&Look::default(), &payload(99, 1), 1);
        header.gso = None;
        assert!(SuperPacket::parse(&header, &packet, packet.len()).unwrap().is_none());
        complete(&header, &mut packet).unwrap();
        assert!(is_whole(&packet));
        assert_eq!(packet, flow.packet(&Look::default(), &payload(99, 1)));
    }
}

#[test]
fn a_checksum_of_zero_is_written_as_ones() {
    let flow = Flow { v6: false, udp: true, number: 1 };
    // The payload makes the sum complete, so that its complement is zero.
    let (header, mut packet) = flow.super_packet(&Look::default(), &[0, 0], 1);
    let header = Header { gso: None, ..header };
    let mut bare = packet.clone();
    bare[26..28].fill(0);
    let missing = !transport_sum(&bare, 20);
    packet[28..30].copy_from_slice(&missing.to_be_bytes());
    complete(&header, &mut packet).unwrap();
    assert_eq!(packet[26..28], [0xff, 0xff]);
    assert!(is_whole(&packet));
}

#[test]
fn contradictions_are_refused() {
    let flow = Flow { v6: false, udp: false, number: 1 };
    let (good, packet) = flow.super_packet(&Look::default(), &payload(3000, 1), 1000);
    let parse = |header: Header, packet: &[u8]| SuperPacket::parse(&header, packet, packet.len()).map(|_| ());
    assert_eq!(parse(good, &packet), Ok(()));
    let gso = |kind, size| Header { gso: Some(Gso { kind, size }), ..good };
    assert_eq!(parse(gso(Kind::TcpV6, 1000), &packet), Err(Malformed::Headers));
    assert_eq!(parse(gso(Kind::Udp, 1000), &packet), Err(Malformed::Headers));
    assert_eq!(parse(gso(Kind::TcpV4, 0), &packet), Err(Malformed::Segments));
    assert_eq!(parse(gso(Kind::TcpV4, u16::MAX), &packet), Err(Malformed::Segments));
    let checksum = |start, offset| Header { checksum: Some(Checksum { start, offset }), ..good };
    assert_eq!(parse(checksum(24, 16), &packet), Err(Malformed::Headers));
    assert_eq!(parse(checksum(20, 6), &packet), Err(Malformed::Headers));
    assert_eq!(parse(good, &packet[..52]), Err(Malformed::Segments));
    assert_eq!(parse(good, &packet[..30]), Err(Malformed::Headers));
    assert_eq!(parse(good, &[]), Err(Malformed::Headers));
    let mut short_tcp = packet.clone();
    short_tcp[32] = 0x40;
    assert_eq!(parse(good, &short_tcp), Err(Malformed::Headers));
    let mut far = packet;
    let outside = Header { checksum: Some(Checksum { start: 2990, offset: 60 }), gso: None, header_len: 0 };
    assert_eq!(complete(&outside, &mut far[..3000]), Err(Malformed::Checksum));
}
