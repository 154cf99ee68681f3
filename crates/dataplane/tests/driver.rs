//! What the driver promises: it carries, it waits where something blocks, it can be changed while it runs, and it ends.
#![cfg(feature = "tokio")]

mod common;

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{addr, batch, core, packet, peer, secret};
use tidewire_clock as clock;
use tidewire_dataplane::{
    Change, Command, DataPlane, Event, Filter, Identity, Out, Reason,
    driver::{Driver, Handle, Note},
};
use tidewire_keys::{DiscoSecret, Epoch, Seed, Tai64N};
use tidewire_packet::Pool;
use tidewire_transport::{
    Depth, Fault, FromOverlay, FromUnderlay, Hop, OverlayId, Rx, ToOverlay, ToUnderlay, Tx, Underlay, queue,
    queued_overlay,
};

const DEPTH: Depth = Depth { items: 256, bytes: 64 << 20 };
const LONG: Duration = Duration::from_secs(20);

/// An inline underlay: one end of a wire to another node. It can be made to block.
struct Wire {
    me: u8,
    tx: Tx<FromUnderlay>,
    rx: Rx<FromUnderlay>,
    valve: Arc<Mutex<Valve>>,
}

#[derive(Default)]
struct Valve {
    closed: bool,
    blocked: Option<Waker>,
}

impl Underlay for Wire {
    fn carries(&self, hop: &Hop) -> bool {
        matches!(hop, Hop::Udp(_))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>> {
        self.rx.poll_recv(cx).map(|item| {
            *into = item.ok_or(Fault::Closed)?;
            Ok(())
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<Result<(), Fault>> {
        let mut valve = self.valve.lock().unwrap();
        if valve.closed {
            valve.blocked = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut arriving =
            FromUnderlay { batch: std::mem::take(&mut item.batch), runs: std::mem::take(&mut item.runs) };
        for run in &mut arriving.runs {
            run.hop = Hop::Udp(addr(self.me));
        }
        Poll::Ready(self.tx.offer(arriving).map_err(|_| Fault::Closed))
    }
}

struct Side {
    handle: Handle,
    notes: Rx<Note>,
    down: Tx<FromOverlay>,
    up: Rx<ToOverlay>,
    valve: Arc<Mutex<Valve>>,
    running: tokio::task::JoinHandle<DataPlane>,
}

impl Side {
    fn start(me: u8, other: u8, pool: &Pool, tx: Tx<FromUnderlay>, rx: Rx<FromUnderlay>) -> Self {
        let mut core = core(me, pool);
        core.apply(clock::now(), Change::Peers(vec![peer(other)]), &mut Default::default()).unwrap();
        let (mut driver, handle, notes) = Driver::new(core, || None);
        let (overlay, down, up) = queued_overlay(DEPTH, pool.clone(), OverlayId(0), 1280);
        let valve = Arc::new(Mutex::new(Valve::default()));
        driver.attach_underlay(Box::new(Wire { me, tx, rx, valve: Arc::clone(&valve) }));
        driver.attach_overlay(OverlayId(0), Box::new(overlay));
        Self { handle, notes, down, up, valve, running: tokio::spawn(driver.run()) }
    }

    fn valve(&self, closed: bool) {
        let mut valve = self.valve.lock().unwrap();
        valve.closed = closed;
        if let Some(waker) = valve.blocked.take() {
            waker.wake();
        }
    }

    async fn received(&mut self, packets: usize) -> usize {
        let mut got = 0;
        while got < packets {
            got += self.up.recv().await.unwrap().batch.len();
        }
        got
    }
}

fn pair(pool: &Pool) -> (Side, Side) {
    let (to_b, from_a) = queue(DEPTH);
    let (to_a, from_b) = queue(DEPTH);
    (Side::start(1, 2, pool, to_b, from_b), Side::start(2, 1, pool, to_a, from_a))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(clock::timeout(LONG, test)).expect("the test hangs");
}

#[test]
fn packets_travel_between_two_drivers() {
    run(async {
        let pool = Pool::default();
        let (a, mut b) = pair(&pool);
        a.down
            .send(FromOverlay { from: OverlayId(0), batch: batch(&pool, &[packet(1, 2, 100)]) })
            .await
            .unwrap();
        b.received(1).await;
        for _ in 0..10 {
            let batch = batch(&pool, &vec![packet(1, 2, 1280); 40]);
            a.down.send(FromOverlay { from: OverlayId(0), batch }).await.unwrap();
        }
        assert_eq!(b.received(400).await, 400);
    });
}

#[test]
fn an_inline_underlay_that_blocks_stops_the_overlay_and_loses_nothing() {
    run(async {
        let pool = Pool::default();
        let (a, mut b) = pair(&pool);
        a.down
            .send(FromOverlay { from: OverlayId(0), batch: batch(&pool, &[packet(1, 2, 100)]) })
            .await
            .unwrap();
        b.received(1).await;
        a.valve(true);
        for _ in 0..100 {
            let batch = batch(&pool, &vec![packet(1, 2, 100); 10]);
            a.down.send(FromOverlay { from: OverlayId(0), batch }).await.unwrap();
        }
        // Orders are obeyed while packets wait, and the driver has not read on.
        let counters = a.handle.call(|core, _, _| core.counters().clone()).await.unwrap();
        assert_eq!(counters.discarded(Reason::TransportFull), 0);
        assert!(b.up.try_recv().is_none());
        a.valve(false);
        assert_eq!(b.received(1000).await, 1000);
    });
}

#[test]
fn a_transport_comes_and_goes_without_waiting_for_traffic() {
    run(async {
        let pool = Pool::default();
        let (a, _b) = pair(&pool);
        let (overlay, down, up) = queued_overlay(DEPTH, pool.clone(), OverlayId(1), 1280);
        let id = a.handle.attach_overlay(OverlayId(1), Box::new(overlay)).await.unwrap();
        a.handle.call(|_, _, _| ()).await.unwrap();
        assert!(!down.is_closed());
        a.handle.detach(id).await.unwrap();
        a.handle.call(|_, _, _| ()).await.unwrap();
        assert!(down.is_closed(), "the driver let go of it");
        drop(up);
    });
}

#[test]
fn a_transport_that_is_gone_is_detached_and_told_and_others_go_on() {
    run(async {
        let pool = Pool::default();
        let (mut a, b) = pair(&pool);
        b.handle.stop();
        drop(b.running.await.unwrap());
        loop {
            match a.notes.recv().await.unwrap() {
                Note::Fault { fault, .. } => {
                    assert!(fault.is_final());
                    break;
                }
                _ => continue,
            }
        }
        a.down
            .send(FromOverlay { from: OverlayId(0), batch: batch(&pool, &[packet(1, 2, 100)]) })
            .await
            .unwrap();
        let dropped = async {
            loop {
                let counters = a.handle.call(|core, _, _| core.counters().clone()).await.unwrap();
                if counters.discarded(Reason::NoTransport) > 0 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        dropped.await;
    });
}

#[test]
fn a_peer_that_gave_up_has_the_wall_clock_looked_at() {
    run(async {
        let identity = Identity { node: secret(1), disco: DiscoSecret::from_bytes([101; 32]) };
        // A machine that did not know the time when it started.
        let epoch = Epoch::new(Duration::from_secs(100));
        let seed = Seed::new([1; 32]);
        let mut core =
            DataPlane::new(clock::now(), identity, Filter::AllowAll, epoch, &seed, Pool::default());
        core.apply(clock::now(), Change::Peers(vec![peer(2), peer(3)]), &mut Out::default()).unwrap();
        let (driver, handle, _notes) = Driver::new(core, || None);
        tokio::spawn(driver.run());
        let year_2020 = Tai64N::from_unix(Duration::from_secs(1_577_836_800));
        for (other, is_right) in [(2, false), (3, true)] {
            handle.command(Command::Initiate { peer: secret(other).public() }).await.unwrap();
            let stamp = handle.call(|core, _, _| core.last_stamp()).await.unwrap().unwrap();
            assert_eq!(stamp > year_2020, is_right);
            let peer = secret(2).public();
            handle.call(move |_, _, out| out.events.push(Event::GaveUp { peer })).await.unwrap();
        }
    });
}

#[test]
fn the_driver_ends_with_its_last_handle_and_gives_the_core_back() {
    run(async {
        let pool = Pool::default();
        let (a, b) = pair(&pool);
        let Side { handle, running, .. } = a;
        drop((handle, b));
        let core = running.await.unwrap();
        assert_eq!(core.peers().count(), 1);
    });
}
