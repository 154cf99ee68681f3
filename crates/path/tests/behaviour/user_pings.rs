//! Pings that a caller asks for.

use tidewire_keys::PeerId;
use tidewire_path::{Event, PeerConfig, PingRefusal, Route, limits};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr, ms};

const A: &str = "198.51.100.4:5";

fn ping(lone: &mut Lone, token: u64) {
    lone.call(|paths, now, out| paths.ping(now, PEER, token, out));
}

#[test]
fn the_relay_and_every_address_are_pinged_and_the_first_answer_is_told() {
    let mut lone = Lone::with(&[A]);
    ping(&mut lone, 7);
    let pings = lone.pings();
    let hops: Vec<_> = pings.iter().map(|(hop, ..)| *hop).collect();
    assert_eq!(hops, [lone.relay(), Hop::Udp(addr(A))]);
    lone.run(30);
    for (hop, tx, _) in pings {
        lone.pong(hop, tx);
    }
    let relay = lone.relay();
    let pongs: Vec<_> = lone.events.iter().filter(|event| matches!(event, Event::Pong { .. })).collect();
    assert_eq!(pongs, [&Event::Pong { token: 7, peer: PEER, hop: relay, rtt: ms(30) }]);
    assert_eq!(lone.route(), Route::One(Hop::Udp(addr(A))), "the second answer proves the path all the same");
    assert_eq!(lone.explained().relay.unwrap().latency, Some(ms(30)));
}

#[test]
fn a_proven_path_alone_is_pinged() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    ping(&mut lone, 7);
    let pings = lone.pings();
    assert_eq!(pings.len(), 1);
    lone.run(2);
    lone.pong(pings[0].0, pings[0].1);
    assert!(lone.events.contains(&Event::Pong { token: 7, peer: PEER, hop: Hop::Udp(addr(A)), rtt: ms(2) }));
}

#[test]
fn without_an_answer_there_is_one_timeout_after_5_s() {
    let mut lone = Lone::with(&[A]);
    ping(&mut lone, 7);
    lone.run(4_999);
    assert!(lone.events.is_empty());
    lone.run(1);
    assert_eq!(lone.events, [Event::PingTimeout { token: 7, peer: PEER }]);
    lone.run(60_000);
    assert_eq!(lone.events.len(), 1);
}

#[test]
fn what_cannot_be_pinged_is_refused_at_once() {
    let mut lone = Lone::new();
    lone.call(|paths, now, out| paths.ping(now, PeerId(99), 1, out));
    let config = PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    ping(&mut lone, 2);
    lone.events.retain(|event| !matches!(event, Event::Switched { .. }));
    let refused = |token, peer, reason| Event::PingRefused { token, peer, reason };
    assert_eq!(
        lone.events,
        [refused(1, PeerId(99), PingRefusal::UnknownPeer), refused(2, PEER, PingRefusal::NoHop)]
    );
}

#[test]
fn too_many_at_once_are_refused() {
    let mut lone = Lone::new();
    for token in 0..20 {
        ping(&mut lone, token);
    }
    assert_eq!(lone.events.len(), 20 - limits::MAX_ASKED);
    assert!(lone.events.iter().all(|e| matches!(e, Event::PingRefused { reason: PingRefusal::Busy, .. })));
}

#[test]
fn a_ping_makes_the_peer_active_so_that_a_path_is_found_by_pinging() {
    let mut lone = Lone::with(&[A]);
    ping(&mut lone, 7);
    lone.run(0);
    assert!(lone.explained().active);
    assert_eq!(lone.calls().len(), 1);
}
