//! What a peer can cause has limits, each with its count.

use tidewire_disco::Message;
use tidewire_path::{Discard, limits};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr};

fn many(count: u16, third: u8) -> Vec<std::net::SocketAddr> {
    (0..count).map(|port| std::net::SocketAddr::from(([203, 0, third, 1], 1_000 + port))).collect()
}

#[test]
fn a_call_me_maybe_of_130_addresses_is_one_of_32() {
    let mut lone = Lone::new();
    let relay = lone.relay();
    lone.receive(relay, &Message::CallMeMaybe(many(130, 1)));
    assert_eq!(lone.pings().len(), limits::MAX_CALLED);
    assert_eq!(lone.discarded(Discard::CallLimit), 98);
    assert_eq!(lone.explained().candidates.len(), limits::MAX_CALLED);
}

#[test]
fn many_call_me_maybes_send_no_more_than_the_peers_budget() {
    let mut lone = Lone::new();
    let relay = lone.relay();
    lone.send();
    for round in 0..200_u32 {
        lone.receive(relay, &Message::CallMeMaybe(many(32, (round % 250) as u8)));
        lone.run(50);
    }
    // 10 s: the burst, and 16 a second.
    let sent = lone.pings().len();
    assert!((280..=300).contains(&sent), "{sent}");
    assert!(lone.discarded(Discard::PingBudget) > 0);
    assert!(lone.explained().candidates.len() <= limits::MAX_CALLED);
}

#[test]
fn addresses_met_by_pings_and_data_are_bounded_and_every_ping_is_still_answered() {
    let mut lone = Lone::new();
    for (number, from) in many(300, 1).into_iter().enumerate() {
        lone.ping_from(Hop::Udp(from), number as u8);
    }
    assert_eq!(lone.explained().candidates.len(), limits::MAX_MET);
    assert_eq!(lone.pongs().len(), 300);
    for from in many(300, 2) {
        lone.paths.heard(lone.now, PEER, Hop::Udp(from));
    }
    assert_eq!(lone.explained().candidates.len(), limits::MAX_MET);
    assert_eq!(lone.discarded(Discard::MetLimit), 2 * 300 - limits::MAX_MET as u64);
}

#[test]
fn an_address_that_gave_no_sign_for_45_s_makes_room_for_a_new_one() {
    let mut lone = Lone::new();
    for from in many(16, 1) {
        lone.ping_from(Hop::Udp(from), 1);
    }
    lone.run(46_000);
    lone.ping_from(Hop::Udp(addr("203.0.113.5:5")), 1);
    let candidates = lone.explained().candidates;
    assert_eq!(candidates.len(), limits::MAX_MET);
    assert!(candidates.iter().any(|candidate| candidate.hop == Hop::Udp(addr("203.0.113.5:5"))));
}

#[test]
fn an_address_without_any_sign_for_five_minutes_is_forgotten() {
    let mut lone = Lone::new();
    lone.ping_from(Hop::Udp(addr("203.0.113.5:5")), 1);
    lone.run(299_000);
    lone.send();
    assert_eq!(lone.explained().candidates.len(), 1);
    lone.run(5_000);
    assert!(lone.explained().candidates.is_empty());
}

#[test]
fn the_map_is_bounded_too_and_impossible_addresses_are_counted() {
    let mut lone = Lone::new();
    let mut candidates = many(40, 1);
    candidates.push(addr("224.0.0.1:1"));
    candidates.push(addr("203.0.1.1:1000"));
    let config = tidewire_path::PeerConfig { candidates, ..lone.config.clone() };
    lone.configure(config);
    assert_eq!(lone.explained().candidates.len(), limits::MAX_LISTED);
    assert_eq!(lone.discarded(Discard::ListedAddress), 10);
}

#[test]
fn stun_servers_are_bounded() {
    let mut lone = Lone::new();
    lone.call(|paths, now, _| paths.set_stun_servers(now, many(40, 1)));
    lone.run(0);
    assert_eq!(lone.stun_requests().len(), limits::MAX_STUN_SERVERS);
    assert_eq!(lone.discarded(Discard::StunServer), 40 - limits::MAX_STUN_SERVERS as u64);
}

#[test]
fn without_traffic_no_candidate_is_pinged_whatever_arrives_but_on_a_call() {
    let mut lone = Lone::new();
    for (number, from) in many(16, 1).into_iter().enumerate() {
        lone.ping_from(Hop::Udp(from), number as u8);
    }
    lone.run(100_000);
    assert!(lone.pings().is_empty());
}

#[test]
fn data_is_never_sent_to_an_address_that_only_the_peers_word_names() {
    let mut lone = Lone::new();
    let config = tidewire_path::PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    let relay = lone.relay();
    lone.ping_from(Hop::Udp(addr("203.0.113.5:5")), 1);
    lone.send();
    assert_eq!(lone.route(), tidewire_path::Route::None);
    lone.receive(relay, &Message::CallMeMaybe(many(3, 1)));
    assert_eq!(lone.route(), tidewire_path::Route::One(relay), "now a relay is known");
}

#[test]
fn what_a_budget_did_not_allow_is_made_up_for_later() {
    let mut lone = Lone::new();
    let relay = lone.relay();
    lone.send();
    for round in 0..5 {
        lone.receive(relay, &Message::CallMeMaybe(many(32, round)));
    }
    assert_eq!(lone.pings().len(), 128);
    lone.run(8_000);
    let last: std::collections::BTreeSet<_> = lone.pings().into_iter().map(|(hop, ..)| hop).collect();
    assert_eq!(last.len(), 32);
}
