//! How a connection survives the loss of a path for seconds, and how fast it goes on over another.

mod common;

use std::{cell::Cell, rc::Rc, time::Duration};

use common::{A, B, Link, Stream, World, look};

const RTT: Duration = Duration::from_millis(60);

/// A bulk transfer that is cut for `outage`; then the path is another one. Returns the time until bytes arrive again.
fn recovery(outage: Duration, nudge: bool) -> Duration {
    let mut world = World::new(Link::of(Duration::from_millis(20)));
    let (a, b) = world.connect(80);
    let mut stream = Stream::new((A, a), (B, b), 1 << 40);
    let mut go_on = |world: &mut World, time: Duration| {
        let until = world.now + time;
        world.run(time + Duration::from_secs(1), |world| {
            stream.pump(world);
            world.now >= until
        });
        stream.read
    };
    go_on(&mut world, Duration::from_secs(1));
    world.lose_all();
    world.cut = true;
    let before = go_on(&mut world, outage);
    world.cut = false;
    world.link = Link::of(RTT / 2);
    let healed = world.now;
    if nudge {
        let now = world.now;
        world.stacks.iter_mut().for_each(|stack| stack.nudge(now));
    }
    while go_on(&mut world, Duration::from_millis(1)) == before {
        assert!(world.now < healed + Duration::from_secs(60), "it never came back");
    }
    world.now - healed
}

#[test]
fn after_a_nudge_bytes_arrive_within_two_round_trips() {
    for millis in [1_500, 2_000, 4_000, 6_500, 8_000, 30_000] {
        let took = recovery(Duration::from_millis(millis), true);
        assert!(took <= 2 * RTT, "{took:?} after {millis} ms");
    }
}

#[test]
fn without_a_nudge_the_wait_is_bounded() {
    for millis in [2_000, 4_000, 6_500, 8_000, 30_000, 100_000] {
        let took = recovery(Duration::from_millis(millis), false);
        assert!(took <= Duration::from_secs(4) + 2 * RTT, "{took:?} after {millis} ms");
    }
}

#[test]
fn a_nudge_leaves_a_healthy_connection_alone() {
    let mut world = World::new(Link::of(Duration::from_millis(20)));
    let (a, b) = world.connect(80);
    let again = Rc::new(Cell::new(0));
    let (count, mut end) = (Rc::clone(&again), None::<u32>);
    world.watch = Some(Box::new(move |side, packet| {
        let Some(seen) = look(packet).filter(|seen| side == A && seen.payload > 0) else { return };
        let last = seen.seq.wrapping_add(seen.payload as u32);
        if end.is_some_and(|end| last.wrapping_sub(end) as i32 <= 0) {
            count.set(count.get() + 1);
        }
        end = Some(end.map_or(last, |end| if last.wrapping_sub(end) as i32 > 0 { last } else { end }));
    }));
    let mut stream = Stream::new((A, a), (B, b), 20_000_000);
    world.run(Duration::from_secs(20), |world| {
        let now = world.now;
        world.stacks.iter_mut().for_each(|stack| stack.nudge(now));
        stream.pump(world)
    });
    assert_eq!(again.get(), 0, "segments were sent again");
}

#[test]
fn a_dial_that_was_lost_is_tried_again_on_a_nudge() {
    let mut world = World::new(Link::of(Duration::from_millis(20)));
    world.stacks[B].listen(80).unwrap();
    let a =
        world.stacks[A].dial(world.now, std::net::SocketAddr::new(common::address(B, false), 80)).unwrap();
    world.cut = true;
    world.pass(Duration::from_millis(5_000));
    world.cut = false;
    let (now, healed) = (world.now, world.now);
    world.stacks[A].nudge(now);
    world.run(Duration::from_secs(10), |world| world.status(A, a).established);
    assert!(world.now - healed <= Duration::from_millis(40));
}

#[test]
fn a_quiet_connection_outlives_an_hour_without_a_path() {
    let mut world = World::new(Link::of(Duration::from_millis(20)));
    let (a, b) = world.connect(80);
    world.cut = true;
    world.pass(Duration::from_secs(3600));
    world.cut = false;
    let mut stream = Stream::new((A, a), (B, b), 100_000);
    world.run(Duration::from_secs(2), |world| stream.pump(world));
}
