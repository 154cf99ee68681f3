//! Whether bytes arrive whole and in order, both ways at once, whatever the link does.

mod common;

use std::time::Duration;

use common::{A, B, Link, Stream, World};

const MB: u64 = 1_000_000;

/// Moves `len` bytes each way and both ends; returns the time it took.
fn both_ways(mut world: World, len: u64, most: u64, v6: bool) -> Duration {
    let (a, b) = world.connect_by(80, v6);
    let began = world.elapsed();
    let mut there = Stream::new((A, a), (B, b), len);
    let mut back = Stream::new((B, b), (A, a), len);
    world.run(Duration::from_secs(most), |world| {
        let arrived = there.pump(world) & back.pump(world);
        arrived && world.status(A, a).delivered && world.status(B, b).delivered
    });
    world.elapsed() - began
}

#[test]
fn ten_megabytes_each_way_over_a_clean_link() {
    let took = both_ways(World::new(Link::of(Duration::from_millis(5))), 10 * MB, 30, false);
    assert!(
        took < Duration::from_millis(500),
        "a window of 1 MiB each 10 ms makes 100 MB/s, and this took {took:?}"
    );
}

#[test]
fn ten_megabytes_each_way_over_ipv6() {
    both_ways(World::new(Link::of(Duration::from_millis(5))), 10 * MB, 30, true);
}

#[test]
fn ten_megabytes_each_way_with_loss_and_reordering() {
    let link = Link { jitter: Duration::from_micros(300), loss: 5, ..Link::of(Duration::from_millis(5)) };
    both_ways(World::new(link), 10 * MB, 300, false);
}

#[test]
fn hundreds_of_short_transfers_over_terrible_links_all_end() {
    let ms = Duration::from_millis;
    let links = [
        Link { loss: 20, ..Link::of(ms(10)) },
        Link { loss: 100, ..Link::of(ms(10)) },
        Link { loss: 200, ..Link::of(ms(10)) },
        Link { loss: 50, jitter: ms(8), ..Link::of(ms(10)) },
        Link { rate: 500_000, queue: 20_000, ..Link::of(ms(10)) },
    ];
    for (i, link) in links.into_iter().enumerate() {
        for seed in 0..60 {
            let mut world = World::new(link);
            world.dice.0 = seed;
            both_ways(world, 50_000 + 1_000 * i as u64, 200, seed % 2 == 1);
        }
    }
}
