//! What someone on the path can do to a session or a handshake by sending again, mixing up and changing: nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::*;
use tidewire_keys::{PeerId, Seed};
use tidewire_tunnel::{Discard, Event, PeerConfig, PeerStatus, Why};

/// What must not change, whatever is thrown at a node.
fn fingerprint(node: &mut Node, now: Instant) -> (PeerStatus, Option<(Instant, Why)>) {
    (node.tunnel.status(now, PEER).unwrap(), node.tunnel.next_event())
}

#[test]
fn a_replayed_datagram_is_dropped() {
    let mut world = World::connected();
    world.a.send_all(world.now, PEER, &[b"one", b"two", b"three"]);
    let sent = world.a.take_sent();
    for _ in 0..3 {
        for datagram in &sent {
            world.b.hear(world.now, source(1), datagram);
        }
    }
    assert_eq!(world.b.take_data().len(), 3);
    assert_eq!(world.b.discarded(Discard::Replayed), 6);
}

#[test]
fn reordering_within_the_window_loses_nothing_and_beyond_it_is_refused() {
    let mut world = World::connected();
    let mut sent = Vec::new();
    for i in 0..9000u32 {
        world.a.send(world.now, PEER, &i.to_le_bytes());
        sent.extend(world.a.take_sent());
    }
    sent.reverse();
    for datagram in &sent {
        world.b.hear(world.now, source(1), datagram);
    }
    assert_eq!(world.b.take_data().len(), 8192);
    assert_eq!(world.b.discarded(Discard::BeforeWindow), 9000 - 8192);
}

#[test]
fn each_flipped_bit_of_a_transport_message_is_noticed() {
    let mut world = World::connected();
    world.a.send(world.now, PEER, b"the packet");
    let datagram = world.a.take_sent().pop().unwrap();
    let before = fingerprint(&mut world.b, world.now);
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        world.b.hear(world.now, source(66), &changed);
        assert!(world.b.received.is_empty(), "bit {bit}");
    }
    assert_eq!(fingerprint(&mut world.b, world.now), before);
    assert!(world.b.sent.is_empty() && world.b.events.is_empty());
    world.b.hear(world.now, source(1), &datagram);
    assert_eq!(world.b.take_data().len(), 1, "the counter was not spent by forgeries");
}

#[test]
fn each_truncation_of_a_transport_message_is_noticed() {
    let mut world = World::connected();
    world.a.send(world.now, PEER, b"the packet");
    let datagram = world.a.take_sent().pop().unwrap();
    for len in 0..datagram.len() {
        world.b.hear(world.now, source(66), &datagram[..len]);
    }
    let mut longer = datagram.clone();
    longer.push(0);
    world.b.hear(world.now, source(66), &longer);
    assert!(world.b.received.is_empty());
    assert_eq!(world.b.tunnel.discards().total(), datagram.len() as u64 + 1);
    world.b.hear(world.now, source(1), &datagram);
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn parts_of_different_messages_do_not_fit_together() {
    let mut world = World::connected();
    world.a.send_all(world.now, PEER, &[&[1; 64], &[2; 64]]);
    let sent = world.a.take_sent();
    for cut in [16, 32, 64, 80] {
        let spliced = [&sent[0][..cut], &sent[1][cut..]].concat();
        world.b.hear(world.now, source(66), &spliced);
    }
    assert!(world.b.received.is_empty());
    assert_eq!(world.b.discarded(Discard::Forged), 4);
}

#[test]
fn what_a_node_sent_cannot_be_sent_back_to_it() {
    let mut world = World::new();
    world.a.send(world.now, PEER, b"first");
    let initiation = world.a.take_sent().pop().unwrap();
    world.a.hear(world.now, source(2), &initiation);
    assert_eq!(world.a.discarded(Discard::BadMac1), 1);
    world.b.hear(world.now, source(1), &initiation);
    world.b.run(world.now);
    let response = world.b.take_sent().pop().unwrap();
    world.b.hear(world.now, source(1), &response);
    assert_eq!(world.b.discarded(Discard::UnexpectedResponse), 1);
    world.a.hear(world.now, source(2), &response);
    world.settle();
    world.send_b(b"back");
    let index_of_a = &world.log.last().unwrap().2[4..8];
    let index_of_a = index_of_a.to_vec();
    world.a.send(world.now, PEER, b"forth");
    let mut data = world.a.take_sent().pop().unwrap();
    world.a.hear(world.now, source(2), &data);
    assert_eq!(world.a.discarded(Discard::UnknownIndex), 1);
    // Even under the sender's own index: each direction has its own key.
    data[4..8].copy_from_slice(&index_of_a);
    world.a.hear(world.now, source(2), &data);
    assert_eq!(world.a.discarded(Discard::Forged), 1);
}

/// What crosses the wire while a `packet`, which needs no padding, goes each way under a pre-shared key in each of some
/// `sessions`: when, whether from a, and what.
fn recording(packet: &[u8], sessions: usize) -> Vec<(Instant, bool, Vec<u8>)> {
    let mut world = World::with(|a, b| (a.psk, b.psk) = (psk(77), psk(77)));
    for _ in 0..sessions {
        world.send_a(packet);
        world.send_b(packet);
        world.advance(200.0);
    }
    assert!(world.b.take_data() == vec![packet; sessions] && world.a.take_data() == vec![packet; sessions]);
    world.log
}

#[test]
fn an_eavesdropper_sees_no_cleartext_and_no_static_key() {
    let packet: Vec<u8> = (0..208u8).map(|i| i.wrapping_mul(37) ^ 0x5c).collect();
    let log = recording(&packet, 3);
    for kind in [1, 2, 4] {
        assert!(log.iter().any(|(_, _, datagram)| datagram[0] == kind), "{kind}");
    }
    let parts = |bytes: &[u8]| bytes.chunks_exact(8).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut hidden = parts(&packet);
    for n in [1, 2] {
        hidden.extend(parts(public(n).as_bytes()));
        hidden.extend(parts(secret(n).expose()));
    }
    hidden.extend(parts(psk(77).expose()));
    for (_, _, datagram) in &log {
        for window in datagram.windows(8) {
            assert!(!hidden.iter().any(|part| part == window));
        }
    }
}

#[test]
fn static_keys_stolen_later_open_nothing_that_was_recorded() {
    let log = recording(&[0x5a; 208], 1);
    for knows_randomness in [false, true] {
        let mut opened = [0, 0];
        for (side, is_b) in [(0, false), (1, true)] {
            let (own, other) = if is_b { (2, 1) } else { (1, 2) };
            let mut thief = Node::new(own);
            thief.add(t0(), PEER, PeerConfig { psk: psk(77), ..PeerConfig::new(public(other)) });
            if !knows_randomness {
                thief.tunnel.reseed(&Seed::new([0xee; 32]));
            }
            for (at, from_a, datagram) in &log {
                thief.run(*at);
                // It is told what the side it plays received, and does by itself what that side did.
                if *from_a == is_b {
                    thief.hear(*at, source(other), datagram);
                } else if datagram[0] == 1 {
                    thief.tunnel.initiate(*at, PEER, &mut thief.out);
                    thief.collect();
                }
                thief.run(*at);
            }
            opened[side] = thief.take_data().len();
            let refused = thief.discarded(Discard::UnknownIndex) + thief.discarded(Discard::Forged);
            assert_eq!(refused == 0, knows_randomness);
        }
        // With the random numbers of the time as well everything opens: so the recording is whole.
        assert_eq!(opened, if knows_randomness { [1, 1] } else { [0, 0] });
    }
}

#[test]
fn a_recorded_initiation_is_refused_by_a_successor_that_is_told_the_newest_stamp() {
    let mut world = World::new();
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.settle();
    let (_, _, initiation) = world.log.iter().find(|(_, _, message)| message[0] == 1).unwrap().clone();
    world.advance(30.0);
    let newest = world.b.tunnel.status(world.now, PEER).unwrap().newest_stamp.unwrap();
    for told in [false, true] {
        world.b = Node::at(2, world.now);
        world.b.add(world.now, PEER, PeerConfig::new(public(1)));
        if told {
            world.b.tunnel.raise_newest_stamp(PEER, newest);
            // An older one takes nothing back.
            world.b.tunnel.raise_newest_stamp(PEER, tidewire_keys::Tai64N::from_bytes([0; 12]));
        }
        world.b.hear(world.now, source(66), &initiation);
        world.b.run(world.now);
        assert_eq!(world.b.sent.is_empty() && world.b.events.is_empty(), told);
        assert_eq!(world.b.discarded(Discard::OldInitiation), u64::from(told));
    }
    // And the peer itself is not shut out.
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.settle();
    assert!(world.b.take_events().iter().any(|event| matches!(event, Event::Established { .. })));
}

#[test]
fn a_replayed_initiation_is_not_answered() {
    let mut world = World::new();
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.a.collect();
    let first = world.a.take_sent().pop().unwrap();
    world.advance(6.0);
    let second = world.log.iter().rev().find(|(_, _, message)| message[0] == 1).unwrap().2.clone();
    world.advance(1.0);
    world.b.take_events();
    let before = fingerprint(&mut world.b, world.now);
    for message in [&first, &second] {
        world.b.hear(world.now, source(66), message);
        world.b.run(world.now);
    }
    assert_eq!(world.b.discarded(Discard::OldInitiation), 2);
    assert!(world.b.sent.is_empty() && world.b.events.is_empty(), "and nobody roams to where it came from");
    assert_eq!(fingerprint(&mut world.b, world.now), before);
}

#[test]
fn initiations_of_a_peer_are_20_ms_apart() {
    let mut world = World::new();
    let mut initiations = Vec::new();
    for i in 0..4 {
        let now = t0() + secs(6.0 * f64::from(i));
        world.a.tunnel.initiate(now, PEER, &mut world.a.out);
        world.a.collect();
        initiations.push(world.a.take_sent().pop().unwrap());
    }
    for (after, reason) in [(0.0, None), (0.0199, Some(Discard::InitiationTooSoon)), (0.02, None)] {
        world.b.hear(t0() + secs(after), source(1), &initiations.remove(0));
        world.b.run(t0() + secs(after));
        assert_eq!(world.b.take_sent().len(), usize::from(reason.is_none()), "{after}");
    }
    assert_eq!(world.b.discarded(Discard::InitiationTooSoon), 1);
}

#[test]
fn each_flipped_byte_of_a_handshake_message_is_noticed() {
    let mut world = World::new();
    world.a.send(world.now, PEER, b"first");
    let initiation = world.a.take_sent().pop().unwrap();
    let before = fingerprint(&mut world.b, world.now);
    // mac2 is not looked at without load.
    for at in 0..132 {
        let mut changed = initiation.clone();
        changed[at] ^= 0x40;
        world.b.hear(world.now, source(66), &changed);
        world.b.run(world.now);
    }
    assert!(world.b.sent.is_empty() && world.b.events.is_empty());
    assert_eq!(fingerprint(&mut world.b, world.now), before);
    world.b.hear(world.now, source(1), &initiation);
    world.b.run(world.now);
    let response = world.b.take_sent().pop().unwrap();
    let before = fingerprint(&mut world.a, world.now);
    for at in 0..76 {
        let mut changed = response.clone();
        changed[at] ^= 0x40;
        world.a.hear(world.now, source(66), &changed);
        world.a.run(world.now);
    }
    assert!(world.a.sent.is_empty() && world.a.events.is_empty());
    assert_eq!(fingerprint(&mut world.a, world.now), before);
    world.a.hear(world.now, source(2), &response);
    world.settle();
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn only_genuine_handshake_messages_say_where_a_peer_is() {
    let mut world = World::new();
    world.a.send(world.now, PEER, b"first");
    let initiation = world.a.take_sent().pop().unwrap();
    world.b.hear(world.now, source(11), &initiation);
    world.b.run(world.now);
    assert_eq!(world.b.take_events(), [Event::Heard { peer: PEER, source: source(11) }]);
    let response = world.b.take_sent().pop().unwrap();
    world.a.hear(world.now, source(22), &response);
    world.a.run(world.now);
    assert_eq!(world.a.take_events()[0], Event::Heard { peer: PEER, source: source(22) });
    world.a.hear(world.now, source(33), &response);
    world.a.run(world.now);
    assert!(world.a.take_events().is_empty());
    assert_eq!(world.a.discarded(Discard::UnexpectedResponse), 1);
}

#[test]
fn a_recorded_response_does_not_answer_a_later_initiation() {
    let mut world = World::new();
    world.b.tunnel.initiate(world.now, PEER, &mut world.b.out);
    world.settle();
    let response = world.log.iter().find(|(_, _, message)| message[0] == 2).unwrap().2.clone();
    world.advance(6.0);
    world.b.tunnel.initiate(world.now, PEER, &mut world.b.out);
    world.b.collect();
    let index = world.b.take_sent().pop().unwrap()[4..8].to_vec();
    let before = fingerprint(&mut world.b, world.now);
    world.b.hear(world.now, source(66), &response);
    assert_eq!(world.b.discarded(Discard::UnexpectedResponse), 1);
    // With the index of the initiation in flight mac1 does not hold.
    let mut changed = response;
    changed[8..12].copy_from_slice(&index);
    world.b.hear(world.now, source(66), &changed);
    assert_eq!(world.b.discarded(Discard::BadMac1), 1);
    assert_eq!(fingerprint(&mut world.b, world.now), before);
}

#[test]
fn a_peer_cannot_pass_as_another() {
    let mut b = Node::new(2);
    b.add(t0(), PeerId(1), PeerConfig::new(public(1)));
    b.add(t0(), PeerId(3), PeerConfig::new(public(3)));
    for n in [1, 3] {
        let mut peer = Node::new(n);
        peer.add(t0(), PEER, PeerConfig::new(b.key));
        peer.send(t0(), PEER, &[n; 16]);
        for _ in 0..2 {
            for message in peer.take_sent() {
                b.hear(t0(), source(n), &message);
                b.run(t0());
            }
            for message in b.take_sent() {
                peer.hear(t0(), source(2), &message);
                peer.run(t0());
            }
        }
    }
    assert_eq!(b.received, [(PeerId(1), vec![1; 16]), (PeerId(3), vec![3; 16])]);
}

#[test]
fn an_all_zero_or_low_order_peer_key_gets_no_handshake() {
    let mut a = Node::new(1);
    for (id, byte) in [(1, 0), (2, 1)] {
        let mut key = [0; 32];
        key[0] = byte;
        a.add(t0(), PeerId(id), PeerConfig::new(tidewire_keys::NodePublic::from_bytes(key)));
        a.send(t0(), PeerId(id), b"packet");
        assert!(a.take_sent().is_empty());
        assert_eq!(a.tunnel.status(t0(), PeerId(id)).unwrap().waiting, 0);
    }
    assert_eq!(a.discarded(Discard::WeakKey), 4, "each once for the handshake and once for the packet");
    assert_eq!(a.tunnel.next_event(), None);
}
