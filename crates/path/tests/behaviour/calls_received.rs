//! CallMeMaybes of others: which count, and what they do.

use tidewire_disco::Message;
use tidewire_keys::PeerId;
use tidewire_path::{Discard, PeerConfig, Reason, Route, Source};
use tidewire_transport::Hop;

use crate::kit::{Keys, Lone, addr};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";
const C: &str = "198.51.100.4:7";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

fn known(lone: &Lone) -> Vec<Hop> {
    lone.explained().candidates.iter().map(|candidate| candidate.hop).collect()
}

#[test]
fn every_address_is_pinged_at_once_also_when_idle() {
    let mut lone = Lone::new();
    lone.run(1_000);
    lone.call_from(&[A, B]);
    assert_eq!(
        lone.pings().iter().map(|(hop, _, at)| (*hop, *at)).collect::<Vec<_>>(),
        [(udp(A), 1_000), (udp(B), 1_000)]
    );
}

#[test]
fn an_idle_peers_addresses_are_tried_for_a_moment_only() {
    let mut lone = Lone::new();
    lone.call_from(&[A]);
    lone.run(60_000);
    assert_eq!(lone.ping_times(A), [0, 200, 600, 1_500]);
    assert_eq!(lone.paths.next_event(), None);
}

#[test]
fn known_addresses_are_pinged_again_at_once_on_each_one() {
    let mut lone = Lone::new();
    lone.send();
    lone.call_from(&[A]);
    lone.run_to(4_000);
    lone.pings();
    for _ in 0..3 {
        lone.call_from(&[A]);
        lone.run(100);
    }
    assert_eq!(lone.ping_times(A), [4_000, 4_100, 4_200]);
}

#[test]
fn one_by_udp_is_ignored() {
    let mut lone = Lone::new();
    lone.receive(udp(C), &Message::CallMeMaybe(vec![addr(A)]));
    assert!(lone.sent().is_empty());
    assert_eq!(lone.discarded(Discard::CallByUdp), 1);
}

#[test]
fn one_by_derp_from_another_node_than_the_keys_is_ignored() {
    let mut lone = Lone::new();
    let other = Keys::new("other");
    let config = PeerConfig {
        node: other.node.public(),
        disco: Some(other.disco.public()),
        candidates: vec![],
        home: None,
    };
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(2), config, out));
    let Hop::Derp { region, .. } = lone.relay() else { unreachable!() };
    lone.receive(Hop::Derp { region, peer_key: other.node.public() }, &Message::CallMeMaybe(vec![addr(A)]));
    assert!(lone.sent().is_empty());
    assert_eq!(lone.discarded(Discard::CallForeign), 1);
}

#[test]
fn one_under_a_key_that_is_no_longer_current_is_ignored() {
    let mut lone = Lone::new();
    let old = lone.seal(&Message::CallMeMaybe(vec![addr(A)]));
    let config = PeerConfig { disco: Some(Keys::new("other").disco.public()), ..lone.config.clone() };
    lone.configure(config);
    let hop = lone.relay();
    lone.call(|paths, now, out| paths.disco(now, hop, false, &mut old.clone(), out));
    assert_eq!(lone.discarded(Discard::UnknownSender), 1);
    assert!(known(&lone).is_empty());
}

#[test]
fn an_empty_malformed_or_foreign_version_one_does_nothing() {
    let mut lone = Lone::new();
    lone.call_from(&[A]);
    lone.prove(A, 2);
    let mut odd = vec![3, 0];
    odd.extend([0; 17]);
    let mut version = vec![3, 1];
    version.extend([0; 18]);
    for plain in [vec![3, 0], odd, version] {
        lone.receive_plain(lone.relay(), &plain);
    }
    lone.call_from(&["[fe80::1]:5", "0.0.0.0:1"]);
    assert_eq!(lone.discarded(Discard::CallEmpty), 4);
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert_eq!(known(&lone), [udp(A)]);
    assert!(lone.sent().is_empty());
}

#[test]
fn the_next_one_replaces_the_addresses_of_the_last_and_no_others() {
    let mut lone = Lone::with(&[A]);
    lone.call_from(&[A, B]);
    lone.ping_from(udp(B), 1);
    lone.call_from(&[C]);
    assert_eq!(known(&lone), [udp(A), udp(B), udp(C)], "the map names one, a ping the other");
    lone.call_from(&[A]);
    assert_eq!(known(&lone), [udp(A), udp(B)]);
    assert_eq!(lone.explained().candidates[0].sources, [Source::Map, Source::CallMeMaybe]);
}

#[test]
fn a_path_in_use_that_the_peer_no_longer_names_is_used_with_the_relay_at_once() {
    let mut lone = Lone::new();
    lone.call_from(&[A, B]);
    lone.prove(A, 2);
    lone.run(1_000);
    lone.call_from(&[C]);
    assert_eq!(lone.route(), Route::Both { direct: udp(A), relay: lone.relay() });
    assert_eq!(lone.last_reason(), Some(Reason::Withdrawn));
    let to_c = lone
        .pings()
        .into_iter()
        .filter(|(hop, ..)| *hop == udp(C))
        .map(|(hop, tx, _)| (hop, tx))
        .next()
        .unwrap();
    lone.run(3);
    lone.answer(&[to_c]);
    assert_eq!(lone.route(), Route::One(udp(C)));
}

#[test]
fn it_is_never_answered_by_another_one() {
    let mut lone = Lone::new();
    lone.call_from(&[A]);
    lone.run(3_000);
    assert!(lone.calls().is_empty(), "idle");

    let mut lone = Lone::new();
    lone.chat_to(3_000);
    let without = lone.calls().len();
    let mut lone = Lone::new();
    lone.send();
    lone.run(100);
    for _ in 0..20 {
        lone.call_from(&[A]);
        lone.run(50);
    }
    lone.chat_to(3_000);
    assert_eq!(lone.calls().len(), without, "active");
}

#[test]
fn a_peer_that_withdraws_again_and_again_is_not_answered_either() {
    let mut lone = Lone::new();
    lone.call_from(&[A, B]);
    lone.prove(A, 2);
    lone.calls();
    for round in 0..10 {
        lone.call_from(if round % 2 == 0 { &[C] } else { &[A] });
        lone.run(100);
    }
    assert!(lone.calls().is_empty());
}

#[test]
fn impossible_addresses_are_never_pinged() {
    let mut lone = Lone::new();
    lone.call_from(&[
        "255.255.255.255:1",
        "224.0.0.1:1",
        "0.0.0.0:1",
        "192.0.2.1:0",
        "[ff02::1]:1",
        "[fe80::1]:1",
        A,
    ]);
    assert_eq!(lone.pings().iter().map(|(hop, ..)| *hop).collect::<Vec<_>>(), [udp(A)]);
    assert_eq!(lone.discarded(Discard::CallAddress), 6);
}
