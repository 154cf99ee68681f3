//! Whether packets flow both ways without a single allocation, once everything is warm.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use common::*;
use tidewire_keys::PeerId;
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tunnel::{Opened, PeerConfig};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: passes every call on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's contract is passed on as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's contract is passed on as it is.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's contract is passed on as it is.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on as it is.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Sends a batch for alternating peers from one node to the other, through the pool of the first.
fn carry(
    from: &mut Node,
    to: &mut Node,
    now: std::time::Instant,
    ids: &mut Vec<PeerId>,
    opened: &mut Vec<Opened>,
) {
    let pool: &Pool = &from.pool;
    let mut batch: Batch<Plain> = pool.batch(Class::Send);
    ids.clear();
    for i in 0..40u32 {
        batch.reserve(1200, 1200).unwrap();
        ids.push(PeerId(i / 10 % 2));
    }
    let sealed = from.tunnel.seal(now, batch, ids, &mut from.out);
    assert_eq!(sealed.len(), 40);
    let plain = to.tunnel.open(now, sealed, opened, &mut to.out);
    // The sender calls its second peer what the receiver does not know.
    assert_eq!(plain.len(), 20);
    assert!(from.tunnel.next_event().is_some() && to.tunnel.next_event().is_some());
}

#[test]
fn packets_flow_without_allocating() {
    let (mut a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    let mut now = t0();
    for (id, peer) in [(0, &mut b), (1, &mut c)] {
        a.add(now, PeerId(id), PeerConfig::new(peer.key));
        peer.add(now, PeerId(0), PeerConfig::new(a.key));
        peer.add(now, PeerId(1), PeerConfig::new(public(9 + id as u8)));
        a.tunnel.initiate(now, PeerId(id), &mut a.out);
        for _ in 0..2 {
            a.collect();
            for datagram in a.take_sent() {
                peer.hear(now, source(1), &datagram);
                peer.run(now);
            }
            for datagram in peer.take_sent() {
                a.hear(now, source(2), &datagram);
                a.run(now);
            }
        }
    }
    let (mut ids, mut back, mut opened) = (Vec::new(), Vec::new(), Vec::new());
    let mut round = |a: &mut Node, b: &mut Node| {
        now += secs(0.05);
        carry(a, b, now, &mut ids, &mut opened);
        // And back: the peer's timers turn from awaiting an answer to owing one.
        back.clear();
        back.push(PeerId(0));
        let mut batch: Batch<Plain> = b.pool.batch(Class::Small);
        batch.reserve(60, 64).unwrap();
        let sealed = b.tunnel.seal(now, batch, &mut back, &mut b.out);
        let plain = a.tunnel.open(now, sealed, &mut opened, &mut a.out);
        assert_eq!(plain.len(), 1);
        assert!(a.tunnel.next_event().is_some() && b.tunnel.next_event().is_some());
        assert!(a.out.datagrams.is_empty() && b.out.datagrams.is_empty());
    };
    for _ in 0..10 {
        round(&mut a, &mut b);
    }
    let before = allocations();
    for _ in 0..200 {
        round(&mut a, &mut b);
    }
    assert_eq!(allocations() - before, 0);
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(allocations() - before, 1);
}
