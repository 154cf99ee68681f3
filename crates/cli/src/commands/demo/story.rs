//! What happens in the demo, in order, and what is measured of it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use tidewire_keys::{NodePublic, Seed};
use tidewire_node::{
    Config, Event, Events, Filter, Keys, Map, Node, Peer, Region, RegionId, RelayStatus, Route, TcpStream,
    Tuning, clock,
};
use tidewire_relay::Relay;

use super::{
    Measured,
    gate::{Gate, Switch},
    service::{PORT, bulk, echo, serve},
    teller::Teller,
};

const REGION: RegionId = RegionId(900);

/// How long one step may take before the demo gives up and says which.
const PATIENCE: Duration = Duration::from_secs(25);

/// Tells the story. What was measured until a failure stays in `measured`.
pub(super) async fn tell(bytes: u64, quiet: bool, measured: &mut Measured) -> Result<()> {
    let teller = Teller::new(quiet);
    let relay = Relay::start(tidewire_relay::Config::new(([127, 0, 0, 1], 0).into()))
        .context("the relay does not start")?;
    teller.step(&format!(
        "relay on {}, with a fresh certificate; two nodes know only each other's keys and the relay",
        relay.addr()
    ));
    let switch = Switch::default();
    let cast = Cast::start(relay.region(REGION), &switch).await?;

    let start = clock::now();
    let mut stream = within("the first connection", cast.a.dial_tcp(cast.service())).await??;
    within("the first answer", echo(&mut stream, b"hello, B")).await??;
    measured.relay_first_reply_ms = ms(start);
    expect_relayed(&cast).await?;
    teller.step(&format!(
        "first answer from B, through the relay, after {:.1} ms",
        measured.relay_first_reply_ms
    ));

    let (start, events) = (clock::now(), cast.a.events());
    switch.open(true);
    let path = within("the direct path", direct(events, cast.b_key)).await??;
    measured.direct_after_ms = ms(start);
    teller.step(&format!("UDP is open: direct path {path} proven after {:.1} ms", measured.direct_after_ms));
    measured.direct_mbps = transfer(&teller, "direct", &mut stream, bytes, measured).await?;
    teller.step(&format!(
        "{} over the direct path, hash verified: {:.0} Mbit/s",
        size(bytes),
        measured.direct_mbps
    ));

    let start = clock::now();
    switch.open(false);
    within("the way back to the relay", echo(&mut stream, b"are you still there?")).await??;
    measured.fallback_ms = ms(start);
    teller.step(&format!(
        "UDP is cut: the same connection goes on through the relay after {:.0} ms",
        measured.fallback_ms
    ));
    measured.relay_mbps = transfer(&teller, "relayed", &mut stream, bytes, measured).await?;
    expect_relayed(&cast).await?;
    teller.step(&format!(
        "{} through the relay, hash verified: {:.0} Mbit/s",
        size(bytes),
        measured.relay_mbps
    ));

    let (start, events) = (clock::now(), cast.a.events());
    switch.open(true);
    let path = within("the direct path again", direct(events, cast.b_key)).await??;
    measured.back_to_direct_ms = ms(start);
    within("the last answer", echo(&mut stream, b"good bye, B")).await??;
    teller.step(&format!(
        "UDP is open again: traffic is back on {path} after {:.0} ms",
        measured.back_to_direct_ms
    ));
    Ok(())
}

/// The two nodes.
struct Cast {
    a: Node,
    b: Node,
    b_key: NodePublic,
}

impl Cast {
    const A: [u8; 4] = [100, 64, 0, 1];
    const B: [u8; 4] = [100, 64, 0, 2];

    async fn start(region: Region, switch: &Switch) -> Result<Self> {
        let (a_keys, b_keys) = (Keys::generate()?, Keys::generate()?);
        let a_peer = Peer::new(a_keys.node.public(), a_keys.disco.public())
            .address(ip(Self::A))
            .home(REGION)
            .name("A");
        let b_peer = Peer::new(b_keys.node.public(), b_keys.disco.public())
            .address(ip(Self::B))
            .home(REGION)
            .name("B");
        let b_key = b_peer.key;
        let a = start_node(a_keys, Self::A, region.clone(), b_peer, switch).await?;
        let b = start_node(b_keys, Self::B, region, a_peer, switch).await?;
        for node in [&a, &b] {
            within("the relay's word that a node may come in", relayed(node)).await??;
        }
        let listener = b.listen_tcp(PORT)?;
        tokio::spawn(serve(listener));
        Ok(Self { a, b, b_key })
    }

    fn service(&self) -> SocketAddr {
        (Self::B, PORT).into()
    }
}

async fn start_node(
    keys: Keys,
    address: [u8; 4],
    region: Region,
    peer: Peer,
    switch: &Switch,
) -> Result<Node> {
    let map = Map { regions: vec![region], peers: vec![peer] };
    let config = Config::new(keys, Filter::AllowAll).address(ip(address)).home(REGION).map(map);
    let switch = switch.clone();
    let tuning = Tuning::default().udp(move |inner| Gate::around(inner, switch));
    Ok(Node::start_with(config, tuning).await?)
}

fn ip(address: [u8; 4]) -> std::net::IpAddr {
    address.into()
}

/// Waits until the node is logged in at the relay: what is sent to it before that is lost there.
async fn relayed(node: &Node) -> Result<()> {
    let mut events = node.events();
    while !node.status().await?.relays.iter().any(RelayStatus::is_up) {
        if events.next().await.is_none() {
            bail!("the node stopped");
        }
    }
    Ok(())
}

/// Waits until packets for B go by UDP; says by which address.
async fn direct(mut events: Events, peer: NodePublic) -> Result<String> {
    while let Some(event) = events.next().await {
        if let Event::PathChanged { peer: whose, to: Route::One(hop), .. } = event
            && whose == peer
            && !hop.is_derp()
        {
            return Ok(hop.to_string());
        }
    }
    bail!("the node stopped")
}

async fn expect_relayed(cast: &Cast) -> Result<()> {
    for node in [&cast.a, &cast.b] {
        let status = node.status().await?;
        if status.peers.iter().any(tidewire_node::PeerStatus::is_direct) {
            bail!("packets go by UDP though it is cut");
        }
    }
    Ok(())
}

/// Sends bytes and has them verified; returns the rate in Mbit/s.
async fn transfer(
    teller: &Teller,
    what: &'static str,
    stream: &mut TcpStream,
    bytes: u64,
    measured: &mut Measured,
) -> Result<f64> {
    let bar = teller.bar(what, bytes);
    let seed = Seed::try_fill(getrandom::fill)?;
    let took = within("a bulk transfer", bulk(stream, bytes, seed, &bar)).await??;
    measured.bytes_verified += bytes;
    Ok(round(bytes as f64 * 8.0 / took.as_secs_f64().max(1e-6) / 1e6))
}

/// Runs one step, for as long as patience lasts.
async fn within<F: Future>(what: &str, step: F) -> Result<F::Output> {
    clock::timeout(PATIENCE, step).await.with_context(|| format!("{what} did not come within {PATIENCE:?}"))
}

fn ms(start: std::time::Instant) -> f64 {
    round((clock::now() - start).as_secs_f64() * 1e3)
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
