//! What each type of frame does, of the right size and of a wrong one.

use tidewire_derp::{
    Frame,
    frame::{GoneReason, Kind, header},
};
use tidewire_relay::core::Closed;

use crate::rig::{Got, Rig, encode, key, ms, read};

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(Kind::Ping, body.len()).to_vec();
    bytes[0] = kind;
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn a_ping_brings_its_first_eight_bytes_back() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    for len in [8, 9, 1000] {
        let body: Vec<u8> = (0..len).map(|at: u32| at as u8).collect();
        rig.bytes(a.id, &frame(0x12, &body));
        assert_eq!(rig.frames(a.id), [Got::Pong([0, 1, 2, 3, 4, 5, 6, 7])], "{len}");
    }
}

#[test]
fn only_one_pong_waits() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    for number in 0..5 {
        rig.bytes(a.id, &encode(Frame::Ping([number; 8])));
    }
    assert_eq!(rig.frames(a.id), [Got::Pong([0; 8])]);
    assert_eq!(rig.core.stats().pings_unanswered, 4);
    rig.bytes(a.id, &encode(Frame::Ping([9; 8])));
    assert_eq!(rig.frames(a.id), [Got::Pong([9; 8])]);
}

#[test]
fn what_is_wrong_enough_closes() {
    for (what, bytes) in [
        ("short ping", frame(0x12, &[0; 7])),
        ("long ping", frame(0x12, &[0; 1001])),
        ("short packet", frame(0x04, &[0; 31])),
        ("long packet", frame(0x04, &[0; 65_569])),
        ("empty preference", frame(0x07, &[])),
        ("long preference", frame(0x07, &[1, 1])),
    ] {
        let mut rig = Rig::new();
        let a = rig.login(1);
        rig.bytes(a.id, &bytes);
        let (_, reason) = rig.end(a.id);
        assert!(matches!(reason, Closed::Frame(_)), "{what}: {reason}");
    }
}

#[test]
fn mesh_frames_of_a_stranger_close() {
    for (kind, body) in [(Kind::WatchConns, 0), (Kind::ClosePeer, 32), (Kind::ForwardPacket, 64)] {
        let mut rig = Rig::new();
        let (a, b) = (rig.login(1), rig.login(2));
        rig.send(b, a.key, b"x");
        let mut body = vec![0; body];
        if body.len() >= 32 {
            body[..32].copy_from_slice(b.key.as_bytes());
        }
        rig.bytes(a.id, &frame(kind as u8, &body));
        let (bytes, reason) = rig.end(a.id);
        assert_eq!(reason, Closed::Mesh(kind));
        match &read(&bytes)[..] {
            [.., Got::Health(text)] => assert!(text.contains("mesh"), "{text}"),
            other => panic!("it is not told why: {other:?}"),
        }
        assert_eq!(rig.closed(b.id), None, "nobody else is harmed");
    }
    for (kind, len) in [(0x10, 1), (0x11, 31), (0x11, 33), (0x0a, 63)] {
        let mut rig = Rig::new();
        let a = rig.login(1);
        rig.bytes(a.id, &frame(kind, &vec![0; len]));
        assert!(matches!(rig.end(a.id).1, Closed::Frame(_)), "{kind:#x} of {len}");
    }
}

/// Server-to-client types, pongs and unknown types mean nothing from a client, of whatever size.
#[test]
fn what_means_nothing_does_not_close() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    for kind in [0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x08, 0x09, 0x13, 0x14, 0x15, 0x16, 0x7f, 0xff] {
        for len in [0, 1, 8, 31, 32, 40, 70_000] {
            rig.bytes(a.id, &frame(kind, &vec![0xaa; len]));
        }
    }
    // Longer than any buffer; nothing of it is kept.
    rig.bytes(a.id, &[0x30, 0, 0x80, 0, 0]);
    for _ in 0..128 {
        rig.bytes(a.id, &[0; 65_536]);
    }
    rig.bytes(a.id, &encode(Frame::Ping([1; 8])));
    assert_eq!(rig.frames(a.id), [Got::Pong([1; 8])]);
    assert_eq!(rig.core.stats().packets_in, 0);
}

#[test]
fn the_home_of_clients_is_counted() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    for (client, is_home, count) in [(a, true, 1), (a, true, 1), (b, true, 2), (a, false, 1), (a, false, 1)] {
        rig.bytes(client.id, &encode(Frame::NotePreferred(is_home)));
        assert_eq!(rig.core.stats().at_home, count);
    }
    rig.core.disconnect(b.id, Closed::Left);
    assert_eq!(rig.core.stats().at_home, 0);
}

#[test]
fn a_peer_gone_of_a_client_fools_nobody() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.bytes(a.id, &encode(Frame::PeerGone { peer: key(3), reason: GoneReason::Disconnected }));
    rig.wait(ms(10));
    assert_eq!((rig.frames(a.id), rig.frames(b.id)), (vec![], vec![]));
}
