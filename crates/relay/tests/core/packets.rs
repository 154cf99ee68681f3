//! Where packets go.

use tidewire_relay::core::{Discard, Limits};

use crate::rig::{Got, Rig, disco, key, send_packet};

#[test]
fn a_packet_goes_to_the_key_it_names_and_says_who_sent_it() {
    let mut rig = Rig::new();
    let (a, b, c) = (rig.login(1), rig.login(2), rig.login(3));
    rig.dirty();
    rig.send(a, b.key, b"hello");
    assert_eq!(rig.dirty(), [b.id]);
    assert_eq!(rig.frames(b.id), [Got::Packet(a.key, b"hello".to_vec())]);
    assert_eq!((rig.frames(a.id), rig.frames(c.id)), (vec![], vec![]));
}

#[test]
fn empty_packets_and_packets_to_oneself_are_delivered() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    rig.send(a, a.key, b"");
    rig.send(a, a.key, b"me");
    assert_eq!(rig.frames(a.id), [Got::Packet(a.key, vec![]), Got::Packet(a.key, b"me".to_vec())]);
}

/// TRAP: the limit is on the packet. The frame around it is longer.
#[test]
fn the_largest_packet_passes_and_one_byte_more_does_not() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    let largest = vec![7; 65_536];
    rig.send(a, b.key, &largest);
    assert_eq!(rig.packets(b), [largest]);
    rig.bytes(a.id, &[4, 0, 1, 0, 33]);
    let (_, reason) = rig.end(a.id);
    assert!(matches!(reason, tidewire_relay::Closed::Frame(_)));
}

#[test]
fn a_relay_may_carry_only_shorter_ones() {
    let mut rig = Rig::with_limits(Limits { packet_bytes: 1500, ..Limits::default() });
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, &[1; 1501]);
    rig.send(a, b.key, &[2; 1500]);
    assert_eq!(rig.packets(b), [vec![2; 1500]]);
    assert_eq!(rig.core.stats().discarded(Discard::TooLong), 1);
}

#[test]
fn packets_to_nobody_vanish_and_are_counted() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    rig.send(a, key(9), b"data");
    assert_eq!(rig.frames(a.id), []);
    assert_eq!(rig.core.stats().discarded(Discard::Absent), 1);
}

#[test]
fn many_frames_in_one_piece_reach_many_clients_in_order() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    let others: Vec<_> = (2..10).map(|byte| rig.login(byte)).collect();
    rig.dirty();
    let mut bytes = Vec::new();
    for number in 0..40_u8 {
        bytes.extend(send_packet(others[usize::from(number) % others.len()].key, &[number]));
    }
    rig.bytes(a.id, &bytes);
    assert_eq!(rig.dirty().len(), others.len(), "each is named once");
    for (at, other) in others.into_iter().enumerate() {
        let expected: Vec<_> = (at as u8..40).step_by(8).map(|number| vec![number]).collect();
        assert_eq!(rig.packets(other), expected);
    }
}

#[test]
fn any_split_of_the_stream_gives_the_same_packets() {
    let packets: Vec<Vec<u8>> = (0..30).map(|at| vec![at as u8; at * 97]).collect();
    for size in [1, 3, 5, 36, 37, 38, 1000, 16_384] {
        let mut rig = Rig::new();
        let (a, b) = (rig.login(1), rig.login(2));
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| send_packet(b.key, packet)).collect();
        for piece in bytes.chunks(size) {
            rig.bytes(a.id, piece);
        }
        assert_eq!(rig.packets(b), packets, "pieces of {size}");
    }
}

#[test]
fn disco_overtakes_data_and_keeps_its_own_order() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    for number in 0..3 {
        rig.send(a, b.key, &[number; 100]);
        rig.send(a, b.key, &disco(number));
    }
    let expected: Vec<_> = (0..3).map(disco).chain((0..3).map(|number| vec![number; 100])).collect();
    assert_eq!(rig.packets(b), expected);
}

/// What looks like disco but is too short for one is data.
#[test]
fn a_short_one_with_the_magic_is_data() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, b"first");
    rig.send(a, b.key, &disco(1)[..61]);
    assert_eq!(rig.packets(b), [b"first".to_vec(), disco(1)[..61].to_vec()]);
}

#[test]
fn a_route_is_not_used_after_its_client_left() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, b"one");
    rig.core.disconnect(b.id, tidewire_relay::Closed::Left);
    rig.send(a, b.key, b"two");
    let b = rig.login(2);
    rig.send(a, b.key, b"three");
    assert_eq!(rig.packets(b), [b"three"]);
    assert_eq!(rig.core.stats().discarded(Discard::Absent), 1);
    assert_eq!(rig.core.stats().discarded(Discard::ReceiverLeft), 1);
}
