//! Whether a tunnel under load asks for cookies, knows its own, and pays with those of others.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::*;
use tidewire_keys::PeerId;
use tidewire_tunnel::{
    BUDGET_BURST, Discard, Event, HANDSHAKES, LOAD_THRESHOLD, Message, PeerConfig, Source, To, Why,
};

/// An initiation to node 2 from a stranger, valid as far as mac1.
fn stranger(n: u8, now: Instant) -> Vec<u8> {
    initiation(&mut Node::at(n, now), now)
}

fn initiation(node: &mut Node, now: Instant) -> Vec<u8> {
    node.add(now, PEER, PeerConfig::new(public(2)));
    node.tunnel.initiate(now, PEER, &mut node.out);
    node.collect();
    node.take_sent().pop().unwrap()
}

/// Brings `node` under load with the least that does.
fn load(node: &mut Node, now: Instant) {
    let message = stranger(99, now);
    for i in 0..LOAD_THRESHOLD {
        node.hear(now, source(100 + i as u8), &message);
    }
}

/// A responder under load that knows node 1 as [`PEER`], and node 1.
fn loaded_pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    b.add(t0(), PEER, PeerConfig::new(a.key));
    a.add(t0(), PEER, PeerConfig::new(b.key));
    load(&mut b, t0());
    b.run(t0());
    b.sent.clear();
    (a, b)
}

/// What `b` answers to an initiation of `a` that comes from `source`, delivered to `a` too.
fn attempt(a: &mut Node, b: &mut Node, now: Instant, source: Source) -> Vec<u8> {
    a.tunnel.initiate(now, PEER, &mut a.out);
    a.collect();
    let initiation = a.take_sent().pop().unwrap();
    b.hear(now, source, &initiation);
    b.run(now);
    assert!(b.sent.iter().all(|(to, _)| *to == To::Source(source)));
    let answer = b.take_sent().pop().unwrap();
    a.hear(now, common::source(2), &answer);
    a.run(now);
    answer
}

#[test]
fn an_eighth_of_the_queue_is_load_and_one_less_is_not() {
    for (queued, answer) in [(LOAD_THRESHOLD - 1, 2), (LOAD_THRESHOLD, 3)] {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        b.add(t0(), PEER, PeerConfig::new(a.key));
        let message = stranger(99, t0());
        for i in 0..queued - 1 {
            b.hear(t0(), source(100 + i as u8), &message);
        }
        b.hear(t0(), source(1), &initiation(&mut a, t0()));
        b.run(t0());
        assert_eq!(b.take_sent().pop().unwrap()[0], answer, "{queued}");
    }
}

#[test]
fn under_load_a_cookie_is_asked_for_and_accepted() {
    let (mut a, mut b) = loaded_pair();
    let reply = attempt(&mut a, &mut b, t0(), source(1));
    assert_eq!((reply[0], reply.len()), (3, 64));
    assert!(a.take_events().is_empty(), "a cookie reply proves nothing");
    load(&mut b, t0() + secs(5.5));
    b.run(t0() + secs(5.5));
    b.sent.clear();
    let response = attempt(&mut a, &mut b, t0() + secs(5.5), source(1));
    assert_eq!(response[0], 2);
    assert!(a.take_events().contains(&Event::Established { peer: PEER, initiator: true }));
}

#[test]
fn a_cookie_is_bound_to_address_and_port() {
    for other in [0, 15, 31, 32, 33] {
        let (mut a, mut b) = loaded_pair();
        attempt(&mut a, &mut b, t0(), source(1));
        let now = t0() + secs(5.5);
        load(&mut b, now);
        b.run(now);
        b.sent.clear();
        let mut place = *source(1).place();
        place[other] ^= 1;
        // Of the same group or not.
        let here = Source::new(place, 15);
        assert_eq!(attempt(&mut a, &mut b, now, here)[0], 3, "byte {other}");
    }
}

#[test]
fn a_cookie_lasts_120_s_on_both_sides() {
    for (later, paid) in [(119.0, true), (121.0, false)] {
        let (mut a, mut b) = loaded_pair();
        attempt(&mut a, &mut b, t0(), source(1));
        let now = t0() + secs(later);
        load(&mut b, now);
        b.run(now);
        b.sent.clear();
        a.tunnel.initiate(now, PEER, &mut a.out);
        a.collect();
        let initiation = a.take_sent().pop().unwrap();
        assert_eq!(initiation[132..] != [0; 16], paid);
        b.hear(now, source(1), &initiation);
        b.run(now);
        assert_eq!(kinds(&b.take_sent()), [if paid { 2 } else { 3 }], "{later}");
    }
}

#[test]
fn a_second_mac_is_not_looked_at_without_load() {
    let (mut a, mut b) = loaded_pair();
    attempt(&mut a, &mut b, t0(), source(1));
    // The load is over, and the cookie is for another place; the peer goes on sending it for two minutes.
    let now = t0() + secs(6.0);
    assert_eq!(attempt(&mut a, &mut b, now, source(77))[0], 2);
    assert!(b.take_events().contains(&Event::Heard { peer: PEER, source: source(77) }));
}

#[test]
fn load_lasts_a_second_after_the_queue_was_long() {
    for (later, answer) in [(0.99, 3), (1.0, 2)] {
        let (mut a, mut b) = loaded_pair();
        assert_eq!(attempt(&mut a, &mut b, t0() + secs(later), source(1))[0], answer, "{later}");
    }
}

#[test]
fn a_response_to_one_under_load_is_answered_with_a_cookie_too() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    a.add(t0(), PEER, PeerConfig::new(b.key));
    b.add(t0(), PEER, PeerConfig::new(a.key));
    b.tunnel.initiate(t0(), PEER, &mut b.out);
    b.collect();
    let initiation = b.take_sent().pop().unwrap();
    a.hear(t0(), source(2), &initiation);
    a.run(t0());
    let response = a.take_sent().pop().unwrap();
    load(&mut b, t0());
    b.hear(t0(), source(1), &response);
    b.run(t0());
    let (to, reply) = b.sent.pop().unwrap();
    assert_eq!((to, reply[0]), (To::Source(source(1)), 3));
    let Ok(Message::CookieReply(parsed)) = Message::parse(&reply) else { panic!() };
    assert_eq!(parsed.receiver.get().to_le_bytes(), response[4..8]);
    a.hear(t0(), source(2), &reply);
    b.sent.clear();
    // b tries again, still under load: now the response has its cookie.
    let now = b.tunnel.next_event().unwrap().0;
    load(&mut b, now);
    b.run(now);
    let initiation = b.take_sent().into_iter().find(|message| message[0] == 1).unwrap();
    a.hear(now, source(2), &initiation);
    a.run(now);
    let response = a.take_sent().pop().unwrap();
    assert_ne!(response[76..], [0; 16]);
    b.hear(now, source(1), &response);
    b.run(now);
    assert!(b.take_events().contains(&Event::Established { peer: PEER, initiator: true }));
}

#[test]
fn under_load_even_who_pays_has_a_budget() {
    let (mut a, mut b) = loaded_pair();
    attempt(&mut a, &mut b, t0(), source(1));
    let mut initiations = Vec::new();
    for i in 1..=10u8 {
        let now = t0() + secs(6.0 * f64::from(i));
        a.tunnel.initiate(now, PEER, &mut a.out);
        a.collect();
        initiations.push(a.take_sent().pop().unwrap());
    }
    let now = t0() + secs(60.0);
    load(&mut b, now);
    b.run(now);
    let asked = b.discarded(Discard::CookieAsked);
    for initiation in &initiations {
        b.hear(now, source(1), initiation);
    }
    b.run(now);
    assert_eq!(b.discarded(Discard::CookieAsked), asked);
    assert_eq!(b.discarded(Discard::OverBudget), 10 - u64::from(BUDGET_BURST));
    assert_eq!(b.discarded(Discard::InitiationTooSoon), u64::from(BUDGET_BURST) - 1);
}

#[test]
fn cookie_replies_that_nobody_asked_for_change_nothing() {
    let (mut a, mut b) = loaded_pair();
    a.tunnel.initiate(t0(), PEER, &mut a.out);
    a.collect();
    let initiation = a.take_sent().pop().unwrap();
    b.hear(t0(), source(1), &initiation);
    b.run(t0());
    let reply = b.take_sent().pop().unwrap();
    let mut forged = reply.clone();
    forged[40] ^= 1;
    a.hear(t0(), source(2), &forged);
    assert_eq!(a.discarded(Discard::BadCookie), 1);
    let mut elsewhere = reply.clone();
    elsewhere[4] ^= 1;
    a.hear(t0(), source(2), &elsewhere);
    assert_eq!(a.discarded(Discard::UnexpectedCookie), 1);
    assert!(a.take_events().is_empty());
    let now = t0() + secs(6.0);
    a.run(now);
    let initiation = a.take_sent().pop().unwrap();
    assert_eq!(initiation[132..], [0; 16]);
    // The right one, late: its message is not the last one any more.
    a.hear(now, source(2), &reply);
    assert_eq!(a.discarded(Discard::UnexpectedCookie), 2);
}

#[test]
fn the_queue_is_bounded_and_drops_its_oldest() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    b.add(t0(), PEER, PeerConfig::new(a.key));
    let wanted = initiation(&mut a, t0());
    b.hear(t0(), source(1), &wanted);
    let message = stranger(99, t0());
    for _ in 0..HANDSHAKES + 9 {
        b.hear(t0(), source(100), &message);
    }
    assert_eq!(b.discarded(Discard::HandshakesFull), 10);
    assert_eq!(b.tunnel.next_event(), Some((t0(), Why::Handshakes)));
    b.run(t0());
    assert_eq!(b.discarded(Discard::CookieAsked), HANDSHAKES as u64);
    assert_eq!(b.tunnel.next_event(), None);
    assert!(b.woken.len() > 1, "a few at a time, so that data is not kept waiting");
}

#[test]
fn a_flood_without_mac1_reaches_neither_queue_nor_cryptography() {
    let mut b = Node::new(2);
    for i in 0..10_000u32 {
        let mut message = vec![i as u8; 148];
        message[..4].copy_from_slice(&[1, 0, 0, 0]);
        b.hear(t0(), source(1), &message);
    }
    assert_eq!(b.discarded(Discard::BadMac1), 10_000);
    assert_eq!(b.tunnel.next_event(), None);
}

#[test]
fn legitimate_peers_connect_during_a_flood_of_spoofed_initiations() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    b.add(t0(), PEER, PeerConfig::new(a.key));
    a.add(t0(), PEER, PeerConfig::new(b.key));
    a.send(t0(), PEER, b"let me in");
    let flood = stranger(99, t0());
    let mut connected = None;
    // 20 messages per millisecond for 7 s, and the node works off what it may in each.
    for ms in 0..7000u32 {
        let now = t0() + secs(f64::from(ms) / 1000.0);
        a.run(now);
        for message in a.take_sent() {
            b.hear(now, source(1), &message);
        }
        for i in 0..20u32 {
            let mut spoofed = [0; 34];
            spoofed[..4].copy_from_slice(&(ms * 20 + i).to_le_bytes());
            b.hear(now, Source::new(spoofed, 32), &flood);
        }
        b.tunnel.process_events(now, &mut b.out);
        b.collect();
        for (to, message) in b.sent.drain(..) {
            if to == To::Source(source(1)) {
                a.hear(now, source(2), &message);
                a.run(now);
            }
        }
        if !b.take_data().is_empty() {
            connected.get_or_insert(now.duration_since(t0()).as_secs_f64());
        }
    }
    assert!(connected.is_some_and(|at| at < 5.5), "{connected:?}");
    assert!(b.tunnel.status(t0() + secs(7.0), PEER).unwrap().session.is_some());
}

#[test]
fn an_unknown_initiator_is_refused_and_not_answered() {
    let mut b = Node::new(2);
    b.add(t0(), PeerId(1), PeerConfig::new(public(50)));
    b.hear(t0(), source(9), &stranger(99, t0()));
    b.run(t0());
    assert_eq!(b.discarded(Discard::UnknownInitiator), 1);
    assert!(b.sent.is_empty() && b.events.is_empty());
}
