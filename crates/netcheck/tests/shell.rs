//! Checks with real sockets on loopback: relays of ours, and small servers that stand for what is in the way.
#![cfg(feature = "client")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
};

use tidewire_derp::{Region, RegionId, RegionNode, Regions, client::Names, proxy::Proxies};
use tidewire_keys::Seed;
use tidewire_netcheck::{Extent, Netcheck, Report};
use tidewire_relay::{Config, Relay, Tls};
use tidewire_stun::{RESPONSE_LEN, parse_request, response};

const A: RegionId = RegionId(1);
const B: RegionId = RegionId(2);

fn relay(listen: &str, tls: Tls) -> Relay {
    Relay::start(Config { tls, ..Config::new(listen.parse().unwrap()) }).unwrap()
}

async fn check(regions: Vec<Region>, extent: Extent<'_>) -> Report {
    let map = Regions::try_from(regions).unwrap();
    let netcheck = Netcheck::new(Names::new(), Proxies::none(), Vec::new());
    netcheck.run(&map, extent, None, &Seed::new([9; 32])).await
}

/// A region without a relay: something on loopback answers its STUN.
fn stun_alone(id: RegionId, stun: SocketAddr) -> Region {
    let host = stun.ip().to_string();
    let node = RegionNode { stun_port: Some(stun.port()), stun_only: true, ..RegionNode::new("s", host) };
    Region::new(id, "stun", vec![node])
}

/// Answers STUN for ever, with `port` in the place of the one it sees.
fn stun_server(port: u16) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, source)) = socket.recv_from(&mut buffer) {
            let Ok(tx) = parse_request(&buffer[..len]) else { continue };
            let mut out = [0; RESPONSE_LEN];
            let len = response(&tx, SocketAddr::new(source.ip(), port), &mut out);
            drop(socket.send_to(&out[..len], source));
        }
    });
    addr
}

/// A UDP port that takes and never answers, for as long as the socket is held.
fn silent() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[tokio::test]
async fn two_relays_on_loopback_are_found_with_all_that_can_be_told() {
    let (a, b) = (relay("127.0.0.1:0", Tls::SelfSigned), relay("127.0.0.1:0", Tls::Off));
    let report = check(vec![a.region(A), b.region(B)], Extent::Everything).await;
    assert_eq!((report.udp_v4, report.udp_v6), (Some(true), None), "no relay of the map has IPv6");
    assert!(
        report.regions.iter().all(|region| region.stun_v4.is_some() && region.stun_v6.is_none()),
        "{report:?}"
    );
    assert!(report.global_v4.is_some_and(|addr| addr.ip().is_loopback()), "{report:?}");
    assert_eq!(report.mapping_varies, Some(false));
    assert_eq!(report.hairpin, Some(true), "on loopback everything comes back");
    assert_eq!(report.captive_portal, Some(false), "the relay without TLS answers itself");
}

#[tokio::test]
async fn a_relay_with_ipv6_is_found_by_ipv6() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let relay = relay("[::1]:0", Tls::Off);
    let report = check(vec![relay.region(A)], Extent::Full).await;
    assert_eq!((report.udp_v4, report.udp_v6), (None, Some(true)));
    assert!(report.global_v6.is_some_and(|addr| addr.ip().is_loopback()), "{report:?}");
}

#[tokio::test]
async fn where_stun_is_swallowed_https_tells_and_checks_the_pin() {
    let (_a, deaf) = silent();
    let relay = relay("127.0.0.1:0", Tls::SelfSigned);
    let through_wall = |mut region: Region| {
        region.nodes[0].stun_port = Some(deaf.port());
        region
    };
    let mut stranger = Region { id: B, ..relay.region(B) };
    stranger.nodes[0].cert_name = tidewire_derp::region::CertName::Pin([7; 32]);
    let report = check(vec![through_wall(relay.region(A)), through_wall(stranger)], Extent::Full).await;
    assert!(!report.has_udp() && report.udp_v4 == Some(false), "{report:?}");
    assert!(report.region(A).unwrap().https.is_some() && report.latency(A).is_some(), "{report:?}");
    let stranger = report.region(B).unwrap();
    assert_eq!(stranger.latency(), None);
    assert!(stranger.https_failure.as_ref().unwrap().contains("not the pinned one"), "{stranger:?}");
}

#[tokio::test]
async fn relays_that_see_different_ports_make_the_mapping_vary() {
    let regions = vec![stun_alone(A, stun_server(1001)), stun_alone(B, stun_server(1002))];
    let report = check(regions, Extent::Full).await;
    assert_eq!(report.mapping_varies, Some(true));
    assert_eq!(report.hairpin, Some(false), "neither port is ours");
}

#[tokio::test]
async fn a_portal_that_answers_for_the_relay_is_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 1024]));
            drop(stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://hotel.example/\r\n\r\n"));
        }
    });
    let (_a, deaf) = silent();
    let mut node = RegionNode::new("a", "127.0.0.1");
    (node.plain, node.derp_port, node.stun_port) = (true, port, Some(deaf.port()));
    let report = check(vec![Region::new(A, "x", vec![node])], Extent::Full).await;
    assert_eq!(report.captive_portal, Some(true));
    assert_eq!(report.region(A).unwrap().https_failure.as_deref(), Some("asking over HTTP: HTTP status 302"));
}

#[tokio::test]
async fn a_check_that_is_dropped_stops() {
    let (socket, deaf) = silent();
    let map = Regions::try_from(vec![stun_alone(A, deaf)]).unwrap();
    let netcheck = Netcheck::new(Names::new(), Proxies::none(), Vec::new());
    let run = netcheck.run(&map, Extent::Everything, None, &Seed::new([9; 32]));
    tokio::select! {
        biased;
        _ = run => panic!("it cannot be done"),
        () = async {
            // The first request is out, so the check is under way.
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
            socket.recv(&mut [0; 100]).await.unwrap();
        } => {}
    }
}
