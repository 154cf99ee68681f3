//! A relay in a process that has no descriptor left. Alone in its process, whose limit it lowers.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidewire_relay::{Config, Relay, Tls};

/// Connections that do not log in.
const SILENT: usize = 8;

fn connect(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(relay.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Those who connect and say nothing cannot keep others out by being there first. (Linux takes a descriptor before it looks
/// whether anybody waits, so that one more may have to go.)
#[test]
fn without_descriptors_the_oldest_that_has_not_logged_in_makes_room() {
    let relay = Relay::start(Config { tls: Tls::Off, ..Config::new(([127, 0, 0, 1], 0).into()) }).unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum }).unwrap();
    // All are taken but both ends of those who say nothing, and one end of another connection.
    let mut taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.truncate(taken.len() - 2 * SILENT - 1);
    let mut silent = Vec::new();
    for count in 1..=SILENT {
        silent.push(connect(&relay));
        while relay.stats().core.accepted < count as u64 {}
    }

    let mut late = connect(&relay);
    late.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(silent[0].read(&mut [0; 1]).unwrap(), 0, "the oldest is closed");
    drop(silent);
    let stats = relay.stats();
    assert!(stats.accept_failed > 0);
    assert!(stats.core.closed().any(|(reason, count)| reason == "crowded" && count > 0), "{stats:?}");
}
