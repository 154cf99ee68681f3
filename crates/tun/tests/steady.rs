//! Whether reading and writing allocate nothing once they are warm.

mod model;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{self, IoSlice, IoSliceMut},
};

use model::*;
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tun::{Counters, Reader, Writer};

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

/// Reads all `frames` through batches and writes them back; returns how many packets that were.
fn pass(reader: &mut Reader, writer: &mut Writer, pool: &Pool, frames: &[Vec<u8>]) -> u64 {
    let mut counters = Counters::default();
    let mut frames = frames.iter();
    let mut read = |places: &mut [IoSliceMut<'_>]| {
        let frame = frames.next().ok_or(io::ErrorKind::WouldBlock)?;
        let mut rest = &frame[..];
        for place in places {
            let (now, later) = rest.split_at(place.len().min(rest.len()));
            place[..now.len()].copy_from_slice(now);
            rest = later;
        }
        Ok(frame.len())
    };
    loop {
        let mut batch: Batch<Plain> = pool.batch(Class::Send);
        if reader.fill(&mut batch, 1420, &mut counters, &mut read).is_err() {
            assert_eq!(counters.read, counters.written);
            return counters.read;
        }
        let write = |slices: &[IoSlice<'_>]| Ok(slices.iter().map(|slice| slice.len()).sum());
        writer.drain(&mut batch, &mut counters, write).unwrap();
    }
}

#[test]
fn super_packets_and_small_ones_pass_without_allocating() {
    let flow = |number, udp| Flow { v6: number % 2 == 0, udp, number };
    let mut frames = Vec::new();
    for number in 0..4 {
        for udp in [false, true] {
            let (header, packet) =
                flow(number, udp).super_packet(&Look::default(), &payload(40_000, 1), 1300);
            frames.push([&header.encode()[..], &packet].concat());
            frames
                .push([&[0; 10], &flow(number, udp).packet(&Look::default(), &payload(100, 1))[..]].concat());
        }
    }
    let pool = Pool::default();
    let (mut reader, mut writer) = (Reader::new(true), Writer::new(true, BOTH));
    for _ in 0..5 {
        pass(&mut reader, &mut writer, &pool, &frames);
    }
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..100 {
        assert_eq!(pass(&mut reader, &mut writer, &pool, &frames), 8 * 32);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}
