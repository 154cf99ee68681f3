//! Whether sending and receiving allocate nothing once they are warm, and never take more slabs than one at a time.

mod pair;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::poll_fn,
};

use pair::*;
use tidewire_packet::{Class, Pool};
use tidewire_transport::{FromUnderlay, Hop, ToUnderlay, Underlay};
use tidewire_udp::{Config, Udp};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: passes every call on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's contract is passed on as it is.
        unsafe { System.alloc(layout) }
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

struct Ends {
    pool: Pool,
    alice: Udp,
    bob: Udp,
    item: ToUnderlay,
    into: FromUnderlay,
}

impl Ends {
    async fn pass(&mut self, sizes: &[usize]) {
        let Self { pool, alice, bob, item, into } = self;
        item.batch = pool.batch(Class::Send);
        for &len in sizes {
            item.batch.reserve(len, len).unwrap();
            let family = if len % 2 == 0 { v4(bob) } else { v6(bob) };
            item.address(item.batch.len() - 1, Hop::Udp(family));
        }
        poll_fn(|cx| alice.poll_send(cx, item)).await.unwrap();
        let mut left = sizes.len();
        while left > 0 {
            poll_fn(|cx| bob.poll_recv(cx, into)).await.unwrap();
            left -= into.batch.len();
        }
        into.batch = Default::default();
    }
}

fn steady(config: Config) {
    run(async {
        let pool = Pool::default();
        let (alice, bob) =
            (Udp::bind(config.clone(), pool.clone()).unwrap(), Udp::bind(config, pool.clone()).unwrap());
        let mut ends = Ends { pool, alice, bob, item: ToUnderlay::default(), into: FromUnderlay::default() };
        let sizes: Vec<usize> = (0..40).map(|i| if i % 10 < 7 { 1452 } else { 64 + i }).collect();
        // Long enough for the runtime, too, to have yielded once.
        for _ in 0..200 {
            ends.pass(&sizes).await;
        }
        let before = ALLOCATIONS.with(Cell::get);
        for _ in 0..200 {
            ends.pass(&sizes).await;
        }
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
        assert_eq!(ends.pool.misses(Class::Receive), 1);
    });
}

#[test]
fn with_offload_nothing_is_allocated() {
    steady(dual());
}

#[test]
fn without_offload_nothing_is_allocated() {
    steady(Config { gso: false, gro: false, ..dual() });
}
