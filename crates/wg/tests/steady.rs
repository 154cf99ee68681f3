//! Whether packets in steady state pass from interface to socket and back without an allocation. Needs root.
#![cfg(target_os = "linux")]

mod lab;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::UdpSocket,
    sync::atomic::{AtomicU64, Ordering},
};

use lab::{Lab, exchange, is_inside, run, sockets};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Sends bursts one way and takes each in before the next; returns how many allocations the process made.
fn allocations_of(from: &UdpSocket, to: &UdpSocket, bursts: usize, burst: usize) -> u64 {
    let (packet, mut buffer) = ([7; 1200], [0; 2048]);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..bursts {
        for _ in 0..burst {
            from.send_to(&packet, to.local_addr().unwrap()).unwrap();
        }
        for _ in 0..burst {
            to.recv_from(&mut buffer).unwrap();
        }
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn packets_in_steady_state_allocate_nothing() {
    if !is_inside("packets_in_steady_state_allocate_nothing", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 100);
        for (from, to) in [(&a, &b), (&b, &a)] {
            // Lists grow to the size that bursts need.
            allocations_of(from, to, 200, 40);
            let counted = allocations_of(from, to, 500, 40);
            // 20,000 packets through both devices. A timer, or a burst larger than any before, may cost a few.
            assert!(counted < 20, "{counted} allocations");
        }
    });
}
