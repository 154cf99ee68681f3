//! How much memory the core uses: little for those who are idle, and never more than it says, whatever they do.

#[path = "core/rig.rs"]
#[allow(dead_code)]
mod rig;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicIsize, Ordering},
};

use tidewire_derp::Frame;
use tidewire_relay::core::{Closed, Limits};

use rig::{Rig, disco, encode, send_packet};

/// Counts what is in use. One test runs in this process, so that it counts nobody else.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn in_use() -> usize {
    usize::try_from(IN_USE.load(Ordering::Relaxed)).unwrap()
}

const LIMITS: Limits = Limits { queues_bytes: 4 << 20, ..Limits::DEFAULT };

#[test]
fn memory_is_little_for_the_idle_and_bounded_for_the_others() {
    idle_clients_cost_little();
    those_who_never_log_in_cost_little();
    hostile_clients_cost_what_is_stated();
}

fn idle_clients_cost_little() {
    let mut rig = Rig::new();
    let before = in_use();
    let clients: Vec<_> = (1..=200).map(|byte| rig.login(byte)).collect();
    // They have talked, and fallen silent.
    for pair in clients.windows(2) {
        rig.send(pair[0], pair[1].key, &[0; 1400]);
        rig.send(pair[1], pair[0].key, &disco(1));
    }
    for client in &clients {
        rig.raw(client.id);
    }
    let pooled = 256 * 16 * 1024;
    let each = (in_use() - before).saturating_sub(pooled) / clients.len();
    assert!(each < 1500, "{each} bytes");
}

fn those_who_never_log_in_cost_little() {
    let mut rig = Rig::new();
    let before = in_use();
    for _ in 0..10_000 {
        let id = rig.begin();
        rig.bytes(id, &[2, 0, 0, 0x1f, 0xff]);
        rig.bytes(id, &[0; 4096]);
    }
    let used = in_use() - before;
    assert!(used < Limits::DEFAULT.pending * 20 * 1024, "{used} bytes");
    rig.wait(Limits::DEFAULT.setup_time);
    let used = in_use() - before;
    assert!(used < 2 << 20, "{used} bytes when they are gone");
}

fn hostile_clients_cost_what_is_stated() {
    let mut rig = Rig::with_limits(LIMITS);
    let before = in_use();
    let sender = rig.login(1);
    let victims: Vec<_> = (2..52).map(|byte| rig.login(byte)).collect();
    for victim in &victims {
        // Half a frame of the largest size, and nothing is ever read.
        rig.bytes(victim.id, &send_packet(sender.key, &[0; 65_536])[..65_000]);
        for _ in 0..200 {
            rig.send(sender, victim.key, &[0; 65_536]);
            rig.send(sender, victim.key, &disco(1));
            rig.send(sender, victim.key, &[0; 100]);
        }
    }
    for _ in 0..2000 {
        let passing = rig.login(99);
        for victim in &victims {
            rig.send(passing, victim.key, b"x");
        }
        rig.core.disconnect(passing.id, Closed::Left);
        while rig.core.poll_event().is_some() {}
    }
    rig.bytes(sender.id, &encode(Frame::Ping([0; 8])));
    let used = in_use() - before;
    let stated = LIMITS.most_memory(victims.len() + 1);
    assert!(used < stated, "{used} bytes, more than {stated}");
    assert!(used > stated / 8, "{used} bytes: the bound of {stated} says little");
}
