//! Our client against Tailscale's own relay. Not among the default tests, for it needs that program:
//! `TIDEWIRE_DERPER=$(go env GOPATH)/bin/derper cargo test -p tidewire-derp --features client --test derper`.

mod support;

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use support::{Client, LONG, REGION, config};
use tidewire_clock as clock;
use tidewire_derp::{
    Region, RegionNode, Regions,
    frame::GoneReason,
    machine::{DownReason, Event, Failure, Rung, Seen, Step},
    region::CertName,
};
use tidewire_keys::NodePublic;

/// Tailscale's relay, for as long as this lives.
struct Derper {
    child: Child,
    dir: PathBuf,
    node: RegionNode,
}

impl Derper {
    /// With TLS, a certificate of its own, and a pin.
    fn tls(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("tidewire-derper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        Self::start(dir, port, RegionNode { derp_port: port, ..RegionNode::new("900a", "127.0.0.1") })
    }

    fn start(dir: PathBuf, port: u16, node: RegionNode) -> Self {
        let mut derper = Self { child: run(&dir, port), dir, node };
        let mut log = BufReader::new(derper.child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let pin = log.find_map(|line| line.split_once("\"CertName\":\"")?.1.split('"').next()?.parse().ok());
        derper.node.cert_name = pin.expect("derper prints its pin");
        // Nobody to read what it says would end it.
        std::thread::spawn(move || log.for_each(drop));
        // It prints the pin before it listens.
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        derper
    }

    fn regions(&self) -> Regions {
        Regions::try_from(vec![Region::new(REGION, "lab", vec![self.node.clone()])]).unwrap()
    }

    /// Stops it as an operator does, and starts it again with the same keys and certificate.
    fn restart(mut self) -> Self {
        self.stop();
        let (dir, port) = (std::mem::take(&mut self.dir), self.node.derp_port);
        Self::start(dir, port, self.node.clone())
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Derper {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if !self.dir.as_os_str().is_empty() {
            std::fs::remove_dir_all(&self.dir).ok();
        }
    }
}

fn run(dir: &Path, port: u16) -> Child {
    let program = std::env::var("TIDEWIRE_DERPER").expect("TIDEWIRE_DERPER names Tailscale's derper");
    let args = ["-certmode", "manual", "-hostname", "127.0.0.1", "-http-port", "-1", "-stun=false"];
    let mut command = Command::new(program);
    command.args(args).arg("-certdir").arg(dir).arg("-c").arg(dir.join("key"));
    command.arg("-a").arg(format!("127.0.0.1:{port}"));
    command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn gone(event: &Event) -> Option<(NodePublic, GoneReason)> {
    match event {
        Event::PeerGone { region: REGION, peer, reason } => Some((*peer, *reason)),
        _ => None,
    }
}

#[tokio::test]
async fn every_rung_logs_in_and_carries_packets_of_every_size() {
    let derper = Derper::tls("rungs");
    for (n, fast_start, force_websocket, expected) in [
        (10, true, false, Rung::FastStart),
        (20, false, false, Rung::Upgrade),
        (30, true, true, Rung::WebSocket),
    ] {
        let config = |n| {
            let config = config(n, derper.regions());
            tidewire_derp::client::ClientConfig { fast_start, force_websocket, ..config }
        };
        let (mut a, rung) = Client::up(config(n)).await;
        assert_eq!(rung, expected);
        let (mut b, _) = Client::up(config(n + 1)).await;
        let (a_key, b_key) = (a.key, b.key);
        a.reach(&mut b, b"first").await;
        for len in [0, 1, 37, 1400, 32_763, 32_764, 32_768, 61_440, 65_535, 65_536] {
            let packet: Vec<u8> = (0..len).map(|i: usize| (i * 7) as u8).collect();
            a.send(b_key, std::slice::from_ref(&packet)).await;
            while b.receive().await != (a_key, packet.clone()) {}
            b.send(a_key, std::slice::from_ref(&packet)).await;
            assert_eq!(a.receive().await, (b_key, packet), "{len} bytes by {rung}");
        }
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test]
async fn another_pin_is_refused() {
    let mut derper = Derper::tls("pin");
    derper.node.cert_name = CertName::Pin([7; 32]);
    let client = Client::start(config(1, derper.regions()));
    let failure = client.wait(|event| match event {
        Event::Failed(failure) => Some(failure.clone()),
        _ => None,
    });
    let Failure { step: Step::Tls, seen: Seen::Tls(what), .. } = failure.await else { panic!() };
    assert!(what.contains("not the pinned one"), "{what}");
    derper.node.cert_name = CertName::HostName;
    let client = Client::start(config(1, derper.regions()));
    let failure = client.wait(|event| match event {
        Event::Failed(failure) => Some(failure.clone()),
        _ => None,
    });
    assert!(matches!(failure.await, Failure { step: Step::Tls, seen: Seen::Tls(_), .. }));
}

#[tokio::test]
async fn a_peer_that_is_not_there_or_leaves_is_reported() {
    let derper = Derper::tls("gone");
    let (mut a, _) = Client::up(config(1, derper.regions())).await;
    let nobody = NodePublic::from_bytes([0x77; 32]);
    let mut disco = b"TS\xf0\x9f\x92\xac".to_vec();
    disco.resize(80, 0);
    a.send(nobody, &[disco]).await;
    assert_eq!(a.wait(gone).await, (nobody, GoneReason::NotHere));
    let (mut b, _) = Client::up(config(2, derper.regions())).await;
    let b_key = b.key;
    b.reach(&mut a, b"hello").await;
    b.stop().await;
    assert_eq!(a.wait(gone).await, (b_key, GoneReason::Disconnected));
}

#[tokio::test]
async fn the_newest_login_with_one_key_receives() {
    let derper = Derper::tls("twice");
    let (mut a, _) = Client::up(config(1, derper.regions())).await;
    let (mut old, _) = Client::up(config(2, derper.regions())).await;
    a.reach(&mut old, b"to the old one").await;
    let (mut new, _) = Client::up(config(2, derper.regions())).await;
    a.reach(&mut new, b"to the new one").await;
}

#[tokio::test]
async fn a_relay_that_restarts_is_found_again() {
    let derper = Derper::tls("restart");
    let (mut a, _) = Client::up(config(1, derper.regions())).await;
    let (mut b, _) = Client::up(config(2, derper.regions())).await;
    a.reach(&mut b, b"before").await;
    let derper = derper.restart();
    for client in [&a, &b] {
        let why = client.wait(|event| match event {
            Event::Down { why: DownReason::Failed(failure), .. } => Some(failure.seen.clone()),
            _ => None,
        });
        assert_eq!(why.await, Seen::End);
        client.wait_up().await;
    }
    a.reach(&mut b, b"after").await;
    drop(derper);
}

#[tokio::test]
async fn a_flood_arrives_in_batches_and_in_order() {
    let derper = Derper::tls("flood");
    let (mut a, _) = Client::up(config(1, derper.regions())).await;
    let (mut b, _) = Client::up(config(2, derper.regions())).await;
    a.reach(&mut b, &[0; 4]).await;
    // derper keeps 32 packets for a client: so many and no more are sent before they have arrived.
    let (mut items, mut next) = (0, 0_u32);
    while next < 3200 {
        let packets: Vec<Vec<u8>> = (next..next + 32)
            .map(|number| {
                let mut packet = (number + 1).to_be_bytes().to_vec();
                packet.resize(1400, 0);
                packet
            })
            .collect();
        a.send(b.key, &packets).await;
        let end = next + 32;
        while next < end {
            let item = b.item().await;
            items += 1;
            for packet in item.batch.iter() {
                let number = u32::from_be_bytes(packet[..4].try_into().unwrap());
                if number > 0 {
                    next += 1;
                    assert_eq!(number, next);
                }
            }
        }
    }
    println!("3200 packets in {items} items");
    assert!(items < 3200);
}

#[tokio::test]
async fn the_round_trip_time_is_known_soon() {
    let derper = Derper::tls("rtt");
    let (a, _) = Client::up(config(1, derper.regions())).await;
    let known = clock::timeout(LONG, async {
        while a.control.status().regions[0].rtt.is_none() {
            clock::sleep(Duration::from_millis(5)).await;
        }
    });
    known.await.unwrap();
}
