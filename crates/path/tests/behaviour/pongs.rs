//! Answers to our pings: which are believed, and what they prove.

use tidewire_disco::{Message, Pong, TxId};
use tidewire_keys::PeerId;
use tidewire_path::{Discard, PeerConfig, Route};
use tidewire_transport::Hop;

use crate::kit::{Keys, Lone, addr};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

fn pinged() -> (Lone, TxId) {
    let mut lone = Lone::with(&[A]);
    lone.send();
    let tx = lone.pings_to(A)[0].1;
    (lone, tx)
}

#[test]
fn a_pong_proves_the_address_that_was_pinged_wherever_it_comes_from() {
    let (mut lone, tx) = pinged();
    lone.pong(udp("203.0.113.99:7"), tx);
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn a_pong_by_derp_proves_no_way_back_and_the_one_by_udp_still_counts() {
    let (mut lone, tx) = pinged();
    let relay = lone.relay();
    lone.pong(relay, tx);
    assert_eq!(lone.route(), Route::One(relay));
    assert_eq!(lone.discarded(Discard::PongByRelay), 1);
    lone.pong(udp(A), tx);
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn a_pong_4_7_s_late_counts_and_5_3_s_does_not() {
    for (late, counts) in [(4_700, true), (5_300, false)] {
        let (mut lone, tx) = pinged();
        lone.run(late);
        lone.pong(udp(A), tx);
        assert_eq!(lone.route() == Route::One(udp(A)), counts, "{late}");
        assert_eq!(lone.discarded(Discard::PongUnmatched), u64::from(!counts));
    }
}

#[test]
fn a_pong_counts_once_and_a_made_up_one_never() {
    let (mut lone, tx) = pinged();
    lone.pong(udp(A), TxId([9; 12]));
    assert_eq!(lone.route(), Route::One(lone.relay()));
    lone.pong(udp(A), tx);
    lone.pong(udp(A), tx);
    assert_eq!(lone.discarded(Discard::PongUnmatched), 2);
}

#[test]
fn another_peer_cannot_answer_for_this_one() {
    let (mut lone, tx) = pinged();
    let other = Keys::new("other");
    let config = PeerConfig {
        node: other.node.public(),
        disco: Some(other.disco.public()),
        candidates: vec![],
        home: None,
    };
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(2), config, out));
    let shared = other.disco.shared(&lone.me.disco.public());
    let pong = Message::Pong(Pong { tx, src: addr(B) });
    let mut datagram = tidewire_disco::seal(&pong, &other.disco.public(), &shared, [3; 24]);
    lone.call(|paths, now, out| paths.disco(now, udp(A), false, &mut datagram, out));
    assert_eq!(lone.discarded(Discard::PongUnmatched), 1);
    assert_eq!(lone.route(), Route::One(lone.relay()));
}

#[test]
fn one_disco_key_may_belong_to_several_nodes() {
    let (mut lone, tx) = pinged();
    let config =
        PeerConfig { node: Keys::new("other").node.public(), candidates: vec![], ..lone.config.clone() };
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(0), config, out));
    lone.pong(udp(A), tx);
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert!(matches!(lone.paths.current(PeerId(0), lone.now), Route::One(Hop::Derp { .. })));
}

#[test]
fn a_pong_for_an_address_given_up_since_is_ignored() {
    let (mut lone, tx) = pinged();
    let config = PeerConfig { candidates: vec![addr(B)], ..lone.config.clone() };
    lone.configure(config);
    lone.pong(udp(A), tx);
    assert_eq!(lone.discarded(Discard::PongRemoved), 1);
    assert_eq!(lone.route(), Route::One(lone.relay()));
}

#[test]
fn the_ping_says_who_we_are_in_124_bytes() {
    let mut lone = Lone::with(&[A]);
    lone.paths.sending(lone.now, crate::kit::PEER);
    let mut out = tidewire_path::Out::default();
    lone.paths.process_events(lone.now, &mut out);
    let (_, datagram) = out.datagrams.iter().find(|(hop, _)| *hop == udp(A)).unwrap();
    assert_eq!(datagram.len(), 124);
}

#[test]
fn the_least_of_the_last_four_round_trips_is_what_a_path_can_do() {
    let mut lone = Lone::with(&[A]);
    let mut latencies = Vec::new();
    for latency in [40, 20, 60, 70, 80, 90] {
        lone.call_from(&[A]);
        let pings = lone.pings_to(A);
        lone.run(latency);
        lone.answer(&pings[pings.len() - 1..]);
        latencies.push(lone.explained().candidates[0].latency.unwrap().as_millis());
    }
    assert_eq!(latencies, [40, 20, 20, 20, 20, 60]);
}
