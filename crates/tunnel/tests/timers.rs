//! Whether each timer of WireGuard starts, stops and fires as the paper (section 6) and the field say.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use tidewire_tunnel::{Discard, Event, PeerConfig, Why};

fn near(times: &[f64], expected: &[f64]) {
    let close = |(a, b): (&f64, &f64)| *a >= *b - 1e-9 && *a < *b + 0.334;
    assert!(
        times.len() == expected.len() && times.iter().zip(expected).all(close),
        "{times:?} is not {expected:?}"
    );
}

// Sessions grow old.

#[test]
fn the_initiator_replaces_a_session_of_120_s_when_it_sends() {
    let mut world = World::connected();
    let since = world.now;
    world.advance(119.9);
    world.send_a(b"young");
    world.send_b(b"an answer");
    assert_eq!(world.times(true, 1, since), []);
    world.advance(0.1);
    world.send_a(b"old");
    near(&world.times(true, 1, since), &[120.0]);
    assert_eq!(world.a.tunnel.status(world.now, PEER).unwrap().last_handshake, Some(world.now));
    assert_eq!(world.b.take_data().len(), 2);
}

#[test]
fn age_alone_without_traffic_asks_for_no_new_session() {
    let mut world = World::connected();
    let since = world.now;
    world.advance(500.0);
    assert_eq!(world.times(true, 1, since), []);
    assert_eq!(world.times(false, 1, since), []);
    assert_eq!(world.log.len(), 0);
}

#[test]
fn the_responder_does_not_replace_a_session_because_of_its_age() {
    let mut world = World::connected();
    let since = world.now;
    world.advance(150.0);
    world.send_b(b"old");
    assert_eq!(world.times(false, 1, since), []);
    assert_eq!(world.a.take_data().len(), 1);
    world.advance(1.0);
    assert_eq!(world.b.tunnel.next_event().map(|(_, why)| why), Some(Why::NoAnswer));
}

#[test]
fn the_initiator_replaces_a_session_of_165_s_when_it_receives_and_asks_once() {
    let mut world = World::connected();
    let since = world.now;
    world.advance(164.9);
    world.send_b(b"young");
    assert_eq!(world.times(true, 1, since), []);
    world.cut.0 = true;
    world.advance(0.1);
    world.send_b(b"old");
    near(&world.times(true, 1, since), &[165.0]);
    world.advance(4.0);
    let asked = world.times(true, 1, since).len();
    world.send_b(b"still old");
    world.advance(0.5);
    assert_eq!(world.times(true, 1, since).len(), asked);
}

#[test]
fn the_responder_does_not_replace_a_session_because_it_receives() {
    let mut world = World::connected();
    let since = world.now;
    world.advance(170.0);
    // A packet of the initiator alone, without the initiation that follows it.
    world.a.send(world.now, PEER, b"old");
    let datagram = world.a.take_sent().into_iter().find(|datagram| datagram[0] == 4).unwrap();
    world.b.hear(world.now, source(1), &datagram);
    assert_eq!(world.b.take_data().len(), 1);
    world.b.run(world.now);
    assert_eq!(kinds(&world.b.take_sent()), []);
    assert_eq!(world.times(false, 1, since), []);
}

#[test]
fn a_session_of_180_s_neither_sends_nor_receives() {
    let mut world = World::connected();
    world.a.send(world.now, PEER, b"kept back");
    let late = world.a.take_sent().pop().unwrap();
    world.cut = (true, true);
    world.advance(179.9);
    assert!(world.b.tunnel.status(world.now, PEER).unwrap().session.is_some());
    world.advance(0.1);
    assert!(world.b.tunnel.status(world.now, PEER).unwrap().session.is_none());
    world.b.hear(world.now, source(1), &late);
    assert_eq!(world.b.discarded(Discard::SessionTooOld), 1);
    assert!(world.b.take_data().is_empty());
    world.log.clear();
    world.send_b(b"waits");
    assert_eq!(world.log.iter().map(|(_, _, datagram)| datagram[0]).collect::<Vec<_>>(), [1]);
    assert_eq!(world.b.tunnel.status(world.now, PEER).unwrap().waiting, 1);
}

#[test]
fn keys_are_wiped_540_s_after_the_last_session_was_derived() {
    let mut world = World::connected();
    world.advance(130.0);
    world.send_a(b"asks for another session");
    let derived = world.now;
    world.cut = (true, true);
    world.advance(539.9);
    assert!(!world.a.take_events().contains(&Event::Expired { peer: PEER }));
    world.advance(0.2);
    for node in [&mut world.a, &mut world.b] {
        assert!(node.take_events().contains(&Event::Expired { peer: PEER }));
        assert_eq!(node.tunnel.next_event(), None);
        assert!(node.woken.contains(&(derived + secs(540.0), Why::Wipe)));
    }
}

#[test]
fn wiping_old_keys_leaves_a_handshake_in_flight_and_what_waits_for_it() {
    let mut world = World::connected();
    world.cut = (true, true);
    world.advance(539.0);
    world.send_a(b"waits");
    world.advance(2.0);
    assert!(world.a.take_events().contains(&Event::Expired { peer: PEER }));
    world.cut = (false, false);
    world.advance(5.0);
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn a_session_always_has_an_event() {
    let mut world = World::connected();
    world.cut = (true, true);
    while world.now < t0() + secs(530.0) {
        assert!(world.a.tunnel.next_event().is_some() && world.b.tunnel.next_event().is_some());
        world.advance(7.0);
    }
}

#[test]
fn the_previous_session_still_receives_and_the_new_one_is_used_on_receipt() {
    let mut world = World::connected();
    world.advance(121.0);
    world.a.send(world.now, PEER, b"sealed with the old session");
    let sent = world.a.take_sent();
    assert_eq!(kinds(&sent), [1, 4]);
    world.b.hear(world.now, source(1), &sent[0]);
    world.b.run(world.now);
    let response = world.b.take_sent().pop().unwrap();
    // Not confirmed yet: the responder goes on with the old one.
    world.b.send(world.now, PEER, b"also old");
    let old = world.b.take_sent().pop().unwrap();
    world.a.hear(world.now, source(2), &response);
    world.a.run(world.now);
    let confirmation = world.a.take_sent().pop().unwrap();
    assert!(is_keepalive(&confirmation));
    world.b.hear(world.now, source(1), &confirmation);
    world.b.hear(world.now, source(1), &sent[1]);
    world.a.hear(world.now, source(2), &old);
    assert_eq!((world.a.take_data().len(), world.b.take_data().len()), (1, 1));
    world.b.send(world.now, PEER, b"new");
    let new = world.b.take_sent().pop().unwrap();
    assert_ne!(new[4..8], old[4..8]);
    world.a.hear(world.now, source(2), &new);
    assert_eq!(world.a.take_data().len(), 1);
}

// Handshakes are retried.

#[test]
fn an_initiation_is_repeated_every_5_s_and_up_to_334_ms_more() {
    let mut world = World::new();
    world.cut.0 = true;
    world.send_a(b"to nobody");
    world.advance(60.0);
    let times = world.times(true, 1, t0());
    assert_eq!(times.len(), 12);
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (5.0..5.334).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| (gap - gaps[0]).abs() > 0.01), "no jitter: {gaps:?}");
    let mut initiations: Vec<_> = world.log.iter().map(|(_, _, datagram)| datagram.clone()).collect();
    initiations.dedup_by(|a, b| a[4..40] == b[4..40]);
    assert_eq!(initiations.len(), 12, "each has its own index and ephemeral key");
}

#[test]
fn trying_ends_after_90_s_and_what_waited_is_dropped() {
    let mut world = World::new();
    world.cut.0 = true;
    world.send_a(b"one");
    world.a.send(world.now, PEER, b"two");
    world.advance(89.9);
    assert!(!world.a.events.contains(&Event::GaveUp { peer: PEER }));
    assert!(world.a.tunnel.status(world.now, PEER).unwrap().is_shaking_hands);
    world.advance(0.2);
    assert!(world.a.take_events().contains(&Event::GaveUp { peer: PEER }));
    assert_eq!(world.a.discarded(Discard::GaveUp), 2);
    let status = world.a.tunnel.status(world.now, PEER).unwrap();
    assert!(!status.is_shaking_hands && status.waiting == 0);
    let tries = world.times(true, 1, t0()).len();
    assert!((17..=18).contains(&tries), "{tries}");
    world.advance(1000.0);
    assert_eq!(world.times(true, 1, t0()).len(), tries);
    assert_eq!(world.a.tunnel.next_event(), None);
    world.cut.0 = false;
    world.send_a(b"begins anew");
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn a_packet_that_waits_begins_the_90_s_anew() {
    let mut world = World::new();
    world.cut.0 = true;
    world.send_a(b"one");
    world.advance(80.0);
    world.send_a(b"two");
    world.advance(80.0);
    assert!(!world.a.events.contains(&Event::GaveUp { peer: PEER }));
    world.advance(10.1);
    assert!(world.a.events.contains(&Event::GaveUp { peer: PEER }));
}

#[test]
fn initiations_are_5_s_apart_whoever_asks_and_then_one_is_sent() {
    let mut world = World::new();
    world.cut = (true, true);
    for _ in 0..40 {
        world.send_a(b"packet");
        world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
        world.advance(0.1);
    }
    assert_eq!(world.times(true, 1, t0()), [0.0]);
    world.advance(2.0);
    near(&world.times(true, 1, t0()), &[0.0, 5.0]);
}

#[test]
fn an_initiation_that_was_asked_for_too_soon_is_sent_later_even_after_a_handshake() {
    let mut world = World::connected();
    let since = world.now;
    world.advance(1.0);
    world.a.tunnel.expire_peer(PEER, &mut world.a.out);
    world.send_a(b"waits for the next session");
    assert_eq!(world.times(true, 1, since), []);
    world.advance(5.0);
    near(&world.times(true, 1, since), &[5.0]);
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn after_a_response_no_initiation_is_sent_for_5_s() {
    let mut world = World::new();
    world.a.send(world.now, PEER, b"first");
    let initiation = world.a.take_sent().pop().unwrap();
    world.b.hear(world.now, source(1), &initiation);
    world.b.run(world.now);
    assert_eq!(kinds(&world.b.take_sent()), [2]);
    world.cut = (true, true);
    world.b.send(world.now, PEER, b"may not use an unconfirmed session");
    world.advance(4.9);
    assert_eq!(world.times(false, 1, t0()), []);
    world.advance(0.5);
    near(&world.times(false, 1, t0()), &[5.0]);
}

#[test]
fn the_responder_is_silent_until_the_session_is_confirmed() {
    let mut world = World::new();
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.a.collect();
    let initiation = world.a.take_sent().pop().unwrap();
    world.b.hear(world.now, source(1), &initiation);
    world.b.run(world.now);
    world.b.send(world.now, PEER, b"waits");
    let sent = world.b.take_sent();
    assert_eq!(kinds(&sent), [2]);
    assert!(world.b.tunnel.status(world.now, PEER).unwrap().session.is_none());
    world.a.hear(world.now, source(2), &sent[0]);
    world.settle();
    assert_eq!(world.a.take_data().len(), 1);
}

// Keepalives.

#[test]
fn received_data_is_answered_with_a_keepalive_10_s_later() {
    let mut world = World::connected();
    world.advance(3.0);
    let since = world.now;
    world.send_a(b"data");
    world.advance(60.0);
    assert_eq!(world.keepalives(false, since), [10.0]);
    assert_eq!(world.keepalives(true, since), [], "a keepalive is not answered with one");
}

#[test]
fn anything_genuine_that_is_sent_cancels_the_keepalive() {
    let mut world = World::connected();
    let since = world.now;
    world.send_a(b"data");
    world.advance(9.0);
    world.send_b(b"an answer");
    world.advance(9.0);
    world.send_a(b"an answer to the answer");
    world.advance(9.9);
    assert_eq!(world.keepalives(false, since), []);
    world.advance(0.2);
    assert_eq!(world.keepalives(false, since), [28.0]);
}

#[test]
fn the_keepalive_counts_from_the_first_data_not_from_what_was_sent_last() {
    let mut world = World::connected();
    world.send_b(b"sent before");
    world.advance(8.0);
    let since = world.now;
    world.send_a(b"data");
    world.advance(11.0);
    assert_eq!(world.keepalives(false, since), [10.0]);
}

#[test]
fn more_data_while_a_keepalive_is_due_asks_for_one_more_and_only_one() {
    let mut world = World::connected();
    let since = world.now;
    for _ in 0..5 {
        world.send_a(b"data");
        world.advance(1.0);
    }
    world.advance(100.0);
    assert_eq!(world.keepalives(false, since), [10.0, 20.0]);
}

#[test]
fn an_answer_settles_all_data_that_came_before_it() {
    let mut world = World::connected();
    let since = world.now;
    world.send_a(b"data");
    world.send_a(b"more data, so that one more keepalive is wanted");
    world.send_b(b"an answer to both");
    world.advance(1.0);
    world.send_a(b"one packet");
    world.advance(60.0);
    assert_eq!(world.keepalives(false, since), [11.0]);
}

#[test]
fn a_handshake_message_cancels_the_keepalive_too() {
    let mut world = World::connected();
    world.advance(6.0);
    let since = world.now;
    world.send_a(b"data");
    world.advance(5.0);
    world.b.tunnel.initiate(world.now, PEER, &mut world.b.out);
    world.settle();
    world.log.clear();
    world.advance(60.0);
    assert_eq!(world.keepalives(false, since), []);
}

#[test]
fn a_persistent_keepalive_is_sent_after_the_interval_without_any_packet() {
    let mut world = World::with(|of_a, _| of_a.keepalive = Some(secs(25.0)));
    world.advance(0.0);
    assert!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_some(), "it begins at once");
    let since = world.now;
    world.log.clear();
    world.advance(20.0);
    world.send_b(b"data");
    world.advance(8.0);
    world.a.send(world.now, PEER, b"data");
    world.settle();
    world.advance(24.9);
    // The passive keepalives of b at 38 s count as traffic.
    assert_eq!(world.keepalives(true, since), []);
    world.advance(10.2);
    assert_eq!(world.keepalives(true, since), [63.0]);
    world.advance(40.0);
    assert_eq!(world.keepalives(true, since), [63.0, 88.0]);
}

#[test]
fn persistent_keepalives_keep_sessions_coming() {
    let mut world = World::with(|of_a, _| of_a.keepalive = Some(secs(25.0)));
    world.advance(3600.0);
    assert!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_some());
    let initiations = world.times(true, 1, t0());
    assert_eq!(initiations.len(), 1 + 3600 / 125, "{initiations:?}");
    assert_eq!(world.times(false, 1, t0()), []);
}

#[test]
fn persistent_keepalives_try_again_after_giving_up() {
    let mut world = World::with(|of_a, _| of_a.keepalive = Some(secs(25.0)));
    world.cut.0 = true;
    world.advance(200.0);
    assert!(world.a.take_events().contains(&Event::GaveUp { peer: PEER }));
    world.cut.0 = false;
    world.advance(30.0);
    assert!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_some());
}

#[test]
fn persistent_keepalives_are_changed_live() {
    let mut world = World::connected();
    let since = world.now;
    let mut config = PeerConfig::new(world.b.key);
    let mut set = |world: &mut World, every: Option<f64>| {
        config.keepalive = every.map(secs);
        world.a.tunnel.set_peer(world.now, PEER, config.clone(), &mut world.a.out);
        world.settle();
    };
    set(&mut world, Some(60.0));
    world.advance(10.0);
    set(&mut world, Some(15.0));
    world.advance(20.0);
    set(&mut world, None);
    world.advance(300.0);
    assert_eq!(world.keepalives(true, since), [0.0, 25.0]);
    set(&mut world, Some(0.0));
    world.advance(300.0);
    assert_eq!(world.keepalives(true, since), [0.0, 25.0]);
}

#[test]
fn a_tiny_keepalive_interval_is_no_busy_loop() {
    let mut a = Node::new(1);
    let keepalive = Some(std::time::Duration::from_nanos(1));
    a.add(t0(), PEER, PeerConfig { keepalive, ..PeerConfig::new(public(2)) });
    a.tunnel.process_events(t0(), &mut a.out);
    assert!(a.tunnel.next_event().is_some_and(|(at, _)| at >= t0() + secs(1.0)));
}

#[test]
fn an_endless_keepalive_interval_is_no_overflow() {
    let mut a = Node::new(1);
    let keepalive = Some(std::time::Duration::MAX);
    a.add(t0(), PEER, PeerConfig { keepalive, ..PeerConfig::new(public(2)) });
    a.run(t0());
    assert_eq!(kinds(&a.take_sent()), [1]);
}

// Silence.

#[test]
fn data_unanswered_for_15_s_asks_for_a_handshake() {
    let mut world = World::connected();
    world.advance(6.0);
    world.cut = (true, true);
    let since = world.now;
    world.send_a(b"first unanswered");
    world.advance(5.0);
    world.send_a(b"does not put it off");
    world.advance(20.0);
    let initiations = world.times(true, 1, since);
    near(&initiations[..1], &[15.0]);
    assert!(world.a.take_events().contains(&Event::Silent { peer: PEER }));
}

#[test]
fn anything_genuine_that_is_received_ends_the_silence() {
    let mut world = World::connected();
    let since = world.now;
    world.send_a(b"data");
    // b's keepalive at 10 s is enough.
    world.advance(60.0);
    assert_eq!(world.times(true, 1, since), []);
    assert!(!world.a.take_events().contains(&Event::Silent { peer: PEER }));
}

#[test]
fn a_keepalive_that_is_sent_awaits_no_answer() {
    let mut world = World::connected();
    world.cut = (true, true);
    let since = world.now;
    world.send_b(b"lost");
    world.a.send(world.now, PEER, b"");
    world.settle();
    world.advance(14.0);
    assert_eq!(world.times(true, 1, since), []);
    assert!(world.keepalives(true, since).len() == 1);
    world.advance(100.0);
    assert_eq!(world.times(true, 1, since), []);
}

#[test]
fn a_restarted_peer_is_found_again_within_21_s() {
    let mut world = World::connected();
    let mut config = PeerConfig::new(world.a.key);
    config.psk = psk(0);
    world.b = Node::at(2, world.now);
    world.b.add(world.now, PEER, config);
    world.advance(6.0);
    let since = world.now;
    world.send_a(b"to the one that is gone");
    assert_eq!(world.b.discarded(Discard::UnknownIndex), 1);
    world.advance(21.0);
    assert!(world.b.tunnel.status(world.now, PEER).unwrap().session.is_some());
    near(&world.times(true, 1, since), &[15.0]);
}

// Wake-ups.

#[test]
fn an_idle_session_wakes_nobody_without_a_reason() {
    let mut world = World::connected();
    // Timers are set and stopped with each packet; none of that is left to be served.
    for _ in 0..50 {
        world.advance(0.5);
        world.send_a(b"ping");
        world.send_b(b"pong");
    }
    (world.a.woken, world.b.woken) = Default::default();
    world.advance(3600.0);
    let why = |node: &Node| node.woken.iter().map(|(_, why)| *why).collect::<Vec<_>>();
    assert_eq!(why(&world.a), [Why::Keepalive, Why::Wipe]);
    assert_eq!(why(&world.b), [Why::Wipe]);
}

#[test]
fn being_called_late_loses_nothing() {
    let mut world = World::with(|of_a, _| of_a.keepalive = Some(secs(25.0)));
    world.settle();
    world.log.clear();
    // A laptop slept for eight hours.
    world.now += secs(8.0 * 3600.0);
    world.a.run(world.now);
    world.settle();
    assert!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_some());
    world.send_b(b"awake");
    assert_eq!(world.a.take_data().len(), 1);
    assert!(world.log.len() <= 5, "{}", world.log.len());
}
