//! The relay's numbers, on a listener of their own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tidewire_relay::{Config, Relay};

use crate::rig::{Client, key, loopback};

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn collectors_and_people_can_read_them() {
    let relay = Relay::start(Config { metrics: Some(loopback()), ..Config::new(loopback()) }).unwrap();
    let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
    a.send_packet(key(2), b"x");
    b.next_packet();
    let addr = relay.metrics_addr().unwrap();
    let metrics = get(addr, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(metrics.contains("\ntidewire_relay_clients 2\n"), "{metrics}");
    assert!(metrics.contains("\ntidewire_relay_received_packets_total 1\n"), "{metrics}");
    let page = get(addr, "/");
    assert!(page.contains(&relay.public_key().to_hex()) && page.contains("<td>2</td>"), "{page}");
    assert!(get(addr, "/else").starts_with("HTTP/1.1 404 "));
}

/// Who connects and says nothing holds up nobody.
#[test]
fn the_silent_hold_up_nobody() {
    let relay = Relay::start(Config { metrics: Some(loopback()), ..Config::new(loopback()) }).unwrap();
    let addr = relay.metrics_addr().unwrap();
    let _silent: Vec<_> = (0..10).map(|_| TcpStream::connect(addr).unwrap()).collect();
    assert!(get(addr, "/metrics").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn they_are_not_served_unless_asked_for() {
    assert_eq!(Relay::start(Config::new(loopback())).unwrap().metrics_addr(), None);
}
