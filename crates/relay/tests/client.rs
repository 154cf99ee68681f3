//! Tidewire's own client on this relay: every way in, a restart, and many packets at once.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use tidewire_clock as clock;
use tidewire_derp::{
    Region, RegionId, Regions,
    client::{ClientConfig, DerpControl, client},
    frame::GoneReason,
    machine::{Event, Rung},
};
use tidewire_keys::{NodePublic, NodeSecret, Seed};
use tidewire_packet::{Class, Pool};
use tidewire_relay::{Config, Relay, State, Tls};
use tidewire_transport::{FromUnderlay, Hop, QueuedUnderlay, ToUnderlay, Underlay};

const REGION: RegionId = RegionId(900);
/// Nothing here takes so long; a test that would hang ends instead.
const PATIENCE: Duration = Duration::from_secs(30);

struct Client {
    key: NodePublic,
    underlay: QueuedUnderlay,
    control: DerpControl,
    pool: Pool,
    received: std::collections::VecDeque<(NodePublic, Vec<u8>)>,
}

fn config(byte: u8, region: Region) -> ClientConfig {
    let regions = Regions::try_from(vec![region]).unwrap();
    let config = ClientConfig::new(NodeSecret::from_bytes([byte; 32]), regions, Seed::new([byte; 32]));
    ClientConfig { home: Some(REGION), ..config }
}

impl Client {
    /// Logged in, and how.
    async fn up(config: ClientConfig) -> (Self, Rung) {
        let (key, pool) = (config.key.public(), Pool::default());
        let (underlay, control, task) = client(config, pool.clone()).unwrap();
        tokio::spawn(task);
        let client = Self { key, underlay, control, pool, received: Default::default() };
        let rung =
            client.wait(|event| if let Event::Up { rung, .. } = event { Some(rung) } else { None }).await;
        (client, rung)
    }

    async fn wait<T>(&self, wanted: impl Fn(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.control.event().await.expect("the client runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        clock::timeout(PATIENCE, found).await.expect("it happens")
    }

    async fn send(&mut self, to: NodePublic, packets: &[Vec<u8>]) {
        let bytes = packets.iter().map(Vec::len).sum();
        let mut item = ToUnderlay { batch: self.pool.batch(Class::holding(bytes)), runs: Vec::new() };
        for (number, packet) in packets.iter().enumerate() {
            item.batch.push(packet).unwrap();
            item.address(number, Hop::Derp { region: REGION, peer_key: to });
        }
        let underlay = &mut self.underlay;
        poll_fn(|cx| underlay.poll_send(cx, &mut item)).await.unwrap();
    }

    async fn receive(&mut self) -> (NodePublic, Vec<u8>) {
        while self.received.is_empty() {
            let mut item = FromUnderlay::default();
            let underlay = &mut self.underlay;
            let arrived = clock::timeout(PATIENCE, poll_fn(|cx| underlay.poll_recv(cx, &mut item))).await;
            arrived.expect("something arrives").unwrap();
            for run in &item.runs {
                let Hop::Derp { region: REGION, peer_key } = run.hop else { panic!("{run:?}") };
                self.received.extend(run.range().map(|at| (peer_key, item.batch.get(at).unwrap().to_vec())));
            }
        }
        self.received.pop_front().expect("it is not empty")
    }
}

fn relay(tls: Tls) -> Relay {
    Relay::start(Config { tls, ..Config::new(SocketAddr::from(([127, 0, 0, 1], 0))) }).unwrap()
}

#[tokio::test]
async fn each_way_in_carries_packets_of_every_size() {
    for (tls, force_websocket, expected) in [
        (Tls::SelfSigned, false, Rung::FastStart),
        (Tls::Off, false, Rung::Upgrade),
        (Tls::SelfSigned, true, Rung::WebSocket),
        (Tls::Off, true, Rung::WebSocket),
    ] {
        let relay = relay(tls);
        let make = |byte| ClientConfig { force_websocket, ..config(byte, relay.region(REGION)) };
        let (mut a, rung) = Client::up(make(1)).await;
        let (mut b, _) = Client::up(make(2)).await;
        assert_eq!(rung, expected);
        for len in [0, 1, 148, 1280, 1452, 16_384, 40_000, 65_536] {
            let packet = vec![len as u8; len];
            a.send(b.key, std::slice::from_ref(&packet)).await;
            assert!(b.receive().await == (a.key, packet), "{len} bytes by {rung:?}");
        }
    }
}

#[tokio::test]
async fn without_fast_start_the_upgrade_is_taken() {
    let relay = relay(Tls::SelfSigned);
    let (_, rung) = Client::up(ClientConfig { fast_start: false, ..config(1, relay.region(REGION)) }).await;
    assert_eq!(rung, Rung::Upgrade);
}

#[tokio::test]
async fn bursts_go_both_ways_without_a_loss() {
    let relay = relay(Tls::SelfSigned);
    let (mut a, _) = Client::up(config(1, relay.region(REGION))).await;
    let (mut b, _) = Client::up(config(2, relay.region(REGION))).await;
    for round in 0..20_u8 {
        let burst: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![round ^ number; 1400]).collect();
        a.send(b.key, &burst).await;
        b.send(a.key, &burst).await;
        for packet in &burst {
            assert_eq!(b.receive().await, (a.key, packet.clone()));
            assert_eq!(a.receive().await, (b.key, packet.clone()));
        }
    }
    let stats = relay.stats().core;
    assert_eq!((stats.packets_in, stats.packets_out), (1600, 1600));
}

#[tokio::test]
async fn a_peer_that_left_is_reported() {
    let relay = relay(Tls::SelfSigned);
    let (mut a, _) = Client::up(config(1, relay.region(REGION))).await;
    let (mut b, _) = Client::up(config(2, relay.region(REGION))).await;
    a.send(b.key, &[vec![1; 100]]).await;
    b.receive().await;
    let gone = a.key;
    drop(a);
    let reason = b.wait(|event| match event {
        Event::PeerGone { peer, reason, .. } if peer == gone => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, GoneReason::Disconnected);
}

/// The same key and certificate on the same port: the map stays right, and the clients come back by themselves.
#[tokio::test]
async fn after_a_restart_the_clients_are_back() {
    let directory = tempfile::tempdir().unwrap();
    let start = |addr: SocketAddr| {
        let State { secret, certificate } = State::open(directory.path(), "127.0.0.1").unwrap();
        let tls = Tls::Certificate(certificate);
        Relay::start(Config { secret: Some(secret), tls, stun: None, ..Config::new(addr) }).unwrap()
    };
    let first = start(([127, 0, 0, 1], 0).into());
    let addr = first.addr();
    let (mut a, _) = Client::up(config(1, first.region(REGION))).await;
    let (mut b, _) = Client::up(config(2, first.region(REGION))).await;
    // Beside the clients, which have to hear of it.
    tokio::task::spawn_blocking(move || first.shutdown(PATIENCE)).await.unwrap();
    let _second = start(addr);
    for client in [&a, &b] {
        client.wait(|event| matches!(event, Event::Restarting { .. }).then_some(())).await;
        client.wait(|event| matches!(event, Event::Up { .. }).then_some(())).await;
    }
    a.send(b.key, &[b"again".to_vec()]).await;
    assert_eq!(b.receive().await, (a.key, b"again".to_vec()));
}
