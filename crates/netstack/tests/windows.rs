//! What happens at a closed window, and where the news of its opening is lost.

mod common;

use std::time::Duration;

use common::{A, B, Link, Stream, World, look};

/// A connection whose receiver has stopped reading until nothing moves any more.
fn closed() -> (World, Stream) {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let (a, b) = world.connect(80);
    let mut stream = Stream::new((A, a), (B, b), 5_000_000);
    stream.appetite = 0;
    for _ in 0..100 {
        stream.pump(&mut world);
        world.pass(Duration::from_millis(20));
    }
    // The scaled window counts in steps of 16 bytes.
    assert!(world.status(B, b).readable >= (1 << 20) - 16);
    (world, stream)
}

#[test]
fn a_closed_window_is_asked_about_and_opens() {
    let (mut world, mut stream) = closed();
    // The other end answers each time, so it is not dead.
    world.pass(Duration::from_secs(900));
    assert_eq!(world.status(A, stream.from.1).end, None);
    stream.appetite = usize::MAX;
    world.run(Duration::from_secs(5), |world| stream.pump(world));
}

#[test]
fn the_lost_news_of_an_open_window_is_asked_for() {
    let (mut world, mut stream) = closed();
    world.cut = true;
    stream.appetite = usize::MAX;
    stream.pump(&mut world);
    world.pass(Duration::from_secs(10));
    world.cut = false;
    let healed = world.now;
    world.run(Duration::from_secs(10), |world| stream.pump(world));
    assert!(world.now - healed < Duration::from_secs(6), "{:?}", world.now - healed);
}

#[test]
fn a_window_that_closes_while_bytes_are_under_way_opens_again() {
    for lost in 2..40 {
        let mut world = World::new(Link::of(Duration::from_millis(10)));
        let (a, b) = world.connect(80);
        let mut stream = Stream::new((A, a), (B, b), 3_000_000);
        stream.appetite = 0;
        let mut count = 0;
        world.sieve = Some(Box::new(move |side, packet| {
            let acknowledges = side == B && look(packet).is_some();
            count += u32::from(acknowledges);
            acknowledges && count % lost == 0
        }));
        for _ in 0..20 {
            stream.pump(&mut world);
            world.pass(Duration::from_millis(50));
        }
        stream.appetite = 300_000;
        world.run(Duration::from_secs(60), |world| stream.pump(world));
    }
}

#[test]
fn one_byte_at_a_time_goes_through_a_window_that_opens_and_closes() {
    let mut world = World::new(Link::of(Duration::from_millis(1)));
    let (a, b) = world.connect(80);
    let mut stream = Stream::new((A, a), (B, b), (1 << 20) + 50);
    stream.appetite = 0;
    for _ in 0..200 {
        stream.pump(&mut world);
        world.pass(Duration::from_millis(10));
    }
    stream.appetite = 1;
    for _ in 0..100 {
        stream.pump(&mut world);
        world.pass(Duration::from_secs(5));
    }
    stream.appetite = usize::MAX;
    world.run(Duration::from_secs(60), |world| stream.pump(world));
}
