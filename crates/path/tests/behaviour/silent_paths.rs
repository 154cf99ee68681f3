//! Paths whose probes pass while data does not.

use tidewire_path::{CandidateState, Reason, Route, Verdict, WhyRelayed};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr, ms};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

fn silent(lone: &mut Lone) {
    lone.call(|paths, now, out| paths.silent(now, PEER, out));
}

#[test]
fn the_path_is_left_at_once_and_explained() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    silent(&mut lone);
    assert_eq!(lone.route(), Route::One(lone.relay()));
    assert_eq!(lone.last_reason(), Some(Reason::Silent));
    let explained = lone.explained();
    assert_eq!(explained.verdict, Verdict::Relayed(WhyRelayed::Barred));
    assert_eq!(explained.candidates[0].state, CandidateState::Barred(ms(15_000)));
}

#[test]
fn it_stays_barred_although_it_answers_and_comes_back_by_itself_afterwards() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    silent(&mut lone);
    let start = lone.at();
    lone.alive_to(A, 2, start + 14_900);
    assert_eq!(lone.route(), Route::One(lone.relay()));
    lone.alive_to(A, 2, start + 21_000);
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn each_time_the_bar_is_twice_as_long_up_to_ten_minutes() {
    let mut lone = Lone::with(&[A]);
    let mut bars = Vec::new();
    for _ in 0..8 {
        lone.prove(A, 2);
        silent(&mut lone);
        let CandidateState::Barred(left) = lone.explained().candidates[0].state else { panic!("not barred") };
        bars.push(left.as_secs());
        lone.chat_to(lone.at() + left.as_millis() as u64 + 6_000);
        lone.run(0);
        let at = lone.at();
        lone.alive_to(A, 2, at);
    }
    assert_eq!(bars, [15, 30, 60, 120, 240, 480, 600, 600]);
}

#[test]
fn a_path_that_did_well_for_long_is_forgiven() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    silent(&mut lone);
    lone.alive_to(A, 2, lone.at() + 700_000);
    silent(&mut lone);
    assert_eq!(lone.explained().candidates[0].state, CandidateState::Barred(ms(15_000)));
}

#[test]
fn another_path_that_answered_lately_is_used_instead() {
    let mut lone = Lone::with(&[A, B]);
    lone.send();
    let pings = lone.pings();
    lone.run(2);
    lone.answer(&[(pings[0].0, pings[0].1), (pings[1].0, pings[1].1)]);
    let Route::One(first) = lone.route() else { panic!("{}", lone.route()) };
    silent(&mut lone);
    let Route::One(second @ Hop::Udp(_)) = lone.route() else { panic!("{}", lone.route()) };
    assert_ne!(first, second);
}

#[test]
fn where_the_relay_is_in_use_or_nothing_is_proven_no_path_is_to_blame() {
    let mut lone = Lone::with(&[A]);
    lone.send();
    silent(&mut lone);
    lone.prove(A, 2);
    lone.chat_to(9_000);
    assert_eq!(lone.route(), Route::One(lone.relay()));
    silent(&mut lone);
    assert!(!lone.explained().candidates.iter().any(|c| matches!(c.state, CandidateState::Barred(_))));
}

#[test]
fn without_relay_and_without_any_other_address_the_barred_one_is_better_than_none() {
    let mut lone = Lone::with(&[A]);
    let config = tidewire_path::PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    lone.prove(A, 2);
    silent(&mut lone);
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert_eq!(lone.explained().verdict, Verdict::Unproven);
}

#[test]
fn without_relay_another_address_of_the_map_is_tried_first() {
    let mut lone = Lone::with(&[A, B]);
    let config = tidewire_path::PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    lone.prove(A, 2);
    silent(&mut lone);
    assert_eq!(lone.route(), Route::One(udp(B)));
}

#[test]
fn data_from_a_barred_address_that_answers_does_not_have_it_asked_again_and_again() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.alive_to(A, 2, 10_000);
    silent(&mut lone);
    lone.run(1);
    let asked = lone.pings_to(A);
    lone.answer(&asked);
    lone.pings();
    for _ in 0..100 {
        lone.paths.heard(lone.now, PEER, udp(A));
        lone.run(30);
    }
    assert!(lone.ping_times(A).len() <= 4, "the early pings of the search alone");
}
