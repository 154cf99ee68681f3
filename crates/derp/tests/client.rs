//! The client over real sockets against a relay that does as it is told.

mod support;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use support::{
    Client, REGION, config,
    relay::{Answer, Manners, Relay, only_v4, regions_of},
};
use tidewire_derp::{
    RegionNode,
    client::ClientConfig,
    machine::{Event, Failure, Rung, Seen, Step},
    proxy::{Proxies, Proxy},
    region::{CertName, Family},
};
use tidewire_keys::NodePublic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

fn peer() -> NodePublic {
    NodePublic::from_bytes([0x99; 32])
}

fn failure(event: &Event) -> Option<Failure> {
    match event {
        Event::Failed(failure) => Some(failure.clone()),
        _ => None,
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Sends packets of every size, and gets them back whole and in order.
async fn carries(client: &mut Client) {
    let packets: Vec<Vec<u8>> =
        [0, 1, 62, 1280, 1400, 4096, 32_763, 32_764, 40_000, 65_535, 65_536].map(bytes).into();
    for packet in &packets {
        client.send(peer(), std::slice::from_ref(packet)).await;
        assert_eq!(client.receive().await, (peer(), packet.clone()), "{} bytes", packet.len());
    }
    let many: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 1400]).collect();
    client.send(peer(), &many).await;
    for packet in many {
        assert_eq!(client.receive().await.1, packet);
    }
}

#[tokio::test]
async fn every_rung_carries_packets_of_every_size() {
    let manners = Manners::default();
    let no_meta = Manners { meta: false, ..manners.clone() };
    let no_upgrade = Answer::Bytes(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n".to_vec());
    for (manners, expected) in [
        (Manners { tls: false, ..manners.clone() }, Rung::Upgrade),
        (manners.clone(), Rung::FastStart),
        (no_meta.clone(), Rung::Upgrade),
        (Manners { upgrade: no_upgrade.clone(), ..no_meta }, Rung::WebSocket),
        (Manners { upgrade: no_upgrade.clone(), tls: false, ..manners.clone() }, Rung::WebSocket),
        (Manners { upgrade: no_upgrade, fast_start: false, ..manners.clone() }, Rung::WebSocket),
        (Manners { fast_start: false, ..manners }, Rung::FastStart),
    ] {
        let relay = Relay::start(manners).await;
        let (mut client, rung) = Client::up(config(1, relay.regions())).await;
        assert_eq!(rung, expected);
        carries(&mut client).await;
        client.stop().await;
    }
}

#[tokio::test]
async fn trap_fast_start_is_for_tls_1_3_alone() {
    let relay = Relay::start(Manners { tls13: false, ..Manners::default() }).await;
    let (_client, rung) = Client::up(config(1, relay.regions())).await;
    assert_eq!(rung, Rung::Upgrade);
    assert!(!relay.requests()[0].contains("Fast-Start"));
}

#[tokio::test]
async fn trap_the_host_header_is_the_host_name_alone() {
    let relay = Relay::start(Manners { tls: false, ..Manners::default() }).await;
    let node = RegionNode {
        host_name: "derp.example".to_owned(),
        ipv4: Family::Address(Ipv4Addr::LOCALHOST),
        ipv6: Family::Off,
        ..relay.node.clone()
    };
    for force_websocket in [false, true] {
        let config = config(1, regions_of(vec![node.clone()]));
        let (client, _) = Client::up(ClientConfig { force_websocket, ..config }).await;
        client.stop().await;
    }
    for request in relay.requests() {
        assert!(request.contains("\r\nHost: derp.example\r\n"), "{request}");
    }
}

#[tokio::test]
async fn trap_no_websocket_message_is_longer_than_32_kib_and_longer_ones_are_taken() {
    let cuts = vec![65_573, 1, 2048, 4096];
    let relay = Relay::start(Manners { cuts, ..Manners::default() }).await;
    let config = ClientConfig { force_websocket: true, ..config(1, relay.regions()) };
    let (mut client, rung) = Client::up(config).await;
    assert_eq!(rung, Rung::WebSocket);
    carries(&mut client).await;
    let longest = relay.log.lock().unwrap().longest;
    assert_eq!(longest, 32_768);
    let request = &relay.requests()[0];
    assert!(
        request.starts_with("GET /derp HTTP/1.1\r\n") && request.contains("rotocol: derp\r\n"),
        "{request}"
    );
    assert!(!request.to_ascii_lowercase().contains("extensions"), "no compression: {request}");
}

#[tokio::test]
async fn trap_websocket_honours_stun_only_port_addresses_and_pin_of_a_node() {
    let relay = Relay::start(Manners { tls: false, ..Manners::default() }).await;
    let named = RegionNode {
        host_name: "derp.example".to_owned(),
        ipv4: Family::Address(Ipv4Addr::LOCALHOST),
        ipv6: Family::Off,
        ..relay.node.clone()
    };
    let stun = RegionNode { stun_only: true, ..RegionNode::new("900s", "stun.example") };
    let config = |nodes| ClientConfig { force_websocket: true, ..config(1, regions_of(nodes)) };
    let (client, rung) = Client::up(config(vec![stun, named])).await;
    assert_eq!(rung, Rung::WebSocket);
    client.stop().await;

    let pinned = Relay::start(Manners::default()).await;
    let (client, rung) = Client::up(config(vec![pinned.node.clone()])).await;
    assert_eq!(rung, Rung::WebSocket);
    client.stop().await;
    let other = RegionNode { cert_name: CertName::Pin([1; 32]), ..pinned.node.clone() };
    let failure = Client::start(config(vec![other])).wait(failure).await;
    assert!(matches!(failure, Failure { step: Step::Tls, seen: Seen::Tls(_), .. }), "{failure}");
}

#[tokio::test]
async fn trap_a_relay_that_answers_websocket_with_raw_derp_is_recognised() {
    let relay = Relay::start(Manners { websocket: Answer::RawDerp, ..Manners::default() }).await;
    let client = Client::start(ClientConfig { force_websocket: true, ..config(1, relay.regions()) });
    let failure = client.wait(failure).await;
    assert_eq!((failure.step, failure.seen), (Step::WebSocket, Seen::RawDerp));
}

#[tokio::test]
async fn websocket_closes_and_text_messages_are_told_apart() {
    for (code, expected) in
        [(1000, Seen::End), (1001, Seen::End), (1009, Seen::Close(1009)), (1008, Seen::Close(1008))]
    {
        let relay = Relay::start(Manners { websocket: Answer::Close(code), ..Manners::default() }).await;
        let client = Client::start(ClientConfig { force_websocket: true, ..config(1, relay.regions()) });
        assert_eq!(client.wait(failure).await.seen, expected, "{code}");
    }
    let relay = Relay::start(Manners { websocket: Answer::Close(0), ..Manners::default() }).await;
    let client = Client::start(ClientConfig { force_websocket: true, ..config(1, relay.regions()) });
    assert!(matches!(client.wait(failure).await.seen, Seen::WebSocket(_)));
}

#[tokio::test]
async fn a_failure_says_which_node_rung_and_step_and_what_was_seen() {
    let portal = b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n".to_vec();
    let manners = Manners {
        tls: false,
        upgrade: Answer::Bytes(portal.clone()),
        websocket: Answer::Bytes(portal),
        ..Manners::default()
    };
    let relay = Relay::start(manners).await;
    let client = Client::start(config(1, relay.regions()));
    let (first, second) = (client.wait(failure).await, client.wait(failure).await);
    assert_eq!(first.to_string(), "relay 900 node 900a by HTTP upgrade, HTTP upgrade: HTTP status 302");
    assert_eq!(second.to_string(), "relay 900 node 900a by WebSocket, WebSocket handshake: HTTP status 302");
}

#[tokio::test]
async fn the_next_node_is_taken_when_the_first_fails_at_tcp_tls_or_the_upgrade() {
    let good = Relay::start(Manners::default()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nowhere = RegionNode { derp_port: closed, ..RegionNode::new("900b", "127.0.0.1") };
    let stranger = RegionNode { cert_name: CertName::Pin([1; 32]), ..good.node.clone() };
    let gone = Answer::Bytes(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec());
    let broken = Relay::start(Manners { upgrade: gone.clone(), websocket: gone, ..Manners::default() }).await;
    let none = RegionNode { ipv4: Family::Off, ipv6: Family::Off, ..good.node.clone() };
    let stun = RegionNode { stun_only: true, ..nowhere.clone() };
    let nodes = vec![stun, none, nowhere, stranger, broken.node.clone(), good.node.clone()];
    let (mut client, _) = Client::up(config(1, regions_of(nodes))).await;
    carries(&mut client).await;
    assert!(good.requests().iter().all(|request| request.contains("Ideal-Node: 900b")));
}

#[tokio::test]
async fn addresses_of_the_map_are_used_and_families_raced() {
    let relay =
        Relay::start_at(Manners { tls: false, ..Manners::default() }, IpAddr::V6(Ipv6Addr::LOCALHOST)).await;
    let both = RegionNode {
        host_name: "derp.example".to_owned(),
        ipv4: Family::Address(Ipv4Addr::LOCALHOST),
        ipv6: Family::Address(Ipv6Addr::LOCALHOST),
        ..relay.node.clone()
    };
    let (client, _) = Client::up(config(1, regions_of(vec![both.clone()]))).await;
    client.stop().await;
    let client = Client::start(config(1, regions_of(vec![only_v4(both)])));
    let failure = client.wait(failure).await;
    assert_eq!(
        (failure.step, failure.seen),
        (Step::Connect, Seen::Io(std::io::ErrorKind::ConnectionRefused))
    );
}

#[tokio::test]
async fn a_name_is_found_by_the_system_where_dns_does_not_know_it() {
    let relay = Relay::start(Manners { tls: false, ..Manners::default() }).await;
    let node = RegionNode { host_name: "localhost".to_owned(), ..relay.node.clone() };
    let (mut client, _) = Client::up(config(1, regions_of(vec![node]))).await;
    carries(&mut client).await;
}

/// A proxy that wants a password, and tells what it was asked.
async fn proxy(answer: &'static str) -> (Proxy, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(from.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                tell.send(head).await.unwrap();
                from.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains(" 200 ") {
                    let port = target.rsplit(':').next().unwrap().parse().unwrap();
                    let mut to = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                    copy_bidirectional(&mut from, &mut to).await.ok();
                }
            });
        }
    });
    (Proxy::parse(&format!("http://user:word@127.0.0.1:{port}")).unwrap(), asked)
}

#[tokio::test]
async fn trap_a_proxy_is_asked_for_the_host_name_and_the_port_of_the_node() {
    let relay = Relay::start(Manners::default()).await;
    let (proxy, mut asked) = proxy("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n").await;
    for (force_websocket, expected) in [(false, Rung::FastStart), (true, Rung::WebSocket)] {
        let proxies = Proxies::always(proxy.clone());
        let config = ClientConfig { proxies, force_websocket, ..config(1, relay.regions()) };
        let (mut client, rung) = Client::up(config).await;
        assert_eq!(rung, expected);
        carries(&mut client).await;
        let status = client.control.status();
        assert!(status.regions[0].proxied);
        client.stop().await;
        let head = asked.recv().await.unwrap();
        assert!(
            head.starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", relay.node.derp_port)),
            "{head}"
        );
        assert!(head.contains("\r\nProxy-Authorization: Basic dXNlcjp3b3Jk\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_reported_as_such() {
    let relay = Relay::start(Manners::default()).await;
    for (answer, seen) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Seen::Status(407)),
        ("HTTP/1.1 204 No Content\r\n\r\n", Seen::Status(204)),
        ("SSH-2.0-x\r\n", Seen::NotHttp),
        ("", Seen::End),
    ] {
        let (proxy, _asked) = proxy(answer).await;
        let client =
            Client::start(ClientConfig { proxies: Proxies::always(proxy), ..config(1, relay.regions()) });
        let failure = client.wait(failure).await;
        assert_eq!((failure.step, failure.proxied, failure.seen), (Step::Proxy, true, seen), "{answer:?}");
    }
}

#[tokio::test]
async fn many_frames_of_one_read_are_one_batch_with_runs() {
    let relay = Relay::start(Manners { flood: (40, 1400), ..Manners::default() }).await;
    let (mut client, _) = Client::up(config(1, relay.regions())).await;
    let (mut packets, mut items, mut runs) = (0, 0, 0);
    while packets < 40 {
        let item = client.item().await;
        items += 1;
        runs += item.runs.len();
        packets += item.batch.len();
    }
    assert!(items <= 8, "{items} items for 40 packets");
    assert_eq!(runs, items, "packets of one peer and one length are one run");
}

#[tokio::test]
async fn a_slow_data_plane_loses_nothing_because_the_stream_waits() {
    let (count, len) = (5000, 1400);
    let relay = Relay::start(Manners { flood: (count, len), ..Manners::default() }).await;
    let (mut client, _) = Client::up(config(1, relay.regions())).await;
    // The client's queue is full long before anyone looks; 7 MB do not fit into it.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    for number in 0..count {
        let (from, packet) = client.receive().await;
        assert_eq!((from, packet.len()), (client.key, len));
        assert_eq!(packet[..4], u32::try_from(number).unwrap().to_be_bytes());
    }
    assert_eq!(client.control.status().counters.received_packets, count as u64);
}

#[tokio::test]
async fn a_new_map_moves_the_client_and_its_end_ends_the_task() {
    let first = Relay::start(Manners::default()).await;
    let second = Relay::start(Manners { tls: false, ..Manners::default() }).await;
    let (mut client, rung) = Client::up(config(1, first.regions())).await;
    assert_eq!(rung, Rung::FastStart);
    client.control.set_regions(second.regions());
    assert_eq!(client.wait_up().await, Rung::Upgrade);
    carries(&mut client).await;
    client.control.set_home(None);
    client.control.network_changed();
    carries(&mut client).await;
    let control = client.control.clone();
    client.stop().await;
    while control.event().await.is_some() {}
    assert_eq!(control.status().regions.len(), 1);
    assert_eq!(control.status().regions[0].region, REGION);
}

#[tokio::test]
async fn two_threads_may_hold_the_handle() {
    fn sendable<T: Send + Sync + 'static>(value: T) -> Arc<T> {
        Arc::new(value)
    }
    let relay = Relay::start(Manners::default()).await;
    let (client, _) = Client::up(config(1, relay.regions())).await;
    let control = sendable(client.control.clone());
    std::thread::spawn(move || control.set_home(Some(REGION))).join().unwrap();
    client.stop().await;
}
