//! CallMeMaybes of our own: to whom, when, and that they say all there is.

use tidewire_path::PeerConfig;
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr, ms};

const A: &str = "198.51.100.4:5";
const LOCAL: &str = "192.168.7.7:41641";
const SERVER: &str = "198.51.100.1:3478";
const SEEN: &str = "203.0.113.7:40001";

fn times(lone: &mut Lone) -> Vec<u64> {
    lone.calls().into_iter().map(|(at, _)| at).collect()
}

#[test]
fn traffic_brings_one_at_once_one_a_second_later_and_then_each_5_s() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(20_500);
    assert_eq!(times(&mut lone), [0, 1_000, 6_000, 11_000, 16_000]);
}

#[test]
fn it_is_sent_without_any_address_of_the_peer() {
    let mut lone = Lone::new();
    lone.send();
    assert_eq!(lone.calls(), [(0, vec![addr(LOCAL)])]);
}

#[test]
fn data_from_the_peer_brings_it_too() {
    let mut lone = Lone::new();
    let hop = lone.relay();
    lone.paths.heard(lone.now, PEER, hop);
    lone.run(0);
    assert_eq!(lone.calls().len(), 1);
}

#[test]
fn it_is_repeated_until_direct_and_not_beyond() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(500);
    lone.prove(A, 2);
    lone.alive_to(A, 2, 60_000);
    assert!(lone.calls().is_empty());
}

#[test]
fn above_5_ms_it_is_repeated_each_60_s() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 20);
    let start = lone.at();
    let mut calls = Vec::new();
    while lone.at() < start + 150_000 {
        lone.send();
        for sent in lone.sent() {
            match sent.message {
                tidewire_disco::Message::CallMeMaybe(_) => calls.push(sent.at - start),
                tidewire_disco::Message::Ping(ping) => {
                    lone.run(20);
                    lone.pong(sent.hop, ping.tx);
                }
                _ => {}
            }
        }
        lone.run(100);
    }
    assert_eq!(calls, [60_000, 120_000]);
}

#[test]
fn a_change_of_own_addresses_is_told_even_to_a_direct_peer() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.run(1_000);
    lone.calls();
    let now = vec![addr("192.168.8.8:41641"), addr("[2001:db8::8]:41641")];
    lone.call(|paths, at, out| paths.set_local(at, now.clone(), out));
    lone.run(0);
    assert_eq!(lone.calls(), [(lone.at(), now.clone())]);
    lone.call(|paths, at, out| paths.set_local(at, now.clone(), out));
    lone.run(1_000);
    assert!(lone.calls().is_empty(), "the same again is no change");
}

#[test]
fn a_burst_of_changes_is_told_once() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.run(1_000);
    lone.calls();
    for last in 1..=20 {
        let now = vec![addr(&format!("192.168.8.{last}:41641"))];
        lone.call(|paths, at, out| paths.set_local(at, now, out));
        lone.run(10);
    }
    lone.run(400);
    let calls = lone.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1].1, [addr("192.168.8.20:41641")]);
}

#[test]
fn who_is_not_active_is_told_nothing() {
    let mut lone = Lone::with(&[A]);
    lone.call(|paths, at, out| paths.set_local(at, vec![addr("192.168.8.8:41641")], out));
    lone.run(60_000);
    assert!(lone.sent().is_empty());
    lone.send();
    lone.run(50_000);
    lone.calls();
    lone.call(|paths, at, out| paths.set_local(at, vec![addr("192.168.9.9:41641")], out));
    lone.run(10_000);
    assert!(lone.sent().is_empty(), "45 s without traffic");
}

#[test]
fn it_is_never_empty() {
    let mut lone = Lone::with(&[A]);
    lone.call(|paths, at, out| paths.set_local(at, vec![], out));
    lone.chat_to(10_000);
    assert!(lone.calls().is_empty());
    lone.call(|paths, at, out| paths.set_local(at, vec![addr(LOCAL)], out));
    lone.run(0);
    assert_eq!(lone.calls().len(), 1, "made up for as soon as there is something to say");
}

#[test]
fn without_a_relay_there_is_none_until_the_peer_is_heard_by_one() {
    let mut lone = Lone::with(&[A]);
    let config = PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    lone.chat_to(10_000);
    assert!(lone.calls().is_empty());
    let hop = lone.relay();
    lone.ping_from(hop, 1);
    lone.run(0);
    assert_eq!(lone.calls().len(), 1);
}

#[test]
fn a_relay_that_comes_up_carries_it_again() {
    let mut lone = Lone::with(&[A]);
    lone.chat_to(3_000);
    lone.calls();
    let Hop::Derp { region, .. } = lone.relay() else { unreachable!() };
    for (up, expected) in [(false, 0), (true, 1), (true, 0)] {
        lone.call(|paths, now, out| paths.set_relayed(now, region, up, out));
        lone.run(250);
        assert_eq!(lone.calls().len(), expected);
    }
    lone.call(|paths, now, out| paths.set_relayed(now, tidewire_transport::RegionId(7), true, out));
    lone.run(250);
    assert!(lone.calls().is_empty(), "not the peer's");
}

/// A server that this test answers for.
fn with_server() -> Lone {
    let mut lone = Lone::with(&[A]);
    lone.call(|paths, now, _| paths.set_stun_servers(now, vec![addr(SERVER)]));
    lone.run(0);
    lone
}

#[test]
fn it_waits_for_stun_and_says_what_stun_saw_first() {
    let mut lone = with_server();
    lone.send();
    lone.run(40);
    assert!(lone.calls().is_empty());
    lone.stun_answer(SERVER, SEEN);
    lone.run(0);
    assert_eq!(lone.calls(), [(40, vec![addr(SEEN), addr(LOCAL)])]);
}

#[test]
fn where_stun_is_silent_it_leaves_after_3_s_and_the_next_do_not_wait() {
    let mut lone = with_server();
    lone.run(5_000);
    lone.stun_requests();
    lone.chat_to(22_000);
    assert_eq!(times(&mut lone)[0], 5_000, "the round at the start was given up just before");

    let mut lone = with_server();
    lone.chat_to(13_000);
    assert_eq!(times(&mut lone), [3_000, 4_000, 9_000]);
}

#[test]
fn an_answer_of_the_last_27_s_is_fresh_enough_and_an_older_one_is_renewed_first() {
    let mut lone = with_server();
    lone.stun_answer(SERVER, SEEN);
    lone.run_to(26_000);
    lone.send();
    assert_eq!(times(&mut lone), [26_000]);

    let mut lone = with_server();
    lone.stun_answer(SERVER, SEEN);
    lone.run_to(28_000);
    lone.stun_requests();
    lone.send();
    assert!(lone.calls().is_empty());
    assert_eq!(lone.stun_requests().len(), 1, "asked first");
    lone.run(30);
    lone.stun_answer(SERVER, SEEN);
    assert_eq!(times(&mut lone), [28_030]);
}

#[test]
fn what_stun_sees_anew_is_told_at_once() {
    let mut lone = with_server();
    lone.send();
    lone.stun_answer(SERVER, SEEN);
    lone.run(0);
    assert_eq!(lone.calls().len(), 1);
    lone.stun_requests();
    while lone.stun_requests().is_empty() {
        lone.send();
        lone.run(100);
    }
    lone.calls();
    lone.stun_answer(SERVER, "203.0.113.7:40002");
    lone.run(200);
    assert_eq!(lone.calls().last().unwrap().1, [addr("203.0.113.7:40002"), addr(LOCAL)]);
}

#[test]
fn news_that_waits_is_told_although_a_path_is_proven_meanwhile() {
    let mut lone = Lone::with(&[A]);
    lone.send();
    let pings = lone.pings_to(A);
    lone.run(50);
    lone.call(|paths, now, out| paths.set_local(now, vec![addr("192.168.8.8:41641")], out));
    lone.answer(&pings);
    assert!(lone.route().is_direct());
    lone.run(3_000);
    assert_eq!(lone.calls(), [(200, vec![addr("192.168.8.8:41641")])]);
}

#[test]
fn stun_is_asked_first_even_if_something_arrives_before_the_timers_run() {
    let mut lone = with_server();
    lone.stun_answer(SERVER, SEEN);
    lone.run_to(28_000);
    lone.paths.sending(lone.now, PEER);
    let relay = lone.relay();
    lone.ping_from(relay, 1);
    assert!(lone.calls().is_empty());
}

#[test]
fn after_a_sleep_stun_is_asked_first_too() {
    let mut lone = with_server();
    lone.stun_answer(SERVER, SEEN);
    lone.chat_to(5_000);
    lone.calls();
    lone.stun_requests();
    lone.now += ms(8 * 3_600_000);
    lone.send();
    assert!(lone.calls().is_empty());
    assert_eq!(lone.stun_requests().len(), 1);
    lone.run(30);
    lone.stun_answer(SERVER, "203.0.113.7:50001");
    assert_eq!(lone.calls()[0].1[0], addr("203.0.113.7:50001"));
}
