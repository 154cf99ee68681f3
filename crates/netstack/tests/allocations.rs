//! Whether a steady transfer allocates anything for a packet.

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use common::{A, B, address};
use tidewire_netstack::{Local, Stack};
use tidewire_packet::Pool;

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

#[test]
fn a_warm_connection_allocates_nothing() {
    let mut now = common::t0();
    let pool = Pool::default();
    let mut stacks = [A, B].map(|side| Stack::new(now, &common::config(side), pool.clone()).unwrap());
    stacks[B].listen(80).unwrap();
    let a = stacks[A].dial(now, (address(B, false), 80).into()).unwrap();
    let mut packets = 0;
    let mut exchange = |stacks: &mut [Stack; 2]| {
        now += Duration::from_micros(100);
        for side in [A, B] {
            while let Some(batch) = stacks[side].poll_transmit(now) {
                packets += batch.len();
                stacks[1 - side].process_inbound(now, batch);
            }
            while stacks[side].poll_event().is_some() {}
        }
        packets
    };
    exchange(&mut stacks);
    exchange(&mut stacks);
    let b = stacks[B].accept(Local::from(80)).unwrap();
    let (udp, at) = stacks[A].bind(0).unwrap();
    let (other, _) = stacks[B].bind(53).unwrap();
    let bytes = [7; 100_000];
    let mut into = Vec::with_capacity(4 << 20);
    let mut transfer = |stacks: &mut [Stack; 2], rounds: usize| {
        let mut packets = 0;
        for _ in 0..rounds {
            stacks[A].send(a, &bytes);
            stacks[B].send(b, &bytes[..10_000]);
            stacks[A].send_to(udp, &bytes[..500], (address(B, true), 53).into()).unwrap();
            stacks[B].send_to(other, &bytes[..50], (address(A, true), at.port).into()).unwrap();
            packets = exchange(stacks);
            for (side, id) in [(A, a), (B, b)] {
                into.clear();
                stacks[side].recv(id, usize::MAX, &mut into);
            }
            for (side, id) in [(A, udp), (B, other)] {
                while stacks[side].recv_from(id, |bytes, _| bytes.len()).is_some() {}
            }
        }
        packets
    };
    let before = transfer(&mut stacks, 300);
    ALLOCATIONS.with(|n| n.set(0));
    let after = transfer(&mut stacks, 300);
    let allocations = ALLOCATIONS.with(Cell::get);
    assert!(after - before > 20_000, "{} packets", after - before);
    assert_eq!(allocations, 0, "in {} packets", after - before);
}
