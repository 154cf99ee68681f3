//! STUN over a real socket.

use std::{net::UdpSocket, time::Duration};

use tidewire_relay::{Config, Relay, Tls};
use tidewire_stun::{TxId, parse_response, request};

use crate::rig::{loopback, plain};

fn ask(relay: &Relay, from: &str) {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let to = (socket.local_addr().unwrap().ip(), relay.stun_addr().unwrap().port());
    let tx = TxId([3; 12]);
    socket.send_to(&request(&tx), to).unwrap();
    let mut buffer = [0; 100];
    let (count, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(parse_response(&buffer[..count]).unwrap(), (tx, socket.local_addr().unwrap()));
}

#[test]
fn a_client_learns_its_own_address() {
    let relay = plain();
    ask(&relay, "127.0.0.1:0");
    assert_eq!((relay.stats().stun_answered, relay.stats().stun_ignored), (1, 0));
}

#[test]
fn one_socket_serves_both_families() {
    let host = Some("relay.example".to_owned());
    let config = Config { tls: Tls::Off, host, ..Config::new("[::]:0".parse().unwrap()) };
    let relay = Relay::start(config).unwrap();
    ask(&relay, "127.0.0.1:0");
    ask(&relay, "[::1]:0");
}

#[test]
fn what_is_no_request_is_ignored_and_counted() {
    let relay = plain();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [&b""[..], b"x", &[0; 20], &[1; 1500]] {
        socket.send_to(datagram, relay.stun_addr().unwrap()).unwrap();
    }
    ask(&relay, "127.0.0.1:0");
    assert_eq!((relay.stats().stun_answered, relay.stats().stun_ignored), (1, 4));
}

#[test]
fn without_stun_there_is_none() {
    let relay = Relay::start(Config { tls: Tls::Off, stun: None, ..Config::new(loopback()) }).unwrap();
    assert_eq!(relay.stun_addr(), None);
}
