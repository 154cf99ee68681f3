//! Whether a packet costs an allocation in the steady state, from overlay to underlay and back.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use common::{Pair, packet};
use tidewire_packet::{Class, padded_len};

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

/// One send's worth of full packets there, and one back.
fn round(pair: &mut Pair) -> usize {
    let mut delivered = 0;
    for from_a in [true, false] {
        let (from, to) = if from_a { (1, 2) } else { (2, 1) };
        let bytes = packet(from, to, 1280);
        let mut batch = pair.pool.batch(Class::Send);
        for _ in 0..45 {
            batch.reserve(bytes.len(), padded_len(bytes.len(), 1280)).unwrap().copy_from_slice(&bytes);
        }
        delivered += pair.carry(from_a, batch);
    }
    delivered
}

#[test]
fn the_steady_state_allocates_nothing() {
    let mut pair = Pair::connected();
    for _ in 0..10 {
        assert_eq!(round(&mut pair), 90);
    }
    let packets_made = {
        let before = ALLOCATIONS.with(Cell::get);
        drop((packet(1, 2, 1280), packet(2, 1, 1280)));
        ALLOCATIONS.with(Cell::get) - before
    };
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..1000 {
        assert_eq!(round(&mut pair), 90);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, packets_made * 1000, "only the test's own packets");
    assert_eq!(pair.runs_of_last, 1, "full-size packets to one peer are one run");
}
