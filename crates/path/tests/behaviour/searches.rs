//! How often unproven addresses are pinged, and which of several that answer is used.

use tidewire_path::{PeerConfig, Reason, Route};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

#[test]
fn early_pings_come_quickly_and_then_each_5_s() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(17_000);
    assert_eq!(lone.ping_times(A), [0, 200, 600, 1_500, 3_000, 8_000, 13_000]);
}

#[test]
fn a_new_address_of_the_map_is_used_at_once_by_an_active_peer() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(10_000);
    let config = PeerConfig { candidates: vec![addr(A), addr(B)], ..lone.config.clone() };
    lone.configure(config);
    lone.run(700);
    assert_eq!(lone.ping_times(B), [10_000, 10_200, 10_600]);
}

#[test]
fn a_ping_from_an_address_that_did_not_answer_yet_is_answered_by_one_of_ours() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(3_100);
    lone.pings();
    lone.ping_from(udp(A), 1);
    assert_eq!(lone.ping_times(A), [3_100], "the way in is open just now");
    for tx in 2..50 {
        lone.ping_from(udp(A), tx);
        lone.run(20);
    }
    assert_eq!(lone.ping_times(A), [3_600], "not one for each");
}

#[test]
fn data_from_an_address_that_did_not_answer_yet_has_it_tried_again() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(3_100);
    lone.pings();
    for _ in 0..150 {
        lone.paths.heard(lone.now, PEER, udp(A));
        lone.run(10);
    }
    assert_eq!(lone.ping_times(A), [3_500, 4_000, 4_500]);
}

#[test]
fn a_good_path_ends_the_search() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 2);
    let mut to_b = 0;
    while lone.at() < 130_000 {
        lone.send();
        for (hop, tx, _) in lone.pings() {
            to_b += u32::from(hop == udp(B));
            lone.answer(&[(hop, tx)]);
        }
        lone.run(100);
    }
    assert_eq!(to_b, 0);
}

#[test]
fn a_path_that_is_not_that_good_lets_the_early_pings_of_others_go_on_but_not_its_own() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 20);
    lone.run_to(2_900);
    let times = |pings: &[(Hop, _, u64)], to| {
        pings.iter().filter(|(hop, ..)| *hop == to).map(|(_, _, at)| *at).collect::<Vec<_>>()
    };
    let pings = lone.pings();
    assert_eq!(times(&pings, udp(B)), [200, 600, 1_500]);
    assert_eq!(times(&pings, udp(A)), []);
}

#[test]
fn a_path_above_5_ms_is_compared_with_all_others_each_60_s() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 20);
    let mut times = Vec::new();
    while lone.at() < 130_000 {
        lone.send();
        for (hop, tx, at) in lone.pings() {
            match hop == udp(B) {
                true => times.push(at),
                false => {
                    lone.run(20);
                    lone.answer(&[(hop, tx)]);
                }
            }
        }
        lone.run(100);
    }
    times.retain(|at| *at > 5_000);
    assert_eq!(times, [60_020, 120_020]);
}

#[test]
fn of_two_that_answer_the_clearly_faster_one_is_used() {
    let mut lone = Lone::with(&[A, B]);
    lone.send();
    let pings = lone.pings();
    let tx = |hop| pings.iter().find(|(to, ..)| *to == hop).map(|(_, tx, _)| (hop, *tx)).unwrap();
    lone.run(30);
    lone.answer(&[tx(udp(A))]);
    assert_eq!(lone.route(), Route::One(udp(A)));
    lone.run(170);
    let again = lone.pings_to(B);
    lone.run(10);
    lone.answer(&again);
    assert_eq!(lone.route(), Route::One(udp(B)));
    assert_eq!(lone.last_reason(), Some(Reason::Better));
}

#[test]
fn a_slightly_faster_one_is_not_worth_a_change() {
    let mut lone = Lone::with(&[A, B]);
    lone.send();
    let pings = lone.pings();
    lone.run(30);
    lone.answer(&[(pings[0].0, pings[0].1)]);
    let used = lone.route();
    lone.run(171);
    let again: Vec<_> = lone.pings().into_iter().filter(|(hop, ..)| Route::One(*hop) != used).collect();
    lone.run(27);
    lone.answer(&[(again[0].0, again[0].1)]);
    assert_eq!(lone.route(), used);
}

#[test]
fn any_path_is_better_than_one_whose_proof_has_run_out() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 2);
    lone.send();
    lone.run_to(4_900);
    assert_eq!(lone.route(), Route::Both { direct: udp(A), relay: lone.relay() });
    lone.pings();
    lone.run_to(5_500);
    let pings = lone.pings_to(B);
    lone.run(400);
    lone.answer(&pings);
    assert_eq!(lone.route(), Route::One(udp(B)), "slower, but it answers");
}

#[test]
fn a_ping_from_elsewhere_while_direct_is_tried_once_and_the_path_in_use_checked() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.alive_to(A, 2, 4_000);
    lone.pings();
    let at = lone.at();
    lone.ping_from(udp(B), 1);
    let pings = lone.pings();
    let to = |hop| pings.iter().filter(|(to, ..)| *to == hop).map(|(_, _, at)| *at).collect::<Vec<_>>();
    assert_eq!((to(udp(A)), to(udp(B))), (vec![at], vec![at]));
    lone.run(400);
    assert!(lone.ping_times(B).is_empty());
}

#[test]
fn several_new_sources_at_once_do_not_bring_a_good_path_into_doubt() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.run(1_000);
    lone.send();
    for port in 1..=10 {
        lone.ping_from(udp(&format!("198.51.100.77:{port}")), 1);
    }
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn data_from_an_address_makes_it_one_to_try_and_no_more() {
    let mut lone = Lone::new();
    lone.send();
    lone.paths.heard(lone.now, PEER, udp(B));
    lone.run(0);
    assert_eq!(lone.route(), Route::One(lone.relay()), "WireGuard proves nothing about where it came from");
    let pings = lone.pings_to(B);
    assert_eq!(pings.len(), 1);
    lone.run(10);
    lone.answer(&pings);
    assert_eq!(lone.route(), Route::One(udp(B)));
}

#[test]
fn without_traffic_nothing_is_sent() {
    let mut lone = Lone::with(&[A, B]);
    lone.run_to(600_000);
    assert!(lone.sent().is_empty());
    assert_eq!(lone.paths.next_event(), None);
}
