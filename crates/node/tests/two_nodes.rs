//! Two real nodes and a real relay in one process, on loopback.

use std::{net::SocketAddr, time::Duration};

use tidewire_node::{
    Config, Event, Filter, Keys, Map, MapError, Node, Peer, PingError, Region, RegionId, StartError, clock,
};
use tidewire_relay::Relay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REGION: RegionId = RegionId(900);
const LONG: Duration = Duration::from_secs(30);

struct Lab {
    a: Node,
    b: Node,
    relay: Relay,
}

fn ip(n: u8) -> std::net::IpAddr {
    [100, 64, 0, n].into()
}

fn peer(keys: &Keys, n: u8) -> Peer {
    Peer::new(keys.node.public(), keys.disco.public()).address(ip(n)).home(REGION).name(format!("node {n}"))
}

fn config(keys: Keys, n: u8, region: Region, peers: Vec<Peer>) -> Config {
    Config::new(keys, Filter::AllowAll).address(ip(n)).home(REGION).map(Map { regions: vec![region], peers })
}

impl Lab {
    async fn start() -> Self {
        let relay = Relay::start(tidewire_relay::Config::new(([127, 0, 0, 1], 0).into())).unwrap();
        let (a, b) = (Keys::generate().unwrap(), Keys::generate().unwrap());
        let (a_peer, b_peer) = (peer(&a, 1), peer(&b, 2));
        let a = Node::start(config(a, 1, relay.region(REGION), vec![b_peer])).await.unwrap();
        let b = Node::start(config(b, 2, relay.region(REGION), vec![a_peer])).await.unwrap();
        Self { a, b, relay }
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(clock::timeout(LONG, test)).expect("the test hangs");
}

#[test]
fn tcp_udp_and_pings_reach_the_other_node() {
    run(async {
        let Lab { a, b, relay: _relay } = Lab::start().await;
        let listener = b.listen_tcp(7).unwrap();
        let mut stream = a.dial_tcp((ip(2), 7).into()).await.unwrap();
        let (mut served, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), ip(1));
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut got = Vec::new();
        served.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"ping");

        let (here, there) = (a.udp(0).unwrap(), b.udp(53).unwrap());
        here.send_to(b"datagram", (ip(2), 53).into()).await.unwrap();
        let mut buffer = [0; 64];
        let (len, from): (usize, SocketAddr) = there.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], from.ip()), (&b"datagram"[..], ip(1)));

        a.ping(b.public_key()).await.unwrap();
        assert_eq!(a.ping(Keys::generate().unwrap().node.public()).await, Err(PingError::NoPeer));
        let status = a.status().await.unwrap();
        assert_eq!((status.home, status.peers[0].name.as_str()), (Some(REGION), "node 2"));
        assert!(status.peers[0].last_handshake.is_some() && status.peers[0].sent > 0);
        assert!(a.explain(b.public_key()).await.unwrap().is_some());
    });
}

#[test]
fn the_path_becomes_direct_and_that_is_told() {
    run(async {
        let Lab { a, b, relay: _relay } = Lab::start().await;
        let mut events = a.events();
        let listener = b.listen_tcp(7).unwrap();
        let _stream = a.dial_tcp((ip(2), 7).into()).await.unwrap();
        let _served = listener.accept().await.unwrap();
        while let Some(event) = events.next().await {
            if let Event::PathChanged { peer, to, .. } = event
                && to.is_direct()
            {
                assert_eq!(peer, b.public_key());
                return;
            }
        }
        panic!("the node stopped");
    });
}

#[test]
fn a_map_that_cannot_be_is_refused_whole_and_a_good_one_takes_effect() {
    run(async {
        let Lab { a, relay, .. } = Lab::start().await;
        let before = a.status().await.unwrap().peers.len();
        let mut thief = peer(&Keys::generate().unwrap(), 9);
        thief.addresses = vec![ip(1).into()];
        let region = Region::new(REGION, "lab", vec![]);
        let no_node = a.apply(Map { regions: vec![region], peers: vec![] }).await;
        assert!(matches!(no_node, Err(MapError::Regions(_))), "{no_node:?}");
        let no_home = a.apply(Map { regions: vec![], peers: vec![] }).await;
        assert!(matches!(no_home, Err(MapError::Home(REGION))), "{no_home:?}");
        let regions = vec![relay.region(REGION)];
        let stolen = a.apply(Map { regions: regions.clone(), peers: vec![thief] }).await;
        assert!(matches!(stolen, Err(MapError::Peers(_))), "{stolen:?}");
        assert_eq!(a.status().await.unwrap().peers.len(), before);
        a.apply(Map { regions, peers: vec![] }).await.unwrap();
        assert_eq!(a.status().await.unwrap().peers.len(), 0);
    });
}

#[test]
fn a_node_that_cannot_start_says_why() {
    run(async {
        let keys = || Keys::generate().unwrap();
        let no_address = Node::start(Config::new(keys(), Filter::AllowAll)).await;
        assert!(matches!(no_address, Err(StartError::Stack(_))), "{no_address:?}");
        let no_home = Node::start(Config::new(keys(), Filter::AllowAll).address(ip(1)).home(REGION)).await;
        assert!(matches!(no_home, Err(StartError::Map(MapError::Home(REGION)))), "{no_home:?}");
    });
}

#[test]
fn a_node_that_was_stopped_says_so_and_a_dropped_one_is_gone() {
    run(async {
        let Lab { a, b, relay: _relay } = Lab::start().await;
        let mut events = b.events();
        a.shutdown().await;
        assert!(a.status().await.is_err());
        assert!(a.dial_tcp((ip(2), 7).into()).await.is_err());
        drop(b);
        while events.next().await.is_some() {}
    });
}
