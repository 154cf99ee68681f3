//! Datagrams of strangers and garbage: a count, and nothing else.

use proptest::prelude::*;
use tidewire_disco::{Message, Ping, TxId};
use tidewire_path::Discard;
use tidewire_transport::Hop;

use crate::kit::{Keys, Lone, addr};

const FROM: &str = "203.0.113.66:6";

fn receive(lone: &mut Lone, datagram: &[u8]) {
    let hop = Hop::Udp(addr(FROM));
    let mut datagram = datagram.to_vec();
    lone.call(|paths, now, out| paths.disco(now, hop, false, &mut datagram, out));
}

#[test]
fn a_stranger_is_dropped_before_any_cryptography_whether_its_box_is_good_or_not() {
    let mut lone = Lone::new();
    let stranger = Keys::new("stranger");
    let shared = stranger.disco.shared(&lone.me.disco.public());
    let ping = Message::Ping(Ping { tx: TxId([1; 12]), node: None, padding: 0 });
    let good = tidewire_disco::seal(&ping, &stranger.disco.public(), &shared, [1; 24]);
    let mut bad = good.clone();
    bad[70] ^= 1;
    receive(&mut lone, &good);
    receive(&mut lone, &bad);
    assert_eq!(lone.discarded(Discard::UnknownSender), 2);
    assert_eq!(lone.discarded(Discard::Unopened), 0);
    assert!(lone.sent().is_empty());
    assert!(lone.explained().candidates.is_empty());
    assert_eq!(lone.paths.next_event(), None);
}

#[test]
fn a_box_that_does_not_open_is_met_with_silence() {
    let mut lone = Lone::new();
    let mut datagram = lone.seal(&Message::Ping(Ping { tx: TxId([1; 12]), node: None, padding: 0 }));
    datagram[80] ^= 1;
    receive(&mut lone, &datagram);
    assert_eq!(lone.discarded(Discard::Unopened), 1);
    assert!(lone.sent().is_empty());
    assert!(lone.explained().candidates.is_empty(), "an address counts only once the box has opened");
}

#[test]
fn our_own_message_sent_back_is_a_strangers() {
    let mut lone = Lone::with(&["198.51.100.4:5"]);
    lone.paths.sending(lone.now, crate::kit::PEER);
    let mut out = tidewire_path::Out::default();
    lone.paths.process_events(lone.now, &mut out);
    for (_, datagram) in &out.datagrams {
        receive(&mut lone, datagram);
    }
    assert_eq!(lone.discarded(Discard::UnknownSender), out.datagrams.len() as u64);
}

#[test]
fn unknown_types_and_peer_relay_messages_are_counted() {
    let mut lone = Lone::new();
    let hop = lone.relay();
    for plain in [&[99, 0][..], &[1, 0, 1], &[2, 0]] {
        lone.receive_plain(hop, plain);
    }
    assert_eq!(lone.discarded(Discard::Message), 3);
    for kind in [4, 5, 6] {
        let mut bind = vec![kind, 0];
        bind.extend([1; 72]);
        lone.receive_plain(hop, &bind);
    }
    assert_eq!(lone.discarded(Discard::PeerRelay), 3);
    assert!(lone.sent().is_empty());
}

#[test]
fn a_removed_peer_is_a_stranger() {
    let mut lone = Lone::with(&["198.51.100.4:5"]);
    lone.send();
    lone.sent();
    lone.call(|paths, now, out| paths.remove_peer(now, crate::kit::PEER, out));
    assert_eq!(lone.paths.next_event(), None);
    lone.ping_from(Hop::Udp(addr(FROM)), 1);
    assert!(lone.sent().is_empty());
    assert_eq!(lone.discarded(Discard::UnknownSender), 1);
    assert!(lone.paths.explain(crate::kit::PEER, lone.now).is_none());
}

proptest! {
    #[test]
    fn no_bytes_do_more_than_count(datagram in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        let mut lone = Lone::new();
        let prefix: &[u8] = if magic { &tidewire_disco::MAGIC } else { &[] };
        receive(&mut lone, &[prefix, &datagram].concat());
        let hop = Hop::Udp(addr(FROM));
        lone.call(|paths, now, out| paths.stun(now, hop, &datagram, out));
        prop_assert_eq!(lone.paths.discards().iter().map(|(_, count)| count).sum::<u64>(), 2);
        prop_assert!(lone.sent().is_empty());
        prop_assert_eq!(lone.paths.next_event(), None);
    }

    #[test]
    fn no_plain_bytes_of_a_peer_break_anything(plain in prop::collection::vec(any::<u8>(), 0..300), by_relay: bool) {
        let mut lone = Lone::new();
        lone.send();
        let hop = if by_relay { lone.relay() } else { Hop::Udp(addr(FROM)) };
        lone.receive_plain(hop, &plain);
        lone.run(10_000);
        prop_assert!(lone.paths.next_event().is_some());
    }
}
