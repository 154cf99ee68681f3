//! How datagrams become runs, and how queued transports take them over.

use std::{
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use tidewire_packet::{Batch, Class, Plain, Pool, Wire};
use tidewire_transport::{
    Depth, Fault, FromUnderlay, Hop, Overlay, OverlayId, Run, ToOverlay, ToUnderlay, Underlay, queued,
    queued_overlay,
};

const DEPTH: Depth = Depth { items: 2, bytes: 1 << 20 };

fn hop(port: u16) -> Hop {
    Hop::Udp(SocketAddr::from(([192, 0, 2, 1], port)))
}

fn batch(lens: &[usize]) -> Batch<Wire> {
    let mut batch = Pool::default().batch(Class::Send);
    for (i, len) in lens.iter().enumerate() {
        batch.push(&vec![u8::try_from(i).unwrap(); *len]).unwrap();
    }
    batch
}

fn addressed(lens: &[usize], hops: &[u16]) -> ToUnderlay {
    let mut item = ToUnderlay { batch: batch(lens), runs: Vec::new() };
    for (i, port) in hops.iter().enumerate() {
        item.address(i, hop(*port));
    }
    item
}

fn shape(item: &ToUnderlay) -> Vec<(u32, u32, u32)> {
    item.runs.iter().map(|run| (run.first, run.count, run.stride)).collect()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn a_run_goes_on_while_hop_and_length_are_the_same_and_may_end_shorter() {
    assert_eq!(shape(&addressed(&[100, 100, 60, 60], &[1; 4])), [(0, 3, 100), (3, 1, 60)]);
    assert_eq!(shape(&addressed(&[100, 120], &[1; 2])), [(0, 1, 100), (1, 1, 120)]);
    assert_eq!(shape(&addressed(&[100, 100, 100], &[1, 2, 2])), [(0, 1, 100), (1, 2, 100)]);
}

#[test]
fn an_empty_datagram_is_never_part_of_a_longer_run() {
    assert_eq!(shape(&addressed(&[100, 0, 0], &[1; 3])), [(0, 1, 100), (1, 1, 0), (2, 1, 0)]);
}

#[test]
fn a_skipped_datagram_ends_the_run() {
    let mut item = ToUnderlay { batch: batch(&[100; 3]), runs: Vec::new() };
    item.address(0, hop(1));
    item.address(2, hop(1));
    assert_eq!(shape(&item), [(0, 1, 100), (2, 1, 100)]);
}

#[test]
fn datagrams_with_a_gap_between_are_runs_of_one() {
    let mut batch: Batch<Wire> = Pool::default().batch(Class::Send);
    batch.storage_mut();
    batch.push_span(0, 100).unwrap();
    batch.push_span(101, 100).unwrap();
    let mut item = ToUnderlay { batch, runs: Vec::new() };
    item.address(0, hop(1));
    item.address(1, hop(1));
    assert_eq!(shape(&item), [(0, 1, 100), (1, 1, 100)]);
}

#[test]
fn what_blocks_stays_and_what_belongs_to_others_stays_too() {
    let mut item = addressed(&[10, 10, 10, 10], &[1, 2, 1, 2]);
    let mine = |h: &Hop| *h == hop(1);
    let mut seen = 0;
    let first = item.take_runs(mine, |_, _| {
        seen += 1;
        if seen == 1 { Poll::Ready(()) } else { Poll::Pending }
    });
    assert!(first.is_pending());
    assert_eq!(
        item.runs.iter().map(|run| (run.first, run.hop)).collect::<Vec<_>>(),
        [(1, hop(2)), (2, hop(1)), (3, hop(2))]
    );
    assert!(item.take_runs(mine, |_, _| Poll::Ready(())).is_ready());
    assert_eq!(item.runs.len(), 2);
}

#[test]
fn a_queued_underlay_takes_copies_of_its_own_runs_only() {
    let (mut underlay, _up, mut down) = queued(DEPTH, Pool::default(), |h| *h == hop(2));
    let mut item = addressed(&[10, 20, 20, 30], &[1, 2, 2, 1]);
    assert!(matches!(underlay.poll_send(&mut cx(), &mut item), Poll::Ready(Ok(()))));
    assert_eq!(item.runs.len(), 2);
    let taken = down.try_recv().unwrap();
    assert_eq!(taken.batch.capacity(), Class::Small.bytes());
    assert_eq!(taken.batch.iter().collect::<Vec<_>>(), [&[1u8; 20][..], &[2; 20]]);
    assert_eq!(taken.runs, [Run { hop: hop(2), first: 0, count: 2, stride: 20 }]);
    assert!(matches!(underlay.poll_send(&mut cx(), &mut item), Poll::Ready(Ok(()))));
    assert!(down.try_recv().is_none());
}

#[test]
fn a_full_queue_drops_and_counts_and_never_blocks() {
    let (mut underlay, _up, down) = queued(DEPTH, Pool::default(), |_| true);
    for _ in 0..3 {
        let mut item = addressed(&[10, 10], &[1, 1]);
        assert!(matches!(underlay.poll_send(&mut cx(), &mut item), Poll::Ready(Ok(()))));
        assert!(item.runs.is_empty());
    }
    assert_eq!((down.len(), underlay.dropped()), (2, 2));
}

#[test]
fn a_task_that_ended_closes_its_underlay() {
    let (mut underlay, up, down) = queued(DEPTH, Pool::default(), |_| true);
    drop((up, down));
    let mut item = addressed(&[10], &[1]);
    assert!(matches!(underlay.poll_send(&mut cx(), &mut item), Poll::Ready(Err(Fault::Closed))));
    assert!(matches!(
        underlay.poll_recv(&mut cx(), &mut FromUnderlay::default()),
        Poll::Ready(Err(Fault::Closed))
    ));
}

#[test]
fn a_queued_overlay_copies_what_it_is_given_and_says_its_mtu() {
    let (mut overlay, _down, mut up) = queued_overlay(DEPTH, Pool::default(), OverlayId(3), 1280);
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Receive);
    batch.push(&[1; 40]).unwrap();
    batch.push(&[2; 60]).unwrap();
    let mut item = ToOverlay { to: OverlayId(3), batch };
    assert!(matches!(overlay.poll_send(&mut cx(), &mut item), Poll::Ready(Ok(()))));
    assert!(item.batch.is_empty());
    let taken = up.try_recv().unwrap();
    assert_eq!((taken.to, taken.batch.capacity()), (OverlayId(3), Class::Small.bytes()));
    assert_eq!(taken.batch.iter().collect::<Vec<_>>(), [&[1u8; 40][..], &[2; 60]]);
    assert_eq!(overlay.mtu(), 1280);
}
