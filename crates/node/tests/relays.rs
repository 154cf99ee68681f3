//! Whether a node's owner learns how its relays are: as events, each told once, and as status.

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, TcpListener},
    sync::mpsc,
    time::Duration,
};

use tidewire_node::{
    Config, Event, Filter, Keys, Map, Node, Region, RegionId, RegionNode, RelayState, RelayStatus, Rung,
    Seen, StartError, clock,
};
use tidewire_relay::Relay;

const REGION: RegionId = RegionId(900);
const LONG: Duration = Duration::from_secs(30);

fn config(region: Region) -> Config {
    Config::new(Keys::generate().unwrap(), Filter::DenyAll)
        .address(IpAddr::from([100, 64, 0, 1]))
        .home(REGION)
        .map(Map { regions: vec![region], peers: vec![] })
}

fn relay() -> Relay {
    Relay::start(tidewire_relay::Config::new(([127, 0, 0, 1], 0).into())).unwrap()
}

/// A web server that is no relay. Says so each time it was asked.
fn stranger() -> (Region, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = RegionNode::new("900a", "127.0.0.1");
    (node.derp_port, node.stun_port, node.plain) = (listener.local_addr().unwrap().port(), None, true);
    let (asked, was_asked) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|len| len > 2) {
                line.clear();
            }
            drop(
                stream.get_mut().write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
            );
            // Whoever counted may have enough.
            let _ = asked.try_send(());
        }
    });
    (Region::new(REGION, "lab", vec![node]), was_asked)
}

#[tokio::test]
async fn a_relay_that_is_not_reached_is_told_once_for_each_way_to_fail() {
    let (region, was_asked) = stranger();
    let node = Node::start(config(region)).await.unwrap();
    let mut events = node.events();
    // Three rounds of two rungs.
    let asked = tokio::task::spawn_blocking(move || {
        (0..6).all(|_| was_asked.recv_timeout(LONG).is_ok()).then_some(was_asked)
    });
    let _was_asked = asked.await.unwrap().expect("the node tries again");
    let status = node.status().await.unwrap();
    let relay = &status.relays[0];
    assert_eq!((relay.region, relay.code.as_str(), relay.is_up()), (REGION, "lab", false));
    assert_eq!(relay.last_failure.as_ref().map(|failure| &failure.seen), Some(&Seen::Status(503)));
    node.shutdown().await;
    drop(node);
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::RelayFailed { region: REGION, reason } => told.push(reason),
            Event::RelayDown { .. } => panic!("it was never up"),
            _ => {}
        }
    }
    // The very first one may have been told before anybody listened.
    assert!((1..=2).contains(&told.len()), "{told:?}");
    assert!(told.iter().any(|reason| reason.contains("by WebSocket")), "{told:?}");
}

#[tokio::test]
async fn a_relays_state_rung_and_round_trip_are_in_the_status() {
    let relay = relay();
    for (forced, rung) in [(false, Rung::FastStart), (true, Rung::WebSocket)] {
        let config = config(relay.region(REGION));
        let config = if forced { config.force_websocket() } else { config };
        let node = Node::start(config).await.unwrap();
        let found = async {
            loop {
                let status = node.status().await.unwrap();
                match &status.relays[..] {
                    [relay] if relay.rtt.is_some() => return relay.clone(),
                    _ => clock::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let found = clock::timeout(LONG, found).await.expect("the relay lets the node in");
        assert!(matches!(found.state, RelayState::Up(_)) && found.is_up());
        assert_eq!((found.rung, found.problem, found.last_failure), (Some(rung), None, None));
        node.shutdown().await;
    }
}

#[tokio::test]
async fn what_a_relay_says_before_it_restarts_is_told() {
    let relay = relay();
    let node = Node::start(config(relay.region(REGION))).await.unwrap();
    let mut events = node.events();
    let is_up = async {
        while !node.status().await.unwrap().relays.iter().any(RelayStatus::is_up) {
            clock::sleep(Duration::from_millis(10)).await;
        }
    };
    clock::timeout(LONG, is_up).await.expect("the relay lets the node in");
    let stopped = tokio::task::spawn_blocking(move || relay.shutdown(LONG));
    let mut told = Vec::new();
    let down = async {
        loop {
            match events.next().await.expect("the node runs") {
                Event::RelayHealth { region: REGION, problem: Some(problem) } => told.push(problem),
                Event::RelayRestarting { region: REGION, .. } => told.push("restarting".to_owned()),
                Event::RelayDown { region: REGION, .. } => return,
                _ => {}
            }
        }
    };
    clock::timeout(LONG, down).await.expect("the relay ends");
    assert_eq!(told, ["the relay is shutting down", "restarting"]);
    stopped.await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn a_root_that_is_no_certificate_is_refused_at_the_start() {
    let started = Node::start(config(relay().region(REGION)).extra_root([1, 2, 3])).await;
    assert!(matches!(started, Err(StartError::Relays(_))), "{started:?}");
}
