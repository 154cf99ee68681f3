//! Who gets in: the backlog, its bound, and which listener a connection goes to.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{A, B, Link, World, address, config, look};
use tidewire_netstack::{BindError, Discard, End, Event, Limits, Local};

fn to_b(port: u16) -> SocketAddr {
    SocketAddr::new(address(B, false), port)
}

#[test]
fn fifty_connections_at_once_are_all_taken() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    world.stacks[B].listen(80).unwrap();
    let dialled: Vec<_> = (0..50).map(|_| world.stacks[A].dial(world.now, to_b(80)).unwrap()).collect();
    world.pass(Duration::from_millis(35));
    assert!(dialled.iter().all(|id| world.status(A, *id).established));
    let mut accepted = std::iter::from_fn(|| world.stacks[B].accept(Local::from(80))).collect::<Vec<_>>();
    assert_eq!(accepted.len(), 50);
    accepted.dedup();
    assert_eq!(accepted.len(), 50);
    let incoming = world.events[B].iter().filter(|event| matches!(event, Event::Incoming(_))).count();
    assert_eq!(incoming, 50);
}

#[test]
fn beyond_the_backlog_a_dial_waits_and_is_not_refused() {
    let mut small = config(B);
    small.limits.backlog = 4;
    let mut world = World::with([config(A), small], Link::of(Duration::from_millis(10)));
    world.stacks[B].listen(80).unwrap();
    let dialled: Vec<_> = (0..10).map(|_| world.stacks[A].dial(world.now, to_b(80)).unwrap()).collect();
    world.pass(Duration::from_millis(100));
    assert_eq!(world.sockets(B), 4);
    assert_eq!(world.stacks[B].tally().get(Discard::Backlog), 6);
    let mut taken = 0;
    world.run(Duration::from_secs(20), |world| {
        taken += std::iter::from_fn(|| world.stacks[B].accept(Local::from(80))).count();
        taken == 10
    });
    world.pass(Duration::from_millis(100));
    assert!(dialled.iter().all(|id| world.status(A, *id).established));
}

#[test]
fn a_handshake_that_is_never_finished_makes_room_again() {
    let mut small = config(B);
    small.limits.backlog = 2;
    let mut world = World::with([config(A), small], Link::of(Duration::from_millis(10)));
    world.stacks[B].listen(80).unwrap();
    // Nothing of what A says after its SYN arrives.
    world.sieve = Some(Box::new(|side, packet| side == A && look(packet).is_some_and(|seen| !seen.syn)));
    let dialled = [0, 1].map(|_| world.stacks[A].dial(world.now, to_b(80)).unwrap());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.sockets(B), 2);
    world.cut = true;
    for id in dialled {
        let now = world.now;
        world.stacks[A].abort(now, id);
    }
    world.pass(Duration::from_secs(25));
    assert_eq!(world.sockets(B), 0);
    assert_eq!(world.events[B], []);
}

#[test]
fn a_lost_answer_to_a_dial_is_repeated_when_the_dial_is() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let mut answers = 0;
    world.sieve = Some(Box::new(move |side, packet| {
        let answer = side == B && look(packet).is_some_and(|seen| seen.syn);
        answers += u32::from(answer);
        answer && answers == 1
    }));
    let began = world.now;
    world.connect(80);
    assert!(world.now - began < Duration::from_millis(1100));
}

#[test]
fn the_listener_for_one_address_goes_before_the_one_for_all() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let one = world.stacks[B].listen(to_b(80)).unwrap();
    let all = world.stacks[B].listen(80).unwrap();
    assert_eq!(one, Local { address: Some(address(B, false)), port: 80 });
    world.stacks[A].dial(world.now, to_b(80)).unwrap();
    world.stacks[A].dial(world.now, SocketAddr::new(address(B, true), 80)).unwrap();
    world.pass(Duration::from_millis(50));
    let v4 = world.stacks[B].accept(one).unwrap();
    let v6 = world.stacks[B].accept(all).unwrap();
    assert!(world.status(B, v4).local.is_ipv4() && world.status(B, v6).local.is_ipv6());
}

#[test]
fn places_are_given_once_and_free_ports_are_found() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let stack = &mut world.stacks[B];
    stack.listen(80).unwrap();
    assert_eq!(stack.listen(80), Err(BindError::InUse(Local::from(80))));
    assert_eq!(
        stack.listen(SocketAddr::from(([9, 9, 9, 9], 80))),
        Err(BindError::NotOwn([9, 9, 9, 9].into()))
    );
    let any = stack.listen(0).unwrap();
    assert!(any.port >= 49_152 && stack.listen(any) == Err(BindError::InUse(any)));
}

#[test]
fn a_listener_that_goes_resets_who_waits() {
    let mut world = World::new(Link::of(Duration::from_millis(10)));
    let local = world.stacks[B].listen(80).unwrap();
    let a = world.stacks[A].dial(world.now, to_b(80)).unwrap();
    world.pass(Duration::from_millis(50));
    assert!(world.status(A, a).established);
    let now = world.now;
    world.stacks[B].unlisten(now, local);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.status(A, a).end, Some(End::Reset));
    assert_eq!(world.sockets(B), 0);
    let late = world.stacks[A].dial(world.now, to_b(80)).unwrap();
    world.pass(Duration::from_millis(50));
    assert_eq!(world.status(A, late).end, Some(End::Refused));
}

#[test]
fn the_limit_of_sockets_holds_on_both_sides() {
    let limits = Limits { sockets: 3, ..Limits::default() };
    let configs = [A, B].map(|side| tidewire_netstack::Config { limits, ..config(side) });
    let mut world = World::with(configs, Link::of(Duration::from_millis(10)));
    world.stacks[B].listen(80).unwrap();
    let mut ids: Vec<_> = (0..3).map(|_| world.stacks[A].dial(world.now, to_b(80)).unwrap()).collect();
    let refused = world.stacks[A].dial(world.now, to_b(80));
    assert_eq!(refused, Err(tidewire_netstack::DialError::TooManySockets));
    assert_eq!(world.stacks[A].bind(53).unwrap_err(), BindError::TooManySockets);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.sockets(B), 3);
    // One goes, and there is room for one.
    let now = world.now;
    world.stacks[A].abort(now, ids.remove(0));
    world.pass(Duration::from_millis(50));
    assert_eq!((world.sockets(A), world.sockets(B)), (2, 3));
    world.stacks[A].dial(world.now, to_b(80)).unwrap();
    world.pass(Duration::from_millis(50));
    assert_eq!(world.stacks[B].tally().get(Discard::Sockets), 1);
}
