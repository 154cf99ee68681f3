//! Two nodes against each other: relayed at once, direct soon, relayed when cut, direct again.

use tidewire_path::Route;
use tidewire_transport::Hop;

use crate::kit::{Nat, World, ms};

#[test]
fn relayed_first_direct_soon_cut_then_relayed_within_8_s_then_direct_again() {
    let mut world = World::pair(Nat::None, Nat::None);
    world.talk(ms(50));
    world.run(60);
    assert_eq!(
        world.nodes[0].got.first().map(|(at, by_relay)| (*at, *by_relay)),
        Some((50, true)),
        "one round by the relay"
    );
    let took = world.run_until(1_000, World::is_direct);
    assert!(took < 200, "{took}");
    world.run(20_000);
    assert!(world.is_direct());

    world.udp_is_cut = true;
    let took = world.run_until(8_000, World::is_relayed);
    assert!(took > 0);
    assert!(world.longest_gap(0, took) < 5_000, "data went both ways well before that");
    world.run(10_000);
    assert!(world.longest_gap(0, 9_000) < 120);

    world.udp_is_cut = false;
    let took = world.run_until(6_000, World::is_direct);
    assert!(took > 0);
    world.run(1_000);
    assert!(world.longest_gap(0, 7_000) < 120, "nothing is lost on the way back");
}

#[test]
fn one_side_that_only_receives_is_found_too() {
    let mut world = World::pair(Nat::Port, Nat::None);
    world.talk(ms(1_000));
    world.run_until(2_000, World::is_direct);
    world.run(120_000);
    assert!(world.is_direct());
    assert!(world.longest_gap(1, 60_000) <= 1_001);
}

#[test]
fn idle_costs_nothing_and_traffic_after_it_is_direct_at_once() {
    let mut world = World::pair(Nat::Port, Nat::Port);
    world.talk(ms(50));
    world.run(5_000);
    assert!(world.is_direct());
    world.hush();
    world.run(60_000);
    let before: usize = world.nodes.iter().map(|node| node.probes).sum();
    world.run(600_000);
    assert_eq!(world.nodes.iter().map(|node| node.probes).sum::<usize>(), before);
    assert!(world.nodes.iter().all(|node| node.paths.next_event().is_none()));
    world.talk(ms(50));
    world.run(1);
    assert!(matches!(world.route(0), Route::Both { direct: Hop::Udp(_), .. }));
    let took = world.run_until(1_000, World::is_direct);
    assert!(took < 300, "{took}");
}

#[test]
fn with_half_of_all_probes_lost_the_path_holds_and_data_flows() {
    let mut world = World::pair(Nat::None, Nat::None);
    world.talk(ms(50));
    world.run_until(1_000, World::is_direct);
    world.probes_lost = 50;
    world.run(60_000);
    world.run(60_000);
    assert!(world.longest_gap(0, 120_000) < 300);
}

#[test]
fn a_peer_that_moves_is_followed() {
    let mut world = World::pair(Nat::None, Nat::None);
    world.talk(ms(50));
    world.run(5_000);
    assert!(world.is_direct());
    world.moves(1, [203, 0, 113, 77]);
    world.network_changed(1);
    let took = world.run_until(2_000, World::is_direct);
    assert!(took < 1_000, "{took}");
    world.run(1_000);
    assert!(world.longest_gap(0, 2_000) < 200);
}

#[test]
fn data_that_does_not_pass_where_probes_do_ends_on_the_relay() {
    let mut world = World::pair(Nat::None, Nat::None);
    world.talk(ms(50));
    world.run(5_000);
    world.data_is_cut = true;
    world.run(15_000);
    assert!(world.is_direct(), "probes alone do not notice");
    for this in 0..2 {
        world.silent(this);
    }
    assert!(world.is_relayed());
    world.run(10_000);
    assert!(world.is_relayed());
    assert!(world.longest_gap(0, 9_000) < 120);
}

#[test]
fn the_same_seed_is_the_same_history() {
    let history = || {
        let mut world = World::pair(Nat::Port, Nat::Random);
        world.talk(ms(70));
        world.run(30_000);
        world.nodes.into_iter().map(|node| (node.events, node.probes, node.got)).collect::<Vec<_>>()
    };
    assert_eq!(history(), history());
}
