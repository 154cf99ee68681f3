//! Holes through NATs: within about a second where it can be done, and by the relay for good where it cannot.

use tidewire_path::{Verdict, WhyRelayed};

use crate::kit::{Nat, World, ms};

fn direct_after(one: Nat, other: Nat, udp_delay: u64) -> u64 {
    let mut world = World::pair(one, other);
    world.udp_delay = ms(udp_delay);
    world.talk(ms(50));
    world.run_until(2_000, World::is_direct)
}

#[test]
fn behind_two_nats_a_hole_is_made_within_a_second() {
    for udp_delay in [1, 10, 40, 120] {
        let took = direct_after(Nat::Port, Nat::Port, udp_delay);
        let relay_and_back = 2 * 25 + 4 * udp_delay;
        assert!(took < 100 + relay_and_back, "{took} ms with {udp_delay} ms one way");
    }
}

#[test]
fn behind_one_nat_on_either_side() {
    assert!(direct_after(Nat::Port, Nat::None, 10) < 500);
    assert!(direct_after(Nat::None, Nat::Port, 10) < 500);
}

#[test]
fn a_mapping_that_varies_is_no_hindrance_towards_an_open_node() {
    assert!(direct_after(Nat::Random, Nat::None, 10) < 500);
    assert!(direct_after(Nat::None, Nat::Random, 10) < 500);
}

#[test]
fn a_mapping_that_varies_behind_a_nat_is_relayed_for_good_at_a_bounded_cost() {
    let mut world = World::pair(Nat::Random, Nat::Port);
    world.talk(ms(50));
    world.run(10_000);
    let before: usize = world.nodes.iter().map(|node| node.probes).sum();
    world.run(60_000);
    assert!(world.is_relayed());
    let probes = world.nodes.iter().map(|node| node.probes).sum::<usize>() - before;
    assert!(probes < 60 * 4, "{probes} probes in a minute");
    let explained = world.nodes[0].paths.explain(tidewire_keys::PeerId(1), world.now).unwrap();
    assert!(matches!(explained.verdict, Verdict::Relayed(WhyRelayed::NoAnswer { .. })));
    assert!(world.longest_gap(0, 60_000) < 120);
}

#[test]
fn where_stun_is_blocked_the_interface_addresses_are_enough_between_open_nodes() {
    let mut world = World::pair(Nat::None, Nat::None);
    world.stun_is_cut = true;
    world.talk(ms(50));
    let took = world.run_until(4_000, World::is_direct);
    assert!(took >= 3_000, "the CallMeMaybe waits 3 s for STUN: {took}");
}

#[test]
fn probes_that_are_lost_at_first_do_not_cost_five_seconds() {
    let mut took: Vec<_> = (0..100)
        .map(|seed| {
            let mut world = World::pair(Nat::Port, Nat::Port);
            world.probes_lost = 30;
            world.shuffle(seed);
            world.talk(ms(50));
            world.run_until(10_000, World::is_direct)
        })
        .collect();
    took.sort_unstable();
    assert!(took[50] < 700 && took[90] < 2_700 && took[99] < 7_000, "{took:?}");
}
