//! The same frames in WebSocket messages.

use tidewire_derp::Frame;
use tidewire_relay::{Violation, core::Closed};

use crate::{
    rig::{Got, Rig, encode, key, ms, read, send_packet},
    wire::{WEBSOCKET, login, message, stream, unwrap},
};

#[test]
fn both_kinds_of_client_reach_each_other() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    let plain = rig.login(2);
    rig.bytes(browser, &message(0x82, &send_packet(plain.key, b"from the browser")));
    assert_eq!(rig.frames(plain.id), [Got::Packet(key(1), b"from the browser".to_vec())]);
    rig.send(plain, key(1), b"to the browser");
    let messages = unwrap(&rig.raw(browser));
    assert_eq!(read(&stream(&messages)), [Got::Packet(plain.key, b"to the browser".to_vec())]);
}

/// TRAP: message boundaries mean nothing, one frame may span messages and fragments.
#[test]
fn message_boundaries_mean_nothing() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    let plain = rig.login(2);
    let packets: Vec<Vec<u8>> = (0..20).map(|at| vec![at as u8; at * 400]).collect();
    let bytes: Vec<u8> = packets.iter().flat_map(|packet| send_packet(plain.key, packet)).collect();
    for (at, piece) in bytes.chunks(2048).enumerate() {
        let (front, back) = piece.split_at(piece.len() / 3);
        let all = match at % 3 {
            0 => message(0x82, piece),
            1 => [message(0x02, front), message(0x89, b"ping"), message(0x80, back)].concat(),
            _ => [message(0x82, b""), message(0x82, front), message(0x82, back)].concat(),
        };
        all.chunks(777).for_each(|piece| rig.bytes(browser, piece));
    }
    assert_eq!(rig.packets(plain), packets);
}

/// TRAP: Tailscale's own ends read messages of up to 32,768 bytes.
#[test]
fn what_is_sent_comes_in_short_messages() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    let plain = rig.login(2);
    rig.send(plain, key(1), &[7; 65_536]);
    for _ in 0..100 {
        rig.send(plain, key(1), &[7; 1400]);
    }
    let messages = unwrap(&rig.raw(browser));
    assert!(messages.iter().all(|(opcode, payload)| *opcode == 2 && payload.len() <= 32_768));
    assert_eq!(read(&stream(&messages)).len(), 101);
}

#[test]
fn pings_are_answered_and_not_without_end() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    rig.bytes(browser, &message(0x89, b"are you there"));
    assert_eq!(unwrap(&rig.raw(browser)), [(0x0a, b"are you there".to_vec())]);
    for _ in 0..100_000 {
        rig.bytes(browser, &message(0x89, &[0; 125]));
    }
    assert!(rig.raw(browser).len() < 8192, "one that does not read gets no more");
}

#[test]
fn a_close_is_answered() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    rig.bytes(browser, &message(0x88, &[0x03, 0xe8, b'b', b'y', b'e']));
    let (bytes, reason) = rig.end(browser);
    assert_eq!((unwrap(&bytes), reason), (vec![(8, vec![0x03, 0xe8])], Closed::Left));
}

#[test]
fn text_closes_with_1003_and_nonsense_with_1002() {
    for (bytes, violation, code) in [
        (message(0x81, b"hello"), Violation::Text, 1003_u16),
        (vec![0x82, 0x01, 0x00], Violation::Protocol, 1002),
    ] {
        let mut rig = Rig::new();
        let browser = login(&mut rig, 1);
        rig.bytes(browser, &bytes);
        let (bytes, reason) = rig.end(browser);
        assert_eq!(reason, Closed::WebSocket(violation));
        assert_eq!(unwrap(&bytes), [(8, code.to_be_bytes().to_vec())]);
    }
}

#[test]
fn an_end_for_another_reason_closes_with_1000() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    rig.bytes(browser, &message(0x82, &encode(Frame::WatchConns)));
    let (bytes, reason) = rig.end(browser);
    assert!(matches!(reason, Closed::Mesh(_)));
    let messages = unwrap(&bytes);
    assert!(matches!(&read(&stream(&messages))[..], [Got::Health(_)]));
    assert_eq!(messages[1..], [(8, 1000_u16.to_be_bytes().to_vec())]);
}

#[test]
fn a_shutdown_closes_with_1001_behind_what_it_has_to_say() {
    let mut rig = Rig::new();
    let browser = login(&mut rig, 1);
    rig.core.shutdown(rig.now, ms(0), ms(0));
    let (bytes, reason) = rig.end(browser);
    let messages = unwrap(&bytes);
    assert_eq!(reason, Closed::Shutdown);
    assert_eq!(messages.last(), Some(&(8, 1001_u16.to_be_bytes().to_vec())));
    assert!(matches!(read(&stream(&messages)).as_slice(), [Got::Health(_), Got::Restarting(..)]));
}

#[test]
fn a_foreign_subprotocol_closes_with_1008() {
    let mut rig = Rig::new();
    let id = rig.connect();
    rig.bytes(id, WEBSOCKET.replace("Protocol: derp", "Protocol: derper").as_bytes());
    let (bytes, reason) = rig.end(id);
    assert_eq!(reason, Closed::WebSocket(Violation::Subprotocol));
    assert!(bytes.starts_with(b"HTTP/1.1 101 ") && bytes.ends_with(&[0x88, 2, 0x03, 0xf0]));
}

/// A request for WebSocket without the subprotocol gets the plain stream, as from the original.
#[test]
fn without_the_subprotocol_the_stream_is_plain() {
    let mut rig = Rig::new();
    let id = rig.connect();
    rig.bytes(id, b"GET /derp HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    let bytes = rig.raw(id);
    assert!(bytes.starts_with(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n"));
    rig.wait(ms(10_000));
    assert_eq!(rig.closed(id), Some(Closed::SetupTimeout));
}
