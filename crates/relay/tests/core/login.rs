//! Who gets in, and what the two ends say to each other on the way.

use tidewire_derp::{ClientInfo, Frame, LoginError, frame::Sealed};
use tidewire_keys::{NodePublic, NodeSecret, SharedBox};
use tidewire_relay::core::{Closed, Event, Limits};

use crate::rig::{Got, Rig, encode, key, read, secret, send_packet, server_info};

fn sealed_login(shared: &SharedBox, client: NodePublic, nonce: [u8; 24], json: &[u8]) -> Vec<u8> {
    let boxed = shared.seal(&nonce, json);
    encode(Frame::ClientInfo { key: client, sealed: Sealed { nonce: &nonce, boxed: &boxed } })
}

#[test]
fn the_relay_speaks_first_and_answers_a_login() {
    let mut rig = Rig::new();
    let id = rig.begin();
    assert_eq!(rig.frames(id), [Got::ServerKey]);
    let login = rig.login_frame(&secret(1));
    rig.bytes(id, &login);
    let info = server_info(&rig.shared(&secret(1)), &rig.raw(id));
    assert_eq!((info.version, info.rate), (2, None), "as the original says it");
    assert_eq!(rig.core.poll_event(), Some(Event::LoggedIn { id, key: key(1) }));
    assert_eq!(rig.core.stats().clients, 1);
}

#[test]
fn packets_may_follow_the_login_without_waiting_for_its_answer() {
    let mut rig = Rig::new();
    let receiver = rig.login(2);
    let id = rig.connect();
    let all = [
        crate::rig::FAST_START.as_bytes(),
        &rig.login_frame(&secret(1)),
        &send_packet(key(2), b"one"),
        &send_packet(key(2), b"two"),
    ]
    .concat();
    rig.bytes(id, &all);
    assert_eq!(rig.packets(receiver), [b"one", b"two"]);
}

#[test]
fn any_split_of_the_first_flight_gives_the_same() {
    for size in [1, 2, 7, 64, 100] {
        let mut rig = Rig::new();
        let receiver = rig.login(2);
        let id = rig.connect();
        let all =
            [crate::rig::FAST_START.as_bytes(), &rig.login_frame(&secret(1)), &send_packet(key(2), b"hello")]
                .concat();
        for piece in all.chunks(size) {
            rig.bytes(id, piece);
        }
        assert_eq!(rig.packets(receiver), [b"hello"], "pieces of {size}");
        assert_eq!(rig.frames(id), [Got::ServerKey, Got::ServerInfo]);
    }
}

/// TRAP: the JSON names are mixed, and read without regard to case; `{}` and `null` log in too.
#[test]
fn logins_are_read_as_laxly_as_the_original_does() {
    for (number, json) in [
        r#"{"version":2,"CanAckPings":true}"#,
        r#"{"can_ack_pings":true,"mesh_key":"none","version":2}"#,
        r#"{"VERSION":1,"AppName":"x","IsProber":true,"future":[1]}"#,
        "{}",
        "null",
    ]
    .into_iter()
    .enumerate()
    {
        let mut rig = Rig::new();
        let id = rig.begin();
        let login = sealed_login(&rig.shared(&secret(1)), key(1), [number as u8; 24], json.as_bytes());
        rig.bytes(id, &login);
        assert_eq!(rig.frames(id), [Got::ServerKey, Got::ServerInfo], "{json}");
    }
}

/// A well-formed mesh key that is not ours logs in as an ordinary client.
#[test]
fn a_strangers_mesh_key_makes_no_mesh() {
    let mut rig = Rig::new();
    let id = rig.begin();
    let json = format!(r#"{{"version":2,"meshKey":"{}"}}"#, "ab".repeat(32));
    let login = sealed_login(&rig.shared(&secret(1)), key(1), [1; 24], json.as_bytes());
    rig.bytes(id, &login);
    assert_eq!(rig.frames(id), [Got::ServerKey, Got::ServerInfo]);
    rig.bytes(id, &encode(Frame::WatchConns));
    assert!(matches!(rig.end(id).1, Closed::Mesh(_)));
}

#[test]
fn a_refused_login_gets_the_key_and_the_end() {
    for (what, json) in [
        ("no JSON", "{"),
        ("a list", "[]"),
        ("bad mesh key", r#"{"meshKey":"none"}"#),
        ("empty mesh key", r#"{"meshKey":""}"#),
    ] {
        let mut rig = Rig::new();
        let id = rig.begin();
        let login = sealed_login(&rig.shared(&secret(1)), key(1), [1; 24], json.as_bytes());
        rig.bytes(id, &login);
        let (bytes, reason) = rig.end(id);
        assert_eq!(read(&bytes), [Got::ServerKey], "{what}");
        assert!(matches!(reason, Closed::Login(_)), "{what}: {reason}");
    }
}

#[test]
fn a_login_with_anothers_box_is_refused() {
    let mut rig = Rig::new();
    let id = rig.begin();
    // It names the key of 1 and holds the key of 2.
    let login = sealed_login(&rig.shared(&secret(2)), key(1), [1; 24], b"{}");
    rig.bytes(id, &login);
    assert!(matches!(rig.end(id).1, Closed::Login(LoginError::Sealed(_))));
}

/// The original's server panics here.
#[test]
fn an_all_zero_key_is_refused() {
    let mut rig = Rig::new();
    let id = rig.begin();
    let login = sealed_login(&rig.shared(&secret(1)), NodePublic::from_bytes([0; 32]), [1; 24], b"{}");
    rig.bytes(id, &login);
    assert!(matches!(rig.end(id).1, Closed::Login(_)));
}

/// A key of small order would give a box that everyone can open.
#[test]
fn a_key_of_small_order_is_refused() {
    let mut rig = Rig::new();
    let id = rig.begin();
    let mut point = [0; 32];
    point[0] = 1;
    let public = NodePublic::from_bytes(point);
    let login = sealed_login(&rig.shared(&secret(1)), public, [1; 24], b"{}");
    rig.bytes(id, &login);
    assert!(matches!(rig.end(id).1, Closed::Login(_)));
}

/// Whoever recorded a login, of a client without TLS, must not get its packets by repeating it.
#[test]
fn a_recorded_login_does_not_work_again() {
    let mut rig = Rig::new();
    let victim = rig.begin();
    let login = rig.login_frame(&secret(1));
    rig.bytes(victim, &login);
    let thief = rig.begin();
    rig.bytes(thief, &login);
    assert_eq!(rig.end(thief).1, Closed::Replayed);
    let sender = rig.login(2);
    rig.send(sender, key(1), b"for the victim");
    assert!(rig.frames(victim).contains(&Got::Packet(key(2), b"for the victim".to_vec())));
}

#[test]
fn the_stream_must_start_with_a_login() {
    for frame in [Frame::KeepAlive, Frame::Ping([0; 8]), Frame::SendPacket { to: key(2), packet: b"x" }] {
        let mut rig = Rig::new();
        let id = rig.begin();
        rig.bytes(id, &encode(frame));
        assert_eq!(rig.end(id).1, Closed::NoLogin);
    }
}

#[test]
fn a_login_of_the_wrong_size_is_refused() {
    for (what, frame) in [("short", vec![2, 0, 0, 0, 71]), ("long", vec![2, 0, 4, 0, 1])] {
        let mut rig = Rig::new();
        let id = rig.begin();
        rig.bytes(id, &frame);
        rig.bytes(id, &[0; 71]);
        assert!(matches!(rig.end(id).1, Closed::Frame(_)), "{what}");
    }
}

#[test]
fn a_second_login_on_the_same_connection_means_nothing() {
    let mut rig = Rig::new();
    let client = rig.login(1);
    let again = rig.login_frame(&secret(2));
    rig.bytes(client.id, &again);
    rig.bytes(client.id, &encode(Frame::Ping([1; 8])));
    assert_eq!(rig.frames(client.id), [Got::Pong([1; 8])]);
    assert_eq!(rig.core.stats().clients, 1);
}

#[test]
fn who_does_not_log_in_in_time_is_closed() {
    let mut rig = Rig::new();
    let silent = rig.connect();
    let slow = rig.begin();
    let client = rig.login(1);
    let limit = Limits::default().setup_time;
    rig.wait(limit - crate::rig::ms(1));
    rig.bytes(slow, &[2]);
    assert_eq!((rig.closed(silent), rig.closed(slow)), (None, None));
    rig.wait(crate::rig::ms(1));
    assert_eq!(rig.closed(silent), Some(Closed::SetupTimeout));
    assert_eq!(rig.closed(slow), Some(Closed::SetupTimeout));
    assert_eq!(rig.closed(client.id), None);
}

#[test]
fn a_full_relay_refuses_further_logins() {
    let mut rig = Rig::with_limits(Limits { clients: 2, ..Limits::default() });
    let first = rig.login(1);
    rig.login(2);
    let id = rig.begin();
    let login = rig.login_frame(&secret(3));
    rig.bytes(id, &login);
    assert_eq!(rig.end(id).1, Closed::Full);
    rig.core.disconnect(first.id, Closed::Left);
    rig.login(3);
}

/// The client's own description does not matter to the relay.
#[test]
fn a_prober_is_a_client() {
    let mut rig = Rig::new();
    let id = rig.begin();
    let info = ClientInfo { is_prober: true, can_ack_pings: false, ..ClientInfo::new() };
    let login = rig.login_frame_with(&NodeSecret::from_bytes([9; 32]), &info);
    rig.bytes(id, &login);
    assert_eq!(rig.frames(id), [Got::ServerKey, Got::ServerInfo]);
}
