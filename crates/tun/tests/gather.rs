//! Whether flows are gathered where the rules allow it and only there, and whether no packet is lost, changed or overtaken.

mod model;

use std::collections::BTreeMap;

use model::*;
use proptest::prelude::*;
use tidewire_tun::gather::Offload;

const TCP: Flow = Flow { v6: false, udp: false, number: 1 };
const UDP: Flow = Flow { v6: false, udp: true, number: 1 };
const TCP6: Flow = Flow { v6: true, udp: false, number: 1 };
const UDP6: Flow = Flow { v6: true, udp: true, number: 1 };

/// Packets of `lens` bytes of payload each, one after the other without a gap.
fn stream(flow: Flow, lens: &[usize]) -> Vec<Vec<u8>> {
    let mut look = Look::default();
    lens.iter()
        .map(|&len| {
            let packet = flow.packet(&look, &payload(len, len as u8));
            look.sequence = look.sequence.wrapping_add(len as u32);
            look.id = look.id.wrapping_add(1);
            packet
        })
        .collect()
}

/// How many packets each write carries.
fn counts(packets: &[Vec<u8>], offload: Offload) -> Vec<usize> {
    gathered(packets, offload).iter().map(|write| expand(write).len()).collect()
}

/// That `packets`, gathered, are the same packets in the same order.
fn same(packets: &[Vec<u8>]) -> bool {
    gathered(packets, BOTH).iter().flat_map(|write| expand(write)).eq(packets.iter().cloned())
}

#[test]
fn segments_of_one_flow_are_one_write() {
    for flow in [TCP, UDP, TCP6, UDP6] {
        let packets = stream(flow, &[1300; 40]);
        assert_eq!(counts(&packets, BOTH), [40], "{flow:?}");
        assert!(same(&packets));
    }
}

#[test]
fn a_shorter_segment_ends_a_run() {
    for flow in [TCP, UDP6] {
        let packets = stream(flow, &[1300, 1300, 200, 1300, 1300, 1300]);
        assert_eq!(counts(&packets, BOTH), [3, 3]);
        assert!(same(&packets));
    }
}

#[test]
fn a_longer_segment_begins_a_run() {
    for flow in [TCP6, UDP] {
        let packets = stream(flow, &[200, 1300, 1300]);
        assert_eq!(counts(&packets, BOTH), [1, 2]);
        assert!(same(&packets));
    }
}

#[test]
fn psh_ends_a_run_and_is_kept() {
    let mut packets = stream(TCP, &[1000; 6]);
    packets[2] = TCP
        .packet(&Look { sequence: 3000, id: 4713, flags: ACK | PSH, ..Look::default() }, &payload(1000, 0));
    assert_eq!(counts(&packets, BOTH), [3, 3]);
    assert!(same(&packets));
}

#[test]
fn a_packet_with_psh_is_joined_by_nobody() {
    let mut packets = stream(TCP, &[1000; 3]);
    packets[0] = TCP.packet(&Look { flags: ACK | PSH, ..Look::default() }, &payload(1000, 0));
    assert_eq!(counts(&packets, BOTH), [1, 2]);
}

#[test]
fn a_gap_or_a_repetition_ends_a_run() {
    let packets = stream(TCP, &[1000; 6]);
    let gap: Vec<_> = [0, 1, 3, 4].map(|i| packets[i].clone()).into();
    assert_eq!(counts(&gap, BOTH), [2, 2]);
    let again: Vec<_> = [0, 1, 1, 2].map(|i| packets[i].clone()).into();
    assert_eq!(counts(&again, BOTH), [2, 2]);
    let swapped: Vec<_> = [1, 0].map(|i| packets[i].clone()).into();
    assert_eq!(counts(&swapped, BOTH), [1, 1]);
}

#[test]
fn any_difference_in_the_headers_ends_a_run() {
    let first = Look::default();
    let next = Look { sequence: 2000, id: 4712, ..Look::default() };
    let pair = |flow: Flow, next: &Look| {
        counts(&[flow.packet(&first, &payload(1000, 1)), flow.packet(next, &payload(1000, 2))], BOTH).len()
    };
    let differing = [
        Look { ack: 78, ..next.clone() },
        Look { window: 501, ..next.clone() },
        Look { options: vec![1; 12], ..next.clone() },
        Look { options: vec![], ..next.clone() },
        Look { tos: 0x10, ..next.clone() },
        Look { ttl: 63, ..next.clone() },
        Look { flags: ACK | SYN, ..next.clone() },
        Look { flags: ACK | FIN, ..next.clone() },
        Look { flags: ACK | CWR, ..next.clone() },
        Look { flags: 0, ..next.clone() },
    ];
    for flow in [TCP, TCP6] {
        assert_eq!(pair(flow, &next), 1);
        for next in &differing {
            assert_eq!(pair(flow, next), 2, "{flow:?} {next:?}");
        }
    }
    for flow in [UDP, UDP6] {
        assert_eq!(pair(flow, &next), 1);
        assert_eq!(pair(flow, &Look { tos: 0x10, ..next.clone() }), 2);
        assert_eq!(pair(flow, &Look { ttl: 63, ..next.clone() }), 2);
    }
    assert_eq!(pair(TCP, &Look { dont_fragment: false, ..next }), 2);
}

#[test]
fn where_fragments_could_need_it_the_identification_counts_up() {
    let look = |sequence, id| Look { sequence, id, dont_fragment: false, ..Look::default() };
    let pair = |id| [TCP.packet(&look(1000, 9), &[1; 100]), TCP.packet(&look(1100, id), &[2; 100])];
    assert_eq!(counts(&pair(10), BOTH), [2]);
    assert!(same(&pair(10)));
    assert_eq!(counts(&pair(9), BOTH), [1, 1]);
    assert_eq!(counts(&pair(11), BOTH), [1, 1]);
}

#[test]
fn a_wrong_checksum_stays_visible() {
    for flow in [TCP, UDP, TCP6, UDP6] {
        for bad in 0..3 {
            let mut packets = stream(flow, &[1000; 3]);
            *packets[bad].last_mut().unwrap() ^= 1;
            assert!(same(&packets), "{flow:?}");
            let alone = gathered(&packets, BOTH).iter().any(|write| write[10..] == packets[bad]);
            assert!(alone, "{flow:?}: the bad packet is written as it came");
        }
    }
    let mut packets = stream(TCP, &[1000; 2]);
    packets[1][8] = packets[0][8];
    packets[1][10] ^= 0x40;
    assert_eq!(counts(&packets, BOTH), [1, 1], "IPv4's own checksum counts, too");
}

#[test]
fn flows_that_are_mixed_are_gathered_each() {
    let flows = [TCP, UDP, TCP6, UDP6, Flow { number: 2, ..TCP }, Flow { number: 3, ..UDP6 }];
    let streams: Vec<_> = flows.iter().map(|flow| stream(*flow, &[1200; 30])).collect();
    let mixed: Vec<_> = (0..30).flat_map(|i| streams.iter().map(move |packets| packets[i].clone())).collect();
    let writes = gathered(&mixed, BOTH);
    assert_eq!(writes.len(), flows.len());
    for (write, packets) in writes.iter().zip(&streams) {
        assert_eq!(expand(write), *packets);
    }
}

#[test]
fn nothing_overtakes_a_packet_of_its_flow_that_stays_alone() {
    // A pure acknowledgement between data: it is written between.
    let mut packets = stream(TCP, &[1000; 4]);
    packets.insert(2, TCP.packet(&Look { sequence: 3000, ..Look::default() }, &[]));
    assert_eq!(counts(&packets, BOTH), [2, 1, 2]);
    assert!(same(&packets));
    // A datagram without a checksum, likewise.
    let mut packets = stream(UDP, &[1000; 4]);
    packets[1][26..28].fill(0);
    assert_eq!(counts(&packets, BOTH), [1, 1, 2]);
    assert!(same(&packets));
}

#[test]
fn fragments_options_and_extension_headers_are_written_alone() {
    for change in [|p: &mut Vec<u8>| p[6] |= 0x20, |p: &mut Vec<u8>| p[7] = 1] {
        let mut packets = stream(TCP, &[1000; 3]);
        for packet in &mut packets {
            change(packet);
            packet[10..12].fill(0);
            let checksum = !slow_sum(&[&packet[..20]]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        assert_eq!(counts(&packets, BOTH), [1, 1, 1]);
        assert!(same(&packets));
    }
    let mut options = stream(UDP, &[1000; 2]);
    for packet in &mut options {
        packet[0] = 0x46;
        packet.splice(20..20, [1; 4]);
    }
    assert_eq!(counts(&options, BOTH), [1, 1]);
    let mut extended = stream(TCP6, &[1000; 2]);
    extended.iter_mut().for_each(|packet| packet[6] = 60);
    assert_eq!(counts(&extended, BOTH), [1, 1]);
}

#[test]
fn lengths_that_do_not_agree_are_written_as_they_came() {
    for (at, flow) in [(3, TCP), (5, TCP6), (25, UDP), (45, UDP6)] {
        let mut packets = stream(flow, &[1000; 3]);
        packets.iter_mut().for_each(|packet| packet[at] ^= 1);
        assert_eq!(counts(&packets, BOTH), [1, 1, 1]);
        let mut padded = stream(flow, &[1000; 3]);
        padded.iter_mut().for_each(|packet| packet.extend([0; 4]));
        assert_eq!(counts(&padded, BOTH), [1, 1, 1]);
    }
}

#[test]
fn a_super_packet_is_no_longer_than_a_packet_can_be() {
    assert_eq!(counts(&stream(TCP, &[1400; 60]), BOTH), [46, 14]);
    assert_eq!(counts(&stream(UDP6, &[1400; 60]), BOTH), [46, 14]);
}

#[test]
fn a_super_packet_has_no_more_segments_than_the_kernel_takes() {
    assert_eq!(counts(&stream(UDP, &[20; 200]), BOTH), [64, 64, 64, 8]);
    assert_eq!(counts(&stream(TCP, &[20; 200]), BOTH), [128, 72]);
}

#[test]
fn what_the_device_does_not_take_is_written_alone() {
    let packets = [stream(TCP, &[1000; 3]), stream(UDP, &[1000; 3])].concat();
    assert_eq!(counts(&packets, Offload { tcp: true, udp: false }), [3, 1, 1, 1]);
    assert_eq!(counts(&packets, Offload { tcp: false, udp: true }), [1, 1, 1, 3]);
    assert_eq!(counts(&packets, Offload::default()), [1; 6]);
}

/// A packet of a stream, or one that disturbs it.
#[derive(Clone, Debug)]
enum Step {
    Data { len: usize, psh: bool },
    Skip(u32),
    Spoiled { at: usize },
    Ack,
    Noise(Vec<u8>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (prop_oneof![6 => Just(1000), 1 => Just(300), 1 => 1usize..1400], prop::bool::weighted(0.1))
            .prop_map(|(len, psh)| Step::Data { len, psh }),
        2 => (1u32..3000).prop_map(Step::Skip),
        1 => (0usize..1100).prop_map(|at| Step::Spoiled { at }),
        1 => Just(Step::Ack),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Step::Noise),
    ]
}

/// What the packets of a flow are known by, to compare their order; empty for what belongs to none.
fn flow_of(packet: &[u8]) -> Vec<u8> {
    let stated = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let is_flow = |protocol: u8| protocol == 6 || protocol == 17;
    match packet.first() {
        Some(0x45) if packet.len() >= 24 => {
            let is_whole = stated(2) == packet.len() && stated(6) & 0x3fff == 0;
            if is_whole && is_flow(packet[9]) {
                [&packet[9..10], &packet[12..24]].concat()
            } else {
                Vec::new()
            }
        }
        Some(0x60..=0x6f) if packet.len() >= 44 => {
            let is_whole = stated(4) + 40 == packet.len();
            if is_whole && is_flow(packet[6]) { [&packet[6..7], &packet[8..44]].concat() } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

/// Packets by flow, in order, without IPv4's identification where nobody needs it.
fn by_flow(packets: impl Iterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut flows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for mut packet in packets {
        if packet.first() == Some(&0x45)
            && packet.len() >= 20
            && packet[6] & 0x40 != 0
            && slow_sum(&[&packet[..20]]) == 0xffff
        {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
        flows.entry(flow_of(&packet)).or_default().push(packet);
    }
    flows
}

proptest! {
    #[test]
    fn every_flow_keeps_its_packets_and_their_order(
        steps in prop::collection::vec((any_flow(), any_step()), 1..150),
        dont_fragment: bool,
        tcp: bool,
        udp: bool,
    ) {
        let mut looks: BTreeMap<Flow, Look> = BTreeMap::new();
        let mut packets = Vec::new();
        for (flow, step) in steps {
            let look = looks.entry(flow).or_insert_with(|| Look { dont_fragment, ..Look::default() });
            match step {
                Step::Data { len, psh } => {
                    let flags = if psh { ACK | PSH } else { ACK };
                    packets.push(flow.packet(&Look { flags, ..look.clone() }, &payload(len, flow.number)));
                    look.sequence = look.sequence.wrapping_add(len as u32);
                    look.id = look.id.wrapping_add(1);
                }
                Step::Skip(bytes) => look.sequence = look.sequence.wrapping_add(bytes),
                Step::Spoiled { at } => {
                    let mut packet = flow.packet(look, &payload(1000, 0));
                    let at = at % packet.len();
                    packet[at] ^= 0x11;
                    packets.push(packet);
                }
                Step::Ack => packets.push(flow.packet(look, &[])),
                Step::Noise(bytes) => packets.push(bytes),
            }
        }
        let writes = gathered(&packets, Offload { tcp, udp });
        prop_assert!(writes.len() <= packets.len());
        let read = by_flow(writes.iter().flat_map(|write| expand(write)));
        prop_assert!(read == by_flow(packets.into_iter()), "a packet was lost, changed or overtaken");
    }

    #[test]
    fn what_was_cut_is_gathered_into_what_it_was(
        flow in any_flow(),
        look in any_look(),
        size in 8u16..1400,
        segments in 2usize..46,
        short in 0usize..1400,
    ) {
        let flags = look.flags & (ACK | PSH);
        let look = Look { flags, ..look };
        let len = usize::from(size) * segments - short % usize::from(size);
        let (header, packet) = flow.super_packet(&look, &payload(len, 9), size);
        let written = [&header.encode()[..], &packet].concat();
        let cut = expand(&written);
        prop_assert_eq!(cut.len(), segments);
        prop_assert!(gathered(&cut, BOTH) == [written], "it is not what it was");
    }

    #[test]
    fn any_bytes_are_written_as_they_came_or_intact(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..20)) {
        prop_assert!(same(&packets));
    }
}
