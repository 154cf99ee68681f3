//! How outgoing packets lie in batches, who gets a place in one, and when the stack wants to be asked.

mod common;

use std::time::Duration;

use common::{A, B, Link, World};
use tidewire_netstack::Why;
use tidewire_packet::{HEADROOM, TAILROOM, padded_len};

#[test]
fn sealed_in_place_full_packets_are_datagrams_back_to_back() {
    let mut world = World::new(Link::of(Duration::from_millis(1)));
    let (a, b) = world.connect(80);
    let mut stream = common::Stream::new((A, a), (B, b), 2_000_000);
    stream.shut = false;
    world.run(Duration::from_secs(2), |world| {
        stream.pump(world);
        stream.read == 2_000_000
    });
    world.pass(Duration::from_millis(10));
    world.stacks[A].send(a, &[1; 1 << 20]);
    let batch = world.stacks[A].poll_transmit(world.now).unwrap();
    assert!(batch.len() >= 45, "{} packets", batch.len());
    for pair in batch.spans().windows(2) {
        let sealed = HEADROOM + padded_len(pair[0].len(), 1280) + TAILROOM;
        assert_eq!(pair[1].start() - pair[0].start(), sealed);
    }
    assert!(batch.spans().iter().filter(|span| span.len() == 1280).count() >= 45);
}

#[test]
fn a_bulk_sender_leaves_room_for_others_in_each_batch() {
    let mut world = World::new(Link::of(Duration::from_millis(1)));
    let pairs = [world.connect(80), world.connect(81), world.connect(82)];
    let mut streams = pairs.map(|(a, b)| common::Stream::new((A, a), (B, b), 1 << 40));
    world.run(Duration::from_secs(1), |world| {
        for stream in &mut streams {
            stream.pump(world);
        }
        streams.iter().all(|stream| stream.read > 2_000_000)
    });
    let read = streams.map(|stream| stream.read);
    assert!(read.iter().max().unwrap() < &(read.iter().min().unwrap() * 2), "{read:?}");
}

#[test]
fn a_stack_without_work_does_not_want_to_be_asked() {
    let world = World::new(Link::of(Duration::from_millis(1)));
    assert_eq!(world.stacks[A].next_event(), None);
}

#[test]
fn each_wait_has_a_reason() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let (a, b) = world.connect(80);
    let why =
        |world: &World, side: usize| world.stacks[side].next_event().map(|(at, why)| (at - world.now, why));
    // Timers that are too early find nothing to do and are set again.
    world.pass(Duration::from_secs(60));
    let (at, reason) = why(&world, A).unwrap();
    assert_eq!(reason, Why::KeepAlive);
    assert!(at > Duration::from_secs(7000));
    world.stacks[A].send(a, b"x");
    assert_eq!(why(&world, A), Some((Duration::ZERO, Why::Transmit)));
    world.cut = true;
    world.flush();
    let (at, reason) = why(&world, A).unwrap();
    assert_eq!(reason, Why::Retransmit);
    assert!(at <= Duration::from_secs(1));
    world.cut = false;
    world.pass(Duration::from_secs(2));
    let now = world.now;
    world.stacks[A].close(now, a);
    world.pass(Duration::from_secs(1));
    assert_eq!(why(&world, A).unwrap().1, Why::Abandoned);
    let now = world.now;
    world.stacks[B].close(now, b);
    world.pass(Duration::from_secs(61));
    assert_eq!(why(&world, A), None);
    let nowhere = std::net::SocketAddr::from(([100, 64, 0, 50], 1));
    world.stacks[A].dial(world.now, nowhere).unwrap();
    world.pass(Duration::from_secs(29));
    assert!(matches!(why(&world, A).unwrap().1, Why::Dial | Why::Retransmit));
    world.pass(Duration::from_secs(2));
    assert_eq!(why(&world, A), None);
}

#[test]
fn a_waiting_stack_is_not_woken_often() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let (a, b) = world.connect(80);
    let mut stream = common::Stream::new((A, a), (B, b), 5_000_000);
    world.run(Duration::from_secs(5), |world| stream.pump(world));
    let until = world.now + Duration::from_secs(600);
    let mut wakes = 0;
    while world.now < until {
        world.step(until);
        wakes += 1;
    }
    assert!(wakes < 40, "{wakes} wake-ups in ten quiet minutes");
}
