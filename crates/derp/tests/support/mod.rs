//! What the tests with real sockets share: a client with its task, and how to send and receive through its underlay.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

pub mod relay;

use std::{future::poll_fn, time::Duration};

use tidewire_clock as clock;
use tidewire_derp::{
    RegionId, Regions,
    client::{ClientConfig, DerpControl, client},
    machine::{Event, Rung},
};
use tidewire_keys::{NodePublic, NodeSecret, Seed};
use tidewire_packet::{Class, Pool};
use tidewire_transport::{FromUnderlay, Hop, QueuedUnderlay, ToUnderlay, Underlay};

pub const REGION: RegionId = RegionId(900);
/// No step of a test takes so long.
pub const LONG: Duration = Duration::from_secs(20);

/// A client whose task runs, and what it received and nobody has looked at.
pub struct Client {
    pub key: NodePublic,
    pub underlay: QueuedUnderlay,
    pub control: DerpControl,
    task: tokio::task::JoinHandle<()>,
    received: Vec<(NodePublic, Vec<u8>)>,
    pool: Pool,
}

pub fn config(n: u8, regions: Regions) -> ClientConfig {
    let config = ClientConfig::new(NodeSecret::from_bytes([n; 32]), regions, Seed::new([n; 32]));
    ClientConfig { home: Some(REGION), ..config }
}

impl Client {
    pub fn start(config: ClientConfig) -> Self {
        let pool = Pool::default();
        let key = config.key.public();
        let (underlay, control, task) = client(config, pool.clone()).unwrap();
        Self { key, underlay, control, task: tokio::spawn(task), received: Vec::new(), pool }
    }

    /// A client that is logged in, and by which rung.
    pub async fn up(config: ClientConfig) -> (Self, Rung) {
        let client = Self::start(config);
        let rung = client.wait_up().await;
        (client, rung)
    }

    pub async fn wait_up(&self) -> Rung {
        self.wait(|event| match event {
            Event::Up { rung, .. } => Some(*rung),
            _ => None,
        })
        .await
    }

    /// Waits for an event; panics with those that came instead.
    pub async fn wait<T>(&self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut others = Vec::new();
        let found = clock::timeout(LONG, async {
            loop {
                let event = self.control.event().await.expect("the client runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
                others.push(event);
            }
        })
        .await;
        found.unwrap_or_else(|_| panic!("not seen, but {others:?}"))
    }

    /// Sends packets as one item.
    pub async fn send(&mut self, to: NodePublic, packets: &[Vec<u8>]) {
        let bytes = packets.iter().map(Vec::len).sum();
        let mut item = ToUnderlay { batch: self.pool.batch(Class::holding(bytes)), runs: Vec::new() };
        for (i, packet) in packets.iter().enumerate() {
            item.batch.push(packet).unwrap();
            item.address(i, Hop::Derp { region: REGION, peer_key: to });
        }
        let underlay = &mut self.underlay;
        poll_fn(|cx| underlay.poll_send(cx, &mut item)).await.unwrap();
        assert!(item.runs.is_empty());
    }

    /// The next item, as it comes.
    pub async fn item(&mut self) -> FromUnderlay {
        let mut item = FromUnderlay::default();
        let underlay = &mut self.underlay;
        let received = clock::timeout(LONG, poll_fn(|cx| underlay.poll_recv(cx, &mut item))).await;
        received.expect("something arrives").unwrap();
        item
    }

    /// The next packet and whom it is from.
    pub async fn receive(&mut self) -> (NodePublic, Vec<u8>) {
        while self.received.is_empty() {
            let item = self.item().await;
            for run in &item.runs {
                let Hop::Derp { region: REGION, peer_key } = run.hop else { panic!("{run:?}") };
                self.received.extend(run.range().map(|i| (peer_key, item.batch.get(i).unwrap().to_vec())));
            }
        }
        self.received.remove(0)
    }

    /// Sends `packet` to `to` again and again until it gets there: logins do not tell each other.
    pub async fn reach(&mut self, to: &mut Self, packet: &[u8]) {
        let (key, mut item) = (to.key, FromUnderlay::default());
        for _ in 0..200 {
            self.send(key, &[packet.to_vec()]).await;
            let underlay = &mut to.underlay;
            let wait = Duration::from_millis(100);
            if clock::timeout(wait, poll_fn(|cx| underlay.poll_recv(cx, &mut item))).await.is_ok() {
                return;
            }
        }
        panic!("never arrived");
    }

    /// Ends the client as a program does that drops it.
    pub async fn stop(self) {
        drop(self.underlay);
        self.task.await.unwrap();
    }
}
