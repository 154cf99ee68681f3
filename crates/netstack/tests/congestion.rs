//! Whether a link is filled without being flooded, and how much is sent more than once.

mod common;

use std::{cell::RefCell, rc::Rc, time::Duration};

use common::{A, B, Link, Stream, World, look};

/// Sends `len` bytes from A to B; returns Mbit/s, and packets sent for each that was needed.
fn rate(link: Link, len: u64, seed: u64) -> (f64, f64) {
    let mut world = World::new(link);
    world.dice.0 = seed;
    let (a, b) = world.connect(80);
    let (began, before) = (world.elapsed(), world.sent[A]);
    let mut stream = Stream::new((A, a), (B, b), len);
    world.run(Duration::from_secs(200), |world| stream.pump(world));
    let needed = len as f64 / 1240.0;
    (len as f64 * 8e-6 / (world.elapsed() - began).as_secs_f64(), (world.sent[A] - before) as f64 / needed)
}

#[test]
fn a_narrow_link_is_filled_and_little_is_sent_twice() {
    // 100 Mbit/s, 20 ms, and queues of one and of a quarter of what is under way.
    for (queue, least) in [(300_000, 75.0), (64_000, 50.0)] {
        let link = Link { rate: 12_500_000, queue, ..Link::of(Duration::from_millis(10)) };
        let (mbit, sent) = rate(link, 30_000_000, 1);
        assert!(mbit > least, "{mbit:.0} Mbit/s with a queue of {queue}");
        assert!(sent < 1.1, "{sent:.2} packets for each that was needed");
    }
}

#[test]
fn single_losses_cost_little() {
    let link = Link { loss: 1, ..Link::of(Duration::from_millis(10)) };
    let total: f64 = (1..=4).map(|seed| rate(link, 5_000_000, seed).0).sum();
    // What the square root of the loss allows Reno (Mathis and others, 1997) is 19 Mbit/s.
    assert!(total / 4.0 > 12.0, "{:.1} Mbit/s", total / 4.0);
}

#[test]
fn segments_that_overtake_each_other_are_not_taken_as_lost() {
    let link = Link { jitter: Duration::from_micros(200), ..Link::of(Duration::from_millis(10)) };
    let (mbit, sent) = rate(link, 10_000_000, 1);
    assert!(mbit > 15.0, "{mbit:.1} Mbit/s");
    assert!(sent < 1.15, "{sent:.2} packets for each that was needed");
}

#[test]
fn an_acknowledgement_of_many_segments_lets_the_window_grow_by_as_many() {
    let mut world = World::new(Link::of(Duration::from_millis(25)));
    let (a, b) = world.connect(80);
    // As a receiver behind an offloading device does.
    world.gathers = true;
    let began = world.elapsed();
    let mut stream = Stream::new((A, a), (B, b), 5_000_000);
    world.run(Duration::from_secs(30), |world| stream.pump(world));
    let took = world.elapsed() - began;
    assert!(took < Duration::from_secs(2), "5 MB at 50 ms with a window of up to 1 MiB took {took:?}");
}

#[test]
fn segments_are_full_while_there_is_more_to_send() {
    let mut world =
        World::new(Link { rate: 2_500_000, queue: 100_000, ..Link::of(Duration::from_millis(10)) });
    let (a, b) = world.connect(80);
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&sizes);
    world.watch = Some(Box::new(move |side, packet| {
        if side == A {
            seen.borrow_mut().extend(look(packet).map(|s| s.payload));
        }
    }));
    let mut stream = Stream::new((A, a), (B, b), 3_000_000);
    world.run(Duration::from_secs(30), |world| stream.pump(world));
    let sizes: Vec<_> = sizes.borrow().iter().copied().filter(|size| *size > 0).collect();
    let small = sizes.iter().filter(|size| **size < 1240).count();
    assert!(sizes.len() > 2400 && small < 20, "{small} of {} segments are not full", sizes.len());
}

#[test]
fn two_connections_share_a_link() {
    let mut world =
        World::new(Link { rate: 12_500_000, queue: 200_000, ..Link::of(Duration::from_millis(10)) });
    let first = world.connect(80);
    let second = world.connect(81);
    let mut streams = [first, second].map(|(a, b)| Stream::new((A, a), (B, b), 1 << 40));
    let until = world.now + Duration::from_secs(20);
    world.run(Duration::from_secs(21), |world| {
        for stream in &mut streams {
            stream.pump(world);
        }
        world.now >= until
    });
    let [a, b] = streams.map(|stream| stream.read as f64);
    assert!(a + b > 0.75 * 20.0 * 12.5e6, "{:.0} Mbit/s together", (a + b) * 8e-6 / 20.0);
    assert!(a / b > 0.33 && a / b < 3.0, "{a} and {b} bytes");
}
