//! The request in front of the frames.

use tidewire_relay::core::Closed;

use crate::rig::{Got, Rig, read};

#[test]
fn an_upgrade_and_the_relays_key_leave_together() {
    let mut rig = Rig::new();
    let id = rig.connect();
    rig.bytes(id, b"GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n");
    let mut bytes = Vec::new();
    rig.core.gather(rig.now, id, 16_384, &mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains(&format!("Derp-Public-Key: {}\r\n", rig.relay.public().to_hex())), "{head}");
    assert_eq!(read(&bytes[end..]), [Got::ServerKey]);
}

/// TRAP: a fast start gets no response, and the relay's key all the same.
#[test]
fn a_fast_start_gets_the_key_alone() {
    let mut rig = Rig::new();
    let id = rig.begin();
    assert_eq!(rig.frames(id), [Got::ServerKey]);
}

#[test]
fn other_requests_are_answered_and_that_is_all() {
    let mut rig = Rig::new();
    for (request, answer) in [
        ("GET /generate_204 HTTP/1.1\r\n\r\n", "HTTP/1.1 204"),
        ("GET /derp HTTP/1.1\r\n\r\n", "HTTP/1.1 426"),
        ("GET /else HTTP/1.1\r\n\r\nGET /pipelined HTTP/1.1\r\n\r\n", "HTTP/1.1 404"),
        ("\r\n\r\nGET /derp/probe HTTP/1.1\r\n\r\n", "HTTP/1.1 200"),
        ("\x16\x03\x01\x02\x00 TLS to a plain relay\n\n", "HTTP/1.1 400"),
    ] {
        let id = rig.connect();
        rig.bytes(id, request.as_bytes());
        rig.bytes(id, b"garbage behind it");
        let (bytes, reason) = rig.end(id);
        assert_eq!(reason, Closed::Answered);
        assert!(bytes.starts_with(answer.as_bytes()), "{request:?}: {:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(bytes.windows(9).filter(|window| window == b"HTTP/1.1 ").count(), 1);
    }
}

#[test]
fn a_huge_head_is_refused() {
    let mut rig = Rig::new();
    let id = rig.connect();
    rig.bytes(id, b"GET /derp HTTP/1.1\r\n");
    for _ in 0..1000 {
        rig.bytes(id, b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    }
    let (bytes, _) = rig.end(id);
    assert!(bytes.starts_with(b"HTTP/1.1 431 "));
}

#[test]
fn a_head_that_drips_in_is_closed_in_time() {
    let mut rig = Rig::new();
    let id = rig.connect();
    rig.bytes(id, b"GET /derp HTTP/1.1\r\n");
    for _ in 0..20 {
        rig.wait(crate::rig::ms(500));
        rig.bytes(id, b"X");
    }
    assert_eq!(rig.closed(id), Some(Closed::SetupTimeout));
}
