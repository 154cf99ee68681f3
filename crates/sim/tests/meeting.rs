//! Two real cores meet: relayed at once, directly soon, and never without a way while there is one.

use std::time::Duration;

use tidewire_dataplane::{Event, Reason, Route};
use tidewire_sim::{HostId, Link, Mapping, Nat, World};
use tidewire_transport::Hop;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pair(seed: u64) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let a = world.add_host([192, 0, 2, 1]);
    let b = world.add_host([192, 0, 2, 2]);
    world.introduce(a, b);
    (world, a, b)
}

/// Sends a numbered packet each 100 ms for a while; returns how many of them arrived.
fn talk(world: &mut World, from: HostId, to: HostId, rounds: u32) -> usize {
    let before = world.inbox(to).len();
    for round in 0..rounds {
        world.send(from, to, &round.to_be_bytes());
        world.run_for(ms(100));
    }
    world.inbox(to).len() - before
}

fn is_direct(route: Route) -> bool {
    matches!(route, Route::One(Hop::Udp(_)))
}

#[test]
fn the_first_packet_arrives_through_the_relay_and_the_path_becomes_direct() {
    let (mut world, a, b) = pair(1);
    world.set_relay_link(Link { delay: ms(20), ..Link::default() });
    world.send(a, b, b"first");
    world.run_for(ms(90));
    assert_eq!(world.inbox(b), [b"first".to_vec()], "handshake and packet are three relayed ways of 20 ms");
    assert_eq!(talk(&mut world, a, b, 20), 20);
    assert!(is_direct(world.route(a, b)), "{:?}", world.route(a, b));
    let switched = world
        .events(a)
        .iter()
        .any(|(_, event)| matches!(event, Event::Switched { to: Route::One(Hop::Udp(_)), .. }));
    assert!(switched, "the change was told");
}

#[test]
fn a_dead_direct_path_is_left_for_the_relay_and_found_again() {
    let (mut world, a, b) = pair(2);
    talk(&mut world, a, b, 30);
    assert!(is_direct(world.route(a, b)));
    world.block_udp(b, true);
    talk(&mut world, a, b, 90);
    assert!(matches!(world.route(a, b), Route::One(Hop::Derp { .. })), "{:?}", world.route(a, b));
    assert_eq!(talk(&mut world, a, b, 20), 20, "relayed without loss");
    world.block_udp(b, false);
    talk(&mut world, a, b, 100);
    assert!(is_direct(world.route(a, b)), "{:?}", world.route(a, b));
}

#[test]
fn two_easy_nats_are_crossed_within_a_second_and_a_half() {
    let (mut world, a, b) = pair(3);
    world.set_nat(a, Nat::new([198, 51, 100, 1].into(), Mapping::EndpointIndependent));
    world.set_nat(b, Nat::new([198, 51, 100, 2].into(), Mapping::EndpointIndependent));
    world.set_link(Link { delay: ms(15), ..Link::default() });
    world.set_relay_link(Link { delay: ms(25), ..Link::default() });
    assert_eq!(talk(&mut world, a, b, 15), 15);
    assert!(is_direct(world.route(a, b)), "{:?}", world.route(a, b));
}

#[test]
fn two_hard_nats_stay_relayed_and_lose_nothing() {
    let (mut world, a, b) = pair(4);
    world.set_nat(a, Nat::new([198, 51, 100, 1].into(), Mapping::AddressAndPortDependent));
    world.set_nat(b, Nat::new([198, 51, 100, 2].into(), Mapping::AddressAndPortDependent));
    assert_eq!(talk(&mut world, a, b, 100), 100);
    assert!(!is_direct(world.route(a, b)), "{:?}", world.route(a, b));
}

#[test]
fn without_a_relay_two_hosts_that_know_no_address_do_not_meet_and_the_drops_are_counted() {
    let (mut world, a, b) = pair(5);
    world.set_relay_up(false);
    assert_eq!(talk(&mut world, a, b, 20), 0);
    world.set_relay_up(true);
    assert!(talk(&mut world, a, b, 100) > 0, "and they meet when there is one");
}

#[test]
fn loss_duplication_and_reordering_deliver_no_packet_twice() {
    let (mut world, a, b) = pair(6);
    world.set_link(Link { delay: ms(10), jitter: ms(30), loss: 100, duplication: 200 });
    world.set_relay_link(Link { delay: ms(20), jitter: ms(20), loss: 50, duplication: 100 });
    for round in 0u32..600 {
        world.send(a, b, &round.to_be_bytes());
        world.run_for(ms(7));
    }
    world.run_for(ms(500));
    let mut inbox = world.inbox(b).to_vec();
    let all = inbox.len();
    inbox.sort();
    inbox.dedup();
    assert_eq!(inbox.len(), all, "no packet twice");
    assert!(all > 450, "{all} of 600 at 10 % loss");
}

#[test]
fn a_strangers_datagram_costs_a_counter_and_nothing_else() {
    let (mut world, a, b) = pair(7);
    talk(&mut world, a, b, 20);
    let sent = world.received(b);
    let from = "203.0.113.66:666".parse().unwrap();
    let unknown = world.core(a).counters().discarded(Reason::Unknown);
    for len in [0usize, 1, 31, 200, 1400] {
        world.inject(a, from, &vec![0x99; len]);
    }
    assert_eq!(world.core(a).counters().discarded(Reason::Unknown), unknown + 5);
    assert_eq!(world.received(b), sent);
}

#[test]
fn one_seed_is_one_history() {
    let history = |seed| {
        let (mut world, a, b) = pair(seed);
        world.set_link(Link { delay: ms(10), jitter: ms(40), loss: 200, duplication: 100 });
        talk(&mut world, a, b, 50);
        (world.inbox(b).to_vec(), world.events(a).to_vec(), world.wake_ups().len(), world.received(b))
    };
    assert_eq!(history(8), history(8));
    assert_ne!(history(8), history(9));
}

#[test]
fn a_quiet_pair_sleeps_long_and_has_a_reason_for_each_wake_up() {
    let (mut world, a, b) = pair(10);
    talk(&mut world, a, b, 20);
    world.run_for(Duration::from_secs(600));
    let before = world.wake_ups().len();
    world.run_for(Duration::from_secs(3600));
    let hour = &world.wake_ups()[before..];
    assert!(hour.len() <= 4, "an idle hour had {} wake-ups: {hour:?}", hour.len());
}
