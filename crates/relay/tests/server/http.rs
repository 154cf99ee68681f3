//! Requests that are no upgrade, over real sockets.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use tidewire_relay::{Config, Relay};

use crate::rig::{REGION, loopback, open, plain, with_tls};

#[test]
fn probes_and_refusals_are_answered_to_the_end() {
    for relay in [plain(), with_tls()] {
        for (request, status, part) in [
            ("GET /derp/probe", "200 OK", "Access-Control-Allow-Origin: *"),
            ("HEAD /derp/latency-check", "200 OK", "Content-Length: 0"),
            ("GET /generate_204", "204 No Content", "X-Tailscale-Response: response abc.1"),
            ("GET /derp", "426 Upgrade Required", "Upgrade: DERP"),
            ("GET /none", "404 Not Found", ""),
        ] {
            let mut stream = open(&relay);
            write!(stream, "{request} HTTP/1.1\r\nHost: relay\r\nX-Tailscale-Challenge: abc.1\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(answer.contains(part), "{request}: {answer}");
        }
    }
}

/// What is sent behind the request must not cost the client its answer.
#[test]
fn an_answer_survives_what_the_client_goes_on_sending() {
    let relay = plain();
    let mut stream = open(&relay);
    stream.write_all(b"POST /none HTTP/1.1\r\nContent-Length: 100000\r\n\r\n").unwrap();
    stream.write_all(&[b'x'; 100_000]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

/// `nc`, and some health checks, close their half at once.
#[test]
fn who_closes_its_half_still_gets_its_answer() {
    let relay = plain();
    let mut stream = crate::rig::tcp(&relay);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Clients look for captive portals by plain HTTP, whatever the relay itself speaks.
#[test]
fn the_check_for_captive_portals_is_served_without_tls_beside_it() {
    let relay = Relay::start(Config { http: Some(loopback()), ..Config::new(loopback()) }).unwrap();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(relay.http_addr().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: relay\r\nX-Tailscale-Challenge: abc.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let empty = ask("/generate_204");
    assert!(empty.starts_with("HTTP/1.1 204 ") && empty.contains("response abc.1\r\n"), "{empty}");
    assert!(ask("/derp/probe").starts_with("HTTP/1.1 404 "));
    assert!(!relay.region(REGION).nodes[0].can_port_80, "its port is another");
}
