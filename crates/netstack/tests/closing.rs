//! How connections end, what the ends learn of it, and that nothing is left behind.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{A, B, Link, Stream, World, address, config, look};
use tidewire_netstack::{DialError, End, Local};

const SOON: Duration = Duration::from_millis(100);

fn world() -> World {
    World::new(Link::of(Duration::from_millis(10)))
}

fn close(world: &mut World, side: usize, id: tidewire_netstack::SocketId) {
    let now = world.now;
    world.stacks[side].close(now, id);
    world.flush();
}

#[test]
fn a_connection_that_both_sides_closed_is_forgotten() {
    let mut world = world();
    let (a, b) = world.connect(80);
    close(&mut world, A, a);
    world.pass(SOON);
    assert!(world.status(B, b).eof);
    close(&mut world, B, b);
    world.pass(SOON);
    assert_eq!(world.sockets(B), 0);
    // A answers late packets for a while.
    assert_eq!(world.sockets(A), 1);
    world.pass(Duration::from_secs(11));
    assert_eq!(world.sockets(A), 0);
    assert!(world.stacks.iter().all(|stack| stack.next_event().is_none()));
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open() {
    let mut world = world();
    let (a, b) = world.connect(80);
    let mut there = Stream::new((A, a), (B, b), 100_000);
    world.run(Duration::from_secs(5), |world| there.pump(world));
    world.pass(SOON);
    let status = world.status(A, a);
    assert!(status.delivered && !status.eof && status.writable == 0 && status.end.is_none());
    assert_eq!(world.stacks[A].send(a, b"more"), 0);
    let mut back = Stream::new((B, b), (A, a), 2_000_000);
    world.run(Duration::from_secs(5), |world| back.pump(world));
    world.pass(SOON);
    assert_eq!(world.status(B, b).end, Some(End::Finished));
}

#[test]
fn what_was_written_before_a_close_is_delivered() {
    let mut world = world();
    let (a, b) = world.connect(80);
    let mut there = Stream::new((A, a), (B, b), 900_000);
    assert!(!there.pump(&mut world));
    assert_eq!(there.written, 900_000);
    close(&mut world, A, a);
    world.run(Duration::from_secs(5), |world| there.pump(world));
}

#[test]
fn bytes_that_nobody_will_read_reset_the_connection() {
    // Closed with bytes unread, and closed before bytes arrive.
    for late in [false, true] {
        let mut world = world();
        let (a, b) = world.connect(80);
        if late {
            close(&mut world, B, b);
            world.pass(SOON);
        }
        world.stacks[A].send(a, b"hello");
        world.pass(SOON);
        if !late {
            close(&mut world, B, b);
            world.pass(SOON);
        }
        assert_eq!(world.status(A, a).end, Some(End::Reset));
        assert_eq!(world.sockets(B), 0);
    }
}

#[test]
fn what_arrived_before_a_reset_can_be_read() {
    let mut world = world();
    let (a, b) = world.connect(80);
    world.stacks[A].send(a, b"last words");
    world.pass(SOON);
    let now = world.now;
    world.stacks[A].abort(now, a);
    world.pass(SOON);
    let status = world.status(B, b);
    assert_eq!((status.end, status.readable, status.eof), (Some(End::Reset), 10, false));
    let mut text = Vec::new();
    world.stacks[B].recv(b, 100, &mut text);
    assert_eq!(text, b"last words");
    close(&mut world, B, b);
    assert_eq!((world.sockets(A), world.sockets(B)), (0, 0));
}

#[test]
fn bytes_left_in_a_finished_connection_wait_for_a_slow_reader() {
    let mut world = world();
    let (a, b) = world.connect(80);
    let mut there = Stream::new((A, a), (B, b), 10_000);
    world.run(SOON, |world| there.pump(world));
    // B answers and ends; A does not read for longer than smoltcp remembers a finished connection.
    let mut back = Stream::new((B, b), (A, a), 500_000);
    back.appetite = 0;
    for _ in 0..10 {
        back.pump(&mut world);
        world.pass(SOON);
    }
    assert!(world.status(B, b).delivered);
    world.pass(Duration::from_secs(60));
    back.appetite = 1000;
    for _ in 0..1000 {
        back.pump(&mut world);
        world.pass(Duration::from_millis(10));
    }
    assert!(back.pump(&mut world));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.status(A, a).end, Some(End::Finished));
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    let mut world = world();
    let a = world.stacks[A].dial(world.now, SocketAddr::new(address(B, true), 9)).unwrap();
    world.pass(SOON);
    let status = world.status(A, a);
    assert_eq!((status.end, status.established), (Some(End::Refused), false));
    close(&mut world, A, a);
    assert_eq!(world.sockets(A), 0);
}

#[test]
fn a_dial_that_nobody_answers_ends_in_time() {
    let mut world = world();
    let a = world.stacks[A].dial(world.now, SocketAddr::new(address(B, false), 9)).unwrap();
    world.cut = true;
    world.pass(Duration::from_millis(29_900));
    assert_eq!(world.status(A, a).end, None);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.status(A, a).end, Some(End::TimedOut));
}

#[test]
fn an_end_that_falls_silent_is_given_up() {
    let mut world = world();
    let (a, b) = world.connect(80);
    world.pass(Duration::from_secs(1000));
    world.stacks[A].send(a, b"anyone?");
    world.cut = true;
    world.pass(Duration::from_secs(299));
    assert_eq!(world.status(A, a).end, None);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.status(A, a).end, Some(End::TimedOut));
    // The other end owes no answer, and does not notice before it asks.
    assert_eq!(world.status(B, b).end, None);
    world.pass(Duration::from_secs(7200));
    assert_eq!(world.status(B, b).end, Some(End::TimedOut));
}

#[test]
fn a_quiet_connection_is_asked_after_and_lives() {
    let mut config = [config(A), config(B)];
    config[0].timeouts.keepalive = Some(Duration::from_secs(30));
    config[0].timeouts.dead = Some(Duration::from_secs(20));
    let mut world = World::with(config, Link::of(Duration::from_millis(10)));
    let (a, b) = world.connect(80);
    let before = world.sent;
    world.pass(Duration::from_secs(3000));
    let asked = world.sent[A] - before[A];
    assert!((90..=101).contains(&asked), "{asked} questions in 100 intervals");
    assert_eq!(world.sent[B] - before[B], asked);
    assert_eq!((world.status(A, a).end, world.status(B, b).end), (None, None));
    world.cut = true;
    world.pass(Duration::from_secs(51));
    assert_eq!(world.status(A, a).end, Some(End::TimedOut));
}

#[test]
fn a_connection_that_nobody_holds_does_not_outlive_a_minute_of_silence() {
    let mut world = world();
    let (a, _) = world.connect(80);
    world.stacks[A].send(a, &[1; 100_000]);
    world.cut = true;
    close(&mut world, A, a);
    world.pass(Duration::from_secs(59));
    assert_eq!(world.sockets(A), 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.sockets(A), 0);
}

#[test]
fn a_half_closed_connection_that_nobody_holds_ends_as_well() {
    let mut world = world();
    let (a, b) = world.connect(80);
    close(&mut world, A, a);
    world.pass(SOON);
    assert!(world.status(B, b).eof);
    // B never closes its half.
    world.pass(Duration::from_secs(61));
    assert_eq!(world.sockets(A), 0);
    assert_eq!(world.status(B, b).end, Some(End::Reset));
}

#[test]
fn finished_connections_make_room_for_new_ones() {
    let mut config = [config(A), config(B)];
    config[0].limits.sockets = 8;
    let mut world = World::with(config, Link::of(Duration::from_millis(1)));
    for _ in 0..100 {
        let (a, b) = world.connect(80);
        close(&mut world, A, a);
        world.pass(Duration::from_millis(5));
        close(&mut world, B, b);
        world.pass(Duration::from_millis(5));
    }
    assert_eq!((world.sockets(A), world.sockets(B)), (8, 0));
    world.pass(Duration::from_secs(11));
    assert_eq!(world.sockets(A), 0);
}

#[test]
fn a_new_connection_takes_the_place_of_a_finished_one_between_the_same_ports() {
    let mut world = world();
    let (a, b) = world.connect(80);
    let remote = world.status(B, b).remote;
    close(&mut world, B, b);
    world.pass(SOON);
    close(&mut world, A, a);
    world.pass(SOON);
    assert_eq!((world.sockets(A), world.sockets(B)), (0, 1));
    // A SYN from the same port, with another first number.
    let mut syn = vec![0; 20];
    syn[..2].copy_from_slice(&remote.port().to_be_bytes());
    syn[2..4].copy_from_slice(&80_u16.to_be_bytes());
    syn[4..8].copy_from_slice(&77_u32.to_be_bytes());
    (syn[12], syn[13], syn[14]) = (5 << 4, 2, 255);
    let packet = common::ipv4(address(A, false), address(B, false), 6, &syn, Some(16));
    let answered = std::rc::Rc::new(std::cell::Cell::new(false));
    let seen = std::rc::Rc::clone(&answered);
    world.watch = Some(Box::new(move |side, packet| {
        let answer = look(packet).is_some_and(|s| side == B && s.syn && s.ack && s.ack_number == 78);
        seen.set(seen.get() | answer);
    }));
    world.inject(B, &packet);
    assert!(answered.get());
}

#[test]
fn dropping_everything_frees_everything() {
    let mut world = world();
    let pairs: Vec<_> = (0..20).map(|i| world.connect(80 + i % 3)).collect();
    let (udp, _) = world.stacks[B].bind(53).unwrap();
    assert_eq!((world.sockets(A), world.sockets(B)), (20, 21));
    for (i, (a, b)) in pairs.into_iter().enumerate() {
        world.stacks[A].send(a, &vec![1; i * 1000]);
        world.pass(Duration::from_millis(i as u64));
        close(&mut world, i % 2, if i % 2 == 0 { a } else { b });
        close(&mut world, 1 - i % 2, if i % 2 == 0 { b } else { a });
    }
    for port in 80..83 {
        let now = world.now;
        world.stacks[B].unlisten(now, Local::from(port));
    }
    world.stacks[B].unbind(udp);
    world.pass(Duration::from_secs(75));
    assert_eq!((world.sockets(A), world.sockets(B)), (0, 0));
    assert!(world.stacks.iter().all(|stack| stack.tally().memory() == 0));
    assert!(world.stacks.iter().all(|stack| stack.next_event().is_none()));
}

#[test]
fn every_port_can_be_used_towards_one_place_and_then_none_is_left() {
    let mut config = [config(A), config(B)];
    config[0].limits.sockets = usize::MAX;
    config[0].limits.memory = usize::MAX;
    config[0].limits.receive_buffer = 65_535;
    config[0].limits.send_buffer = 65_535;
    let mut world = World::with(config, Link::of(Duration::from_millis(1)));
    let to = SocketAddr::new(address(B, false), 80);
    let mut ports = std::collections::BTreeSet::new();
    let error = loop {
        match world.stacks[A].dial(world.now, to) {
            Ok(id) => assert!(ports.insert(world.status(A, id).local.port())),
            Err(error) => break error,
        }
    };
    assert_eq!((error, ports.len()), (DialError::PortsExhausted, 16_384));
}
