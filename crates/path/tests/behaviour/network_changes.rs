//! What a change of the local network does: trust ends, addresses stay, everyone is told anew.

use tidewire_path::{Event, Reason, Route};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr};

const A: &str = "198.51.100.4:5";
const SERVER: &str = "198.51.100.1:3478";

fn changed(lone: &mut Lone) {
    lone.call(|paths, now, out| paths.network_changed(now, out));
    lone.run(0);
}

#[test]
fn trust_ends_both_ways_are_used_and_the_path_is_asked_at_once() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.run(1_000);
    lone.sent();
    changed(&mut lone);
    assert_eq!(lone.route(), Route::Both { direct: Hop::Udp(addr(A)), relay: lone.relay() });
    assert_eq!(lone.last_reason(), Some(Reason::NetworkChanged));
    let pings = lone.pings_to(A);
    assert!(!pings.is_empty());
    lone.run(2);
    lone.answer(&pings[..1]);
    assert_eq!(lone.route(), Route::One(Hop::Udp(addr(A))));
}

#[test]
fn an_answer_to_a_ping_of_before_proves_nothing() {
    let mut lone = Lone::with(&[A]);
    lone.send();
    let before = lone.pings_to(A);
    changed(&mut lone);
    lone.answer(&before);
    assert_eq!(lone.route(), Route::One(lone.relay()));
}

#[test]
fn stun_is_asked_anew_and_what_it_said_before_is_void_until_then() {
    let mut lone = Lone::with(&[A]);
    lone.call(|paths, now, _| paths.set_stun_servers(now, vec![addr(SERVER)]));
    lone.run(0);
    lone.stun_answer(SERVER, "203.0.113.7:40001");
    lone.send();
    lone.run(2_000);
    lone.sent();
    lone.stun_requests();
    changed(&mut lone);
    assert_eq!(lone.stun_requests().len(), 1);
    let left = vec![addr("192.168.7.7:41641")];
    assert_eq!(lone.paths.own(lone.now).addresses, left);
    assert!(lone.events.contains(&Event::OwnAddresses(left)));
    lone.run(30);
    assert!(lone.calls().is_empty(), "full, or not at all");
}

#[test]
fn the_call_me_maybe_follows_the_answer() {
    let mut lone = Lone::with(&[A]);
    lone.call(|paths, now, _| paths.set_stun_servers(now, vec![addr(SERVER)]));
    lone.run(0);
    lone.stun_answer(SERVER, "203.0.113.7:40001");
    lone.send();
    lone.run(2_000);
    lone.sent();
    changed(&mut lone);
    lone.run(30);
    lone.stun_answer(SERVER, "203.0.113.8:40009");
    let calls = lone.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].1[0], addr("203.0.113.8:40009"));
}

#[test]
fn an_idle_peer_stays_idle_and_its_path_is_not_trusted_later() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.answering_to(A, 2, 60_000);
    lone.sent();
    changed(&mut lone);
    assert!(lone.sent().is_empty());
    lone.paths.sending(lone.now, PEER);
    assert!(matches!(lone.route(), Route::Both { .. }));
}

#[test]
fn a_bar_of_the_old_network_is_lifted() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.call(|paths, now, out| paths.silent(now, PEER, out));
    changed(&mut lone);
    lone.prove(A, 2);
}
