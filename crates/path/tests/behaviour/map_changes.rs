//! What a changed map does to a peer that is in use, and what an unchanged one does not.

use tidewire_keys::PeerId;
use tidewire_path::{PeerConfig, Reason, Route, Verdict};
use tidewire_transport::{Hop, RegionId};

use crate::kit::{Keys, Lone, PEER, addr};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

#[test]
fn the_same_map_again_does_nothing() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 2);
    lone.run(100);
    lone.sent();
    lone.events.clear();
    let before = lone.paths.next_event();
    let config = lone.config.clone();
    lone.configure(config);
    assert!(lone.sent().is_empty() && lone.events.is_empty());
    assert_eq!(lone.paths.next_event(), before);
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn a_new_home_moves_the_floor_and_the_peer_is_told_our_addresses() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(3_000);
    lone.sent();
    let config = PeerConfig { home: Some(RegionId(7)), ..lone.config.clone() };
    lone.configure(config);
    let relay = Hop::Derp { region: RegionId(7), peer_key: lone.peer.node.public() };
    assert_eq!(lone.route(), Route::One(relay));
    assert_eq!(lone.last_reason(), Some(Reason::Map));
    lone.run(0);
    let calls: Vec<_> = lone.sent().into_iter().filter(|sent| sent.hop == relay).collect();
    assert_eq!(calls.len(), 1);
}

#[test]
fn a_new_disco_key_voids_what_the_old_one_said_and_keeps_the_map() {
    let mut lone = Lone::with(&[A]);
    lone.call_from(&[B]);
    lone.prove(A, 2);
    let fresh = Keys::new("fresh");
    lone.peer.disco = fresh.disco;
    let config = PeerConfig { disco: Some(lone.peer.disco.public()), ..lone.config.clone() };
    lone.rekey();
    lone.configure(config);
    assert_eq!(lone.route(), Route::One(lone.relay()));
    assert_eq!(lone.last_reason(), Some(Reason::Map));
    assert_eq!(lone.explained().candidates.len(), 1);
    let pings = lone.pings_to(A);
    assert_eq!(pings.len(), 1, "under the new key, at once");
    lone.run(2);
    lone.answer(&pings);
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn a_new_node_key_makes_it_another_peer() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    let node = Keys::new("other").node.public();
    let config = PeerConfig { node, ..lone.config.clone() };
    lone.configure(config);
    assert_eq!(lone.route(), Route::One(Hop::Derp { region: RegionId(900), peer_key: node }));
    assert!(!lone.explained().active);
}

#[test]
fn an_address_that_leaves_the_map_is_forgotten_unless_it_is_in_use_or_named_by_another() {
    let mut lone = Lone::with(&[A, B, "198.51.100.4:7"]);
    lone.call_from(&[B]);
    lone.prove(A, 2);
    let config = PeerConfig { candidates: vec![], ..lone.config.clone() };
    lone.configure(config);
    let known: Vec<_> = lone.explained().candidates.iter().map(|candidate| candidate.hop).collect();
    assert_eq!(known, [udp(A), udp(B)]);
    assert_eq!(lone.route(), Route::One(udp(A)), "it answers");
}

#[test]
fn a_peer_may_gain_and_lose_its_disco_key() {
    let mut lone = Lone::with(&[A]);
    let disco = lone.config.disco;
    let without = PeerConfig { disco: None, home: None, ..lone.config.clone() };
    lone.configure(without.clone());
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert_eq!(lone.explained().verdict, Verdict::Plain);
    lone.configure(PeerConfig { disco, home: Some(RegionId(900)), ..without });
    assert_eq!(lone.route(), Route::One(lone.relay()));
    lone.prove(A, 2);
}

#[test]
fn a_peer_without_a_home_is_answered_where_it_was_heard() {
    let mut lone = Lone::new();
    let config = PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    assert_eq!(lone.route(), Route::None);
    let heard = Hop::Derp { region: RegionId(3), peer_key: lone.peer.node.public() };
    lone.paths.heard(lone.now, PEER, heard);
    assert_eq!(lone.route(), Route::One(heard));
    lone.run(0);
    assert_eq!(lone.last_reason(), Some(Reason::RelayLearned));
}

#[test]
fn without_relay_and_proof_the_first_address_of_the_map_is_tried() {
    let mut lone = Lone::with(&[B, A]);
    let config = PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    assert_eq!(lone.route(), Route::One(udp(B)));
    assert_eq!(lone.explained().verdict, Verdict::Unproven);
    lone.prove(A, 2);
    lone.chat_to(20_000);
    assert!(lone.route().is_direct(), "there is nothing to fall back to");
}

#[test]
fn removing_and_adding_starts_anew() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.call(|paths, now, out| paths.remove_peer(now, PEER, out));
    assert_eq!(lone.route(), Route::None);
    assert_eq!(lone.paths.next_event(), None);
    let config = lone.config.clone();
    lone.configure(config);
    assert_eq!(lone.route(), Route::One(lone.relay()));
    lone.prove(A, 2);
}

#[test]
fn a_node_may_get_another_number() {
    let mut lone = Lone::new();
    let config = lone.config.clone();
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(2), config, out));
    lone.call(|paths, now, out| paths.remove_peer(now, PEER, out));
    lone.call_from(&[A]);
    assert_eq!(lone.pings_to(A).len(), 1);
    assert_eq!(lone.paths.explain(PeerId(2), lone.now).unwrap().candidates.len(), 1);
}
