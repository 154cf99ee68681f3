//! Whether the steady state takes batches from the pool and gives them back without allocating.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use tidewire_packet::{Batch, Class, Limits, Plain, Pool, Wire};

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

fn round(pool: &Pool) {
    for class in Class::ALL {
        let mut batch: Batch<Plain> = pool.batch(class);
        for _ in 0..45 {
            if batch.push(&[7; 1400]).is_err() {
                break;
            }
        }
        batch.retain(|i, _| i % 2 == 0);
    }
    let waiting: Batch<Wire> = Batch::copy_of(pool, &[1; 148]).unwrap();
    assert_eq!(waiting.capacity(), Class::Small.bytes());
}

#[test]
fn a_warm_pool_allocates_nothing() {
    let pool = Pool::new(Limits::default());
    round(&pool);
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..1000 {
        round(&pool);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
    assert_eq!(Class::ALL.map(|class| pool.misses(class)), [1, 1, 1]);
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 1);
}
