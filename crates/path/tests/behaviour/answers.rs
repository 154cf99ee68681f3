//! Pings of others: who is answered, where, and what is learned from it.

use tidewire_disco::{Message, Ping, TxId};
use tidewire_keys::PeerId;
use tidewire_path::{Discard, PeerConfig, Source};
use tidewire_transport::{Hop, RegionId, Vni};

use crate::kit::{Keys, Lone, addr};

const FROM: &str = "198.51.100.4:5";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

#[test]
fn a_ping_by_udp_is_answered_there_and_says_where_it_came_from() {
    let mut lone = Lone::new();
    lone.ping_from(udp(FROM), 1);
    let pongs = lone.pongs();
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].0, udp(FROM));
    assert_eq!(pongs[0].1.tx, TxId([1; 12]));
    assert_eq!(pongs[0].1.src, addr(FROM));
}

#[test]
fn a_ping_by_derp_is_answered_by_derp() {
    let mut lone = Lone::new();
    lone.ping_from(lone.relay(), 1);
    let pongs = lone.pongs();
    assert_eq!(pongs.len(), 1);
    assert_eq!(pongs[0].0, lone.relay());
    assert_eq!(pongs[0].1.src, addr("127.3.3.40:900"));
}

#[test]
fn a_ping_by_derp_is_answered_whichever_known_node_it_comes_from() {
    let mut lone = Lone::new();
    let other = Keys::new("other").node.public();
    let config = PeerConfig { node: other, disco: None, candidates: vec![], home: None };
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(2), config, out));
    let hop = Hop::Derp { region: RegionId(7), peer_key: other };
    lone.ping_from(hop, 1);
    assert_eq!(lone.pongs()[0].0, hop);
}

#[test]
fn a_ping_by_derp_from_an_unknown_node_is_dropped() {
    let mut lone = Lone::new();
    let hop = Hop::Derp { region: RegionId(7), peer_key: Keys::new("stranger").node.public() };
    lone.ping_from(hop, 1);
    assert!(lone.sent().is_empty());
    assert_eq!(lone.discarded(Discard::UnknownNode), 1);
}

#[test]
fn a_copy_of_the_last_ping_of_a_source_is_not_answered_again() {
    let mut lone = Lone::new();
    lone.ping_from(udp(FROM), 1);
    lone.ping_from(udp(FROM), 1);
    assert_eq!(lone.pongs().len(), 1);
    assert_eq!(lone.discarded(Discard::PingDuplicate), 1);
    lone.ping_from(udp("198.51.100.4:6"), 1);
    assert_eq!(lone.pongs().len(), 1, "from elsewhere it is none");
}

#[test]
fn a_b_a_gives_three_pongs() {
    let mut lone = Lone::new();
    for tx in [1, 2, 1] {
        lone.ping_from(udp(FROM), tx);
    }
    assert_eq!(lone.pongs().len(), 3);
}

#[test]
fn duplicates_are_refused_on_naked_udp_only() {
    let mut lone = Lone::new();
    for _ in 0..2 {
        lone.ping_from(lone.relay(), 1);
    }
    assert_eq!(lone.pongs().len(), 2);
}

#[test]
fn a_geneve_ping_is_answered_by_its_vni_and_names_no_address() {
    let mut lone = Lone::new();
    let hop = Hop::Relayed { server: addr(FROM), vni: Vni::new(0xABCDEF).unwrap() };
    lone.ping_from(hop, 1);
    assert_eq!(lone.pongs()[0].0, hop);
    assert!(lone.explained().candidates.is_empty());
}

#[test]
fn the_control_bit_is_for_messages_of_peer_relays_alone() {
    let mut lone = Lone::new();
    let ping = Message::Ping(Ping { tx: TxId([1; 12]), node: None, padding: 0 });
    let mut datagram = lone.seal(&ping);
    let hop = Hop::Relayed { server: addr(FROM), vni: Vni::new(1).unwrap() };
    lone.call(|paths, now, out| paths.disco(now, hop, true, &mut datagram, out));
    assert!(lone.sent().is_empty());
    assert_eq!(lone.discarded(Discard::Control), 1);
}

#[test]
fn a_ping_names_an_address_and_wakes_nobody() {
    let mut lone = Lone::new();
    lone.ping_from(udp(FROM), 1);
    lone.run(20_000);
    assert!(lone.pings().is_empty(), "the peer is not active");
    assert!(matches!(lone.explained().candidates[0].sources[..], [Source::Ping(_)]));
    lone.send();
    assert_eq!(lone.pings_to(FROM).len(), 1);
}

#[test]
fn an_old_ping_without_node_key_is_as_good() {
    let mut lone = Lone::new();
    lone.receive(udp(FROM), &Message::Ping(Ping { tx: TxId([1; 12]), node: None, padding: 0 }));
    assert_eq!(lone.pongs().len(), 1);
    assert_eq!(lone.explained().candidates.len(), 1);
}

#[test]
fn a_source_that_cannot_be_answered_is_dropped() {
    let mut lone = Lone::new();
    for source in ["198.51.100.4:0", "224.0.0.1:5", "255.255.255.255:5", "0.0.0.0:5", "[ff02::1]:5", "[::]:5"]
    {
        lone.ping_from(udp(source), 1);
    }
    assert!(lone.sent().is_empty());
    assert_eq!(lone.discarded(Discard::PingSource), 6);
    assert!(lone.explained().candidates.is_empty());
}

/// Two nodes with one disco key, as when a machine changes its node key.
fn shared_key() -> (Lone, Keys) {
    let mut lone = Lone::new();
    let other = Keys::new("other");
    let config = PeerConfig { node: other.node.public(), ..lone.config.clone() };
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(2), config, out));
    (lone, other)
}

#[test]
fn the_node_key_in_a_ping_says_which_of_two_nodes_with_one_disco_key() {
    let (mut lone, other) = shared_key();
    let named = Ping { tx: TxId([1; 12]), node: Some(other.node.public()), padding: 0 };
    lone.receive(udp(FROM), &Message::Ping(named));
    assert!(lone.explained().candidates.is_empty());
    assert_eq!(lone.paths.explain(PeerId(2), lone.now).unwrap().candidates.len(), 1);
}

#[test]
fn the_node_key_in_a_ping_is_not_believed_where_the_disco_key_differs() {
    let (mut lone, _) = shared_key();
    let third = Keys::new("third");
    let config = PeerConfig {
        node: third.node.public(),
        disco: Some(third.disco.public()),
        candidates: vec![],
        home: None,
    };
    lone.call(|paths, now, out| paths.set_peer(now, PeerId(3), config, out));
    let named = Ping { tx: TxId([1; 12]), node: Some(third.node.public()), padding: 0 };
    lone.receive(udp(FROM), &Message::Ping(named));
    assert_eq!(lone.pongs().len(), 1);
    for id in 1..=3 {
        assert!(lone.paths.explain(PeerId(id), lone.now).unwrap().candidates.is_empty(), "{id}");
    }
}

#[test]
fn a_burst_of_800_pings_is_answered_and_a_flood_is_not() {
    let mut lone = Lone::new();
    let mut flood = |count: u32| {
        for number in 0..count {
            let mut tx = [0; 12];
            tx[..4].copy_from_slice(&number.to_le_bytes());
            lone.receive(udp(FROM), &Message::Ping(Ping { tx: TxId(tx), node: None, padding: 0 }));
        }
        lone.pongs().len()
    };
    assert_eq!(flood(800), 800);
    assert_eq!(flood(800), 224);
    assert_eq!(lone.discarded(Discard::PongBudget), 576);
}
