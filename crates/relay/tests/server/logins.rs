//! Logging in over real sockets, on each way in.

use std::io::Write;

use rustls::version::{TLS12, TLS13};
use tidewire_derp::Frame;

use crate::rig::{Client, Got, key, login_frame, open, plain, secret, tcp, tls, with_tls};

const UPGRADE: &str = "GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n";

#[test]
fn two_clients_talk_without_tls_and_with_it() {
    for relay in [plain(), with_tls()] {
        let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
        a.send_packet(key(2), b"hello");
        assert_eq!(b.next(), Some(Got::Packet(key(1), b"hello".to_vec())));
        b.send_packet(key(1), b"hello yourself");
        assert_eq!(a.next(), Some(Got::Packet(key(2), b"hello yourself".to_vec())));
        a.send(Frame::Ping([7; 8]));
        assert_eq!(a.next(), Some(Got::Pong([7; 8])));
    }
}

/// The upgrade's answer and the relay's key come in one write, and a client may have sent its login by then.
#[test]
fn the_plain_upgrade_works_step_by_step_and_all_at_once() {
    for at_once in [false, true] {
        let relay = with_tls();
        let mut bytes = open(&relay);
        bytes.write_all(UPGRADE.as_bytes()).unwrap();
        let login = login_frame(&relay, &secret(1));
        if at_once {
            bytes.write_all(&login).unwrap();
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            bytes.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains(&format!("Derp-Public-Key: {}\r\n", relay.public_key().to_hex())), "{head}");
        if !at_once {
            bytes.write_all(&login).unwrap();
        }
        let mut client = Client::over(bytes);
        assert_eq!([client.next(), client.next()], [Some(Got::ServerKey), Some(Got::ServerInfo)]);
    }
}

#[test]
fn older_and_newer_tls_reach_each_other() {
    let relay = with_tls();
    let mut clients = [&TLS12, &TLS13].map(|version| {
        let mut client = Client::over(Box::new(tls(&relay, &[version]).0));
        client.bytes.write_all(b"GET /derp HTTP/1.1\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n").unwrap();
        client
    });
    for (byte, client) in (1..).zip(&mut clients) {
        client.bytes.write_all(&login_frame(&relay, &secret(byte))).unwrap();
        assert_eq!([client.next(), client.next()], [Some(Got::ServerKey), Some(Got::ServerInfo)]);
    }
    let [mut old, mut new] = clients;
    old.send_packet(key(2), b"from the old");
    assert_eq!(new.next_packet(), b"from the old");
    new.send_packet(key(1), b"from the new");
    assert_eq!(old.next_packet(), b"from the new");
}

#[test]
fn a_stream_in_single_bytes_works_too() {
    let relay = plain();
    let mut b = Client::login(&relay, 2);
    let mut bytes = tcp(&relay);
    let mut flight = UPGRADE.as_bytes().to_vec();
    flight.extend(login_frame(&relay, &secret(1)));
    Frame::SendPacket { to: key(2), packet: b"slowly" }.encode(&mut flight).unwrap();
    for byte in flight {
        bytes.write_all(&[byte]).unwrap();
    }
    assert_eq!(b.next_packet(), b"slowly");
}

#[test]
fn a_new_login_with_the_same_key_receives() {
    let relay = with_tls();
    let (mut a, mut old) = (Client::login(&relay, 1), Client::login(&relay, 2));
    let mut new = Client::login(&relay, 2);
    a.send_packet(key(2), b"1");
    assert_eq!(new.next_packet(), b"1");
    old.send(Frame::Ping([1; 8]));
    assert_eq!(old.next(), Some(Got::Pong([1; 8])));
    a.send_packet(key(2), b"2");
    assert_eq!(old.next_packet(), b"2");
}

#[test]
fn the_relay_counts() {
    let relay = with_tls();
    let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
    a.send_packet(key(2), &[1; 100]);
    b.next_packet();
    let stats = relay.stats().core;
    assert_eq!((stats.clients, stats.keys, stats.logins), (2, 2, 2));
    assert_eq!((stats.packets_in, stats.bytes_in, stats.packets_out), (1, 100, 1));
    assert_eq!(stats.queued_bytes, 0);
}
