//! Whoever sends as fast as it can, a peer or a stranger, takes nothing from another peer.
#![cfg(feature = "tokio")]

mod common;

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use common::{addr, batch, core, packet, peer};
use tidewire_clock as clock;
use tidewire_dataplane::{
    Change,
    driver::{Driver, Handle},
};
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_transport::{
    Depth, Fault, FromOverlay, FromUnderlay, Hop, OverlayId, Rx, ToOverlay, ToUnderlay, Tx, Underlay, queue,
    queued_overlay,
};
use tidewire_tunnel::Discard;
use tokio::task::{spawn_local, yield_now};

const HUB: u8 = 1;
const FLOODER: u8 = 2;
const QUIET: u8 = 3;
const LONG: Duration = Duration::from_secs(60);
/// A socket's buffer: room for more than one node sends in one turn.
const BUFFER: Depth = depth(64);
/// The hub's own side has room for what comes before it has a turn.
const HUB_DEPTH: Depth = depth(256);
const NODE_DEPTH: Depth = depth(16);

const fn depth(items: usize) -> Depth {
    Depth { items, bytes: 64 << 20 }
}

/// A UDP socket: what arrives waits in one queue, whoever sent it, and what finds that full is lost.
struct Socket {
    me: u8,
    pool: Pool,
    rx: Rx<FromUnderlay>,
    others: Vec<(u8, Tx<FromUnderlay>)>,
}

impl Underlay for Socket {
    fn carries(&self, hop: &Hop) -> bool {
        matches!(hop, Hop::Udp(_))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>> {
        self.rx.poll_recv(cx).map(|item| {
            *into = item.ok_or(Fault::Closed)?;
            Ok(())
        })
    }

    fn poll_send(&mut self, _: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<Result<(), Fault>> {
        let Self { me, pool, others, .. } = self;
        let sent = item.take_runs(
            |_| true,
            |batch, run| {
                let mut arriving = FromUnderlay { batch: pool.batch(Class::Send), runs: Vec::new() };
                for i in run.range() {
                    arriving.batch.push(batch.get(i).unwrap()).unwrap();
                    arriving.address(i - run.range().start, Hop::Udp(addr(*me)));
                }
                let (_, tx) = others.iter().find(|(n, _)| run.hop == Hop::Udp(addr(*n))).unwrap();
                drop(tx.offer(arriving));
                Poll::Ready(())
            },
        );
        sent.map(Ok)
    }
}

/// A transport on which strangers always have something more to say.
struct Endless(Pool);

impl Underlay for Endless {
    fn carries(&self, _: &Hop) -> bool {
        false
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>> {
        *into = FromUnderlay { batch: self.0.batch(Class::Send), runs: Vec::new() };
        for i in 0..32 {
            let mut datagram = vec![0x33; 148];
            datagram[..4].copy_from_slice(&[if i % 2 == 0 { 1 } else { 4 }, 0, 0, 0]);
            into.batch.push(&datagram).unwrap();
            into.address(i, Hop::Udp(addr(66)));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, _: &mut ToUnderlay) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }
}

struct Node {
    handle: Handle,
    down: Tx<FromOverlay>,
    up: Rx<ToOverlay>,
}

impl Node {
    fn start(socket: Socket, peers: &[u8], also: Option<Endless>) -> Self {
        let pool = socket.pool.clone();
        let mut core = core(socket.me, &pool);
        let peers = peers.iter().map(|n| peer(*n)).collect();
        core.apply(clock::now(), Change::Peers(peers), &mut Default::default()).unwrap();
        let (mut driver, handle, _notes) = Driver::new(core, || None);
        let depth = if socket.me == HUB { HUB_DEPTH } else { NODE_DEPTH };
        let (overlay, down, up) = queued_overlay(depth, pool, OverlayId(0), 1280);
        if let Some(endless) = also {
            driver.attach_underlay(Box::new(endless));
        }
        driver.attach_underlay(Box::new(socket));
        driver.attach_overlay(OverlayId(0), Box::new(overlay));
        spawn_local(driver.run());
        Self { handle, down, up }
    }
}

/// A hub that sends each packet back, and two nodes that know only the hub.
struct Star {
    pool: Pool,
    hub: Handle,
    flooder: Node,
    quiet: Node,
}

impl Star {
    fn start(endless: bool) -> Self {
        let pool = Pool::default();
        let (ends, queues): (Vec<_>, Vec<_>) = (0..3).map(|_| queue(BUFFER)).unzip();
        let mut sockets = queues.into_iter().zip([HUB, FLOODER, QUIET]).map(|(rx, me)| {
            let others = [HUB, FLOODER, QUIET].into_iter().zip(ends.iter().cloned()).collect();
            Socket { me, pool: pool.clone(), rx, others }
        });
        let mut start = |peers: &[u8], also| Node::start(sockets.next().unwrap(), peers, also);
        let hub = start(&[FLOODER, QUIET], endless.then(|| Endless(pool.clone())));
        let (flooder, quiet) = (start(&[HUB], None), start(&[HUB], None));
        let Node { handle, down, up } = hub;
        spawn_local(send_back(pool.clone(), down, up));
        Self { pool, hub: handle, flooder, quiet }
    }
}

async fn send_back(pool: Pool, down: Tx<FromOverlay>, mut up: Rx<ToOverlay>) {
    while let Some(item) = up.recv().await {
        let mut back: Batch<Plain> = pool.batch(Class::Send);
        for packet in item.batch.iter() {
            let mut packet = packet.to_vec();
            let (source, destination) = packet[12..20].split_at_mut(4);
            source.swap_with_slice(destination);
            back.push(&packet).unwrap();
        }
        if down.send(FromOverlay { from: OverlayId(0), batch: back }).await.is_err() {
            return;
        }
    }
}

fn run(test: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = tokio::task::LocalSet::new();
    // Spawned as well, so that it has its turns as all others.
    let test = set.run_until(async { spawn_local(clock::timeout(LONG, test)).await });
    runtime.block_on(test).unwrap().expect("the test hangs");
}

#[test]
fn a_flood_of_one_peer_takes_nothing_from_another_in_either_direction() {
    const PINGS: usize = 100;
    const BETWEEN: usize = 200;
    run(async {
        let Star { pool, hub: _hub, flooder, mut quiet } = Star::start(false);
        // The flooder's packets that came back: the flood runs both ways.
        let flooded = Rc::new(Cell::new(0));
        let Node { handle: _flooder, down, mut up } = flooder;
        let small = vec![packet(FLOODER, HUB, 64); 40];
        spawn_local({
            let pool = pool.clone();
            async move {
                while down.send(FromOverlay { from: OverlayId(0), batch: batch(&pool, &small) }).await.is_ok()
                {
                }
            }
        });
        spawn_local({
            let flooded = Rc::clone(&flooded);
            async move {
                while let Some(item) = up.recv().await {
                    flooded.set(flooded.get() + item.batch.len());
                }
            }
        });
        let after = async |packets: usize| {
            let until = flooded.get() + packets;
            while flooded.get() < until {
                yield_now().await;
            }
        };
        let mut back = 0;
        for _ in 0..PINGS {
            after(BETWEEN).await;
            let ping = batch(&pool, &[packet(QUIET, HUB, 100)]);
            quiet.down.send(FromOverlay { from: OverlayId(0), batch: ping }).await.unwrap();
            back += std::iter::from_fn(|| quiet.up.try_recv()).map(|item| item.batch.len()).sum::<usize>();
        }
        after(10 * BETWEEN).await;
        back += std::iter::from_fn(|| quiet.up.try_recv()).map(|item| item.batch.len()).sum::<usize>();
        assert!(back >= PINGS * 95 / 100, "{back} of {PINGS} came back");
    });
}

#[test]
fn a_transport_that_always_has_more_takes_nothing_from_another() {
    run(async {
        let Star { pool, hub, flooder: _flooder, mut quiet } = Star::start(true);
        for _ in 0..50 {
            let ping = batch(&pool, &[packet(QUIET, HUB, 100)]);
            quiet.down.send(FromOverlay { from: OverlayId(0), batch: ping }).await.unwrap();
            assert_eq!(quiet.up.recv().await.unwrap().batch.len(), 1);
        }
        let counters = hub.call(|core, _, _| core.counters().clone()).await.unwrap();
        assert!(counters.tunnel().get(Discard::BadMac1) > 1000);
    });
}
