//! Peers without a disco key: WireGuard's own way, by roaming.

use tidewire_path::{CandidateState, Event, PeerConfig, PingRefusal, Reason, Route, Source, Verdict};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr, ms};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

fn plain(candidates: &[&str]) -> Lone {
    let mut lone = Lone::with(candidates);
    let config = PeerConfig { disco: None, home: None, ..lone.config.clone() };
    lone.configure(config);
    lone.events.clear();
    lone
}

#[test]
fn the_address_of_the_map_is_used_at_once() {
    let lone = plain(&[A, B]);
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert_eq!(lone.explained().verdict, Verdict::Plain);
}

#[test]
fn without_an_address_it_is_nowhere_until_it_is_heard() {
    let mut lone = plain(&[]);
    assert_eq!(lone.route(), Route::None);
    lone.paths.heard(lone.now, PEER, udp(B));
    assert_eq!(lone.route(), Route::One(udp(B)));
}

#[test]
fn it_is_where_it_was_last_heard_and_that_is_told() {
    let mut lone = plain(&[A]);
    lone.paths.heard(lone.now, PEER, udp(B));
    assert_eq!(lone.route(), Route::One(udp(B)));
    lone.run(0);
    assert_eq!(lone.switches(), [(Route::One(udp(A)), Route::One(udp(B)), Reason::Roamed)]);
    lone.paths.heard(lone.now, PEER, udp(B));
    lone.run(0);
    assert_eq!(lone.events.len(), 1);
}

#[test]
fn its_addresses_are_explained() {
    let mut lone = plain(&[A]);
    lone.paths.heard(lone.now, PEER, udp(B));
    let candidates = lone.explained().candidates;
    let views: Vec<_> = candidates.iter().map(|c| (c.hop, &c.sources[..], c.state)).collect();
    let heard = [Source::Data(ms(0))];
    assert_eq!(
        views,
        [(udp(A), &[Source::Map][..], CandidateState::Untried), (udp(B), &heard[..], CandidateState::InUse)]
    );
}

#[test]
fn a_mapped_address_is_the_same_place() {
    let mut lone = plain(&["198.51.100.4:5"]);
    lone.paths.heard(lone.now, PEER, udp("[::ffff:198.51.100.4]:5"));
    lone.run(0);
    assert!(lone.events.is_empty());
}

#[test]
fn nothing_is_ever_sent_to_it_from_here_nor_any_timer_kept() {
    let mut lone = plain(&[A]);
    lone.chat_to(100_000);
    lone.paths.heard(lone.now, PEER, udp(B));
    lone.run(100_000);
    assert!(lone.sent().is_empty());
    assert_eq!(lone.paths.next_event(), None);
}

#[test]
fn the_same_map_again_does_not_undo_roaming_and_a_new_address_does() {
    let mut lone = plain(&[A]);
    lone.paths.heard(lone.now, PEER, udp(B));
    let config = lone.config.clone();
    lone.configure(config.clone());
    assert_eq!(lone.route(), Route::One(udp(B)));
    lone.configure(PeerConfig { candidates: vec![addr("203.0.113.5:5")], ..config });
    assert_eq!(lone.route(), Route::One(udp("203.0.113.5:5")));
    lone.configure(PeerConfig { candidates: vec![], ..lone.config.clone() });
    assert_eq!(lone.route(), Route::One(udp("203.0.113.5:5")), "no address is no instruction to forget");
}

#[test]
fn where_data_goes_unanswered_the_next_address_of_the_map_is_tried() {
    let mut lone = plain(&[A, B]);
    for expected in [B, A] {
        lone.call(|paths, now, out| paths.silent(now, PEER, out));
        assert_eq!(lone.route(), Route::One(udp(expected)));
    }
    let mut lone = plain(&[A]);
    lone.call(|paths, now, out| paths.silent(now, PEER, out));
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert!(lone.events.is_empty());
}

#[test]
fn a_ping_of_a_caller_is_refused() {
    let mut lone = plain(&[A]);
    lone.call(|paths, now, out| paths.ping(now, PEER, 5, out));
    assert_eq!(lone.events, [Event::PingRefused { token: 5, peer: PEER, reason: PingRefusal::NoDisco }]);
}

#[test]
fn with_a_home_the_relay_is_the_floor_here_too() {
    let mut lone = Lone::new();
    let config = PeerConfig { disco: None, ..lone.config.clone() };
    lone.configure(config);
    assert_eq!(lone.route(), Route::One(lone.relay()));
}

#[test]
fn a_caller_may_say_where_it_is_whatever_was_heard() {
    let mut lone = plain(&[A]);
    lone.paths.heard(lone.now, PEER, udp(B));
    lone.run(0);
    lone.call(|paths, now, out| paths.place(now, PEER, addr(A), out));
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert_eq!(lone.last_reason(), Some(Reason::Map));
    lone.call(|paths, now, out| paths.place(now, PEER, addr("224.0.0.1:1"), out));
    assert_eq!(lone.route(), Route::One(udp(A)));
}
