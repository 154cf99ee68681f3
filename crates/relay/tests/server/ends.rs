//! How connections and relays end.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use tidewire_derp::{Frame, frame::GoneReason::Disconnected};
use tidewire_relay::{Config, Limits, Relay, Tls};

use crate::rig::{Client, Got, key, loopback, plain, tcp, with_tls};

#[test]
fn a_client_that_leaves_is_reported() {
    let relay = with_tls();
    let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
    a.send_packet(key(2), b"x");
    b.next_packet();
    drop(a);
    assert_eq!(b.next(), Some(Got::Gone(key(1), Disconnected)));
}

#[test]
fn a_mesh_frame_ends_the_connection_and_nothing_else() {
    let relay = with_tls();
    let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
    a.send(Frame::WatchConns);
    assert_eq!(a.rest(), [Got::Health]);
    b.send(Frame::Ping([1; 8]));
    assert_eq!(b.next(), Some(Got::Pong([1; 8])));
}

#[test]
fn a_polite_shutdown_tells_the_clients() {
    for relay in [plain(), with_tls()] {
        let mut clients: Vec<_> = (1..5).map(|byte| Client::login(&relay, byte)).collect();
        let addr = relay.addr();
        let shutdown = thread::spawn(move || relay.shutdown(Duration::from_secs(20)));
        for client in &mut clients {
            assert_eq!(client.rest(), [Got::Health, Got::Restarting]);
        }
        drop(clients);
        shutdown.join().unwrap();
        assert!(TcpStream::connect(addr).is_err());
    }
}

#[test]
fn a_dropped_relay_is_gone() {
    let relay = with_tls();
    let mut client = Client::login(&relay, 1);
    let addr = relay.addr();
    drop(relay);
    assert_eq!(client.rest(), []);
    assert!(TcpStream::connect(addr).is_err(), "its sockets were closed before its clients were");
}

/// It is cut off when a write has been blocked for so long, and holds no memory from then on.
#[test]
fn a_reader_that_never_reads_is_cut_off() {
    let limits = Limits { write_time: Duration::from_millis(200), ..Limits::default() };
    for tls in [Tls::Off, Tls::SelfSigned] {
        let relay = Relay::start(Config { tls, limits, ..Config::new(loopback()) }).unwrap();
        let (mut a, stuck) = (Client::login(&relay, 1), Client::login(&relay, 2));
        let mut answers = 0;
        while relay.stats().core.clients == 2 {
            (0..50).for_each(|_| a.send_packet(key(2), &[0; 60_000]));
            answers += 1;
        }
        assert!(answers > 0);
        let stats = relay.stats().core;
        assert_eq!((stats.queued_bytes, stats.keys), (0, 1));
        assert!(stats.closed().any(|ended| ended == ("slow_reader", 1)), "{stats:?}");
        drop(stuck);
    }
}

#[test]
fn who_does_not_log_in_is_closed() {
    let limits = Limits { setup_time: Duration::from_millis(100), ..Limits::default() };
    let relay = Relay::start(Config { tls: Tls::Off, limits, ..Config::new(loopback()) }).unwrap();
    for said in [
        "",
        "GET /derp HTTP/1.1\r\nSlow",
        "GET /derp HTTP/1.1\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n",
    ] {
        let mut stream = tcp(&relay);
        stream.write_all(said.as_bytes()).unwrap();
        // The end, or a reset; a timeout would be an error of another kind.
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn garbage_instead_of_tls_ends_that_connection() {
    let relay = with_tls();
    let mut client = Client::login(&relay, 1);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff], &[0; 100_000]] {
        let mut stream = tcp(&relay);
        let _ = stream.write_all(garbage);
        stream.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 100);
    }
    client.send(Frame::Ping([1; 8]));
    assert_eq!(client.next(), Some(Got::Pong([1; 8])));
}

#[test]
fn hundreds_come_and_go() {
    let relay = plain();
    for round in 0..5 {
        let mut clients: Vec<_> = (0..100).map(|byte| Client::login(&relay, byte)).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            client.send_packet(key((at + 1) as u8 % 100), &[round, at as u8]);
        }
        for (at, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.next_packet(), [round, ((at + 99) % 100) as u8]);
        }
    }
}
