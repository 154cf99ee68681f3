//! How a proven path is kept, doubted, used on trial and left.

use tidewire_path::{Reason, Route, Why};
use tidewire_transport::Hop;

use crate::kit::{Lone, PEER, addr};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn udp(text: &str) -> Hop {
    Hop::Udp(addr(text))
}

/// A peer whose path by `A` was proven at 2 ms.
fn direct() -> Lone {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone
}

fn both(lone: &Lone) -> Route {
    Route::Both { direct: udp(A), relay: lone.relay() }
}

#[test]
fn a_path_in_use_is_pinged_each_3_s_while_there_is_traffic() {
    let mut lone = direct();
    let start = lone.at();
    let mut times = Vec::new();
    while lone.at() < start + 20_000 {
        lone.paths.sending(lone.now, PEER);
        lone.paths.heard(lone.now, PEER, udp(A));
        for (hop, tx, at) in lone.pings() {
            times.push(at - start);
            lone.run(2);
            lone.answer(&[(hop, tx)]);
        }
        lone.run(1);
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [3_000; 5]);
}

#[test]
fn heartbeats_stop_45_s_after_the_last_packet_sent_or_received() {
    for by_receiving in [false, true] {
        let mut lone = direct();
        lone.alive_to(A, 2, 10_000);
        if by_receiving {
            lone.run_to(12_000);
            lone.paths.heard(lone.now, PEER, udp(A));
        } else {
            lone.run_to(12_000);
            lone.send();
        }
        let mut last = 0;
        while lone.at() < 120_000 {
            for (hop, tx, at) in lone.pings() {
                last = at;
                lone.run(2);
                lone.answer(&[(hop, tx)]);
            }
            lone.run(100);
        }
        assert!((54_000..57_000).contains(&last), "{last}");
        assert_eq!(lone.paths.next_event(), None);
    }
}

#[test]
fn a_node_that_only_receives_goes_on_pinging() {
    let mut lone = direct();
    while lone.at() < 100_000 {
        lone.paths.heard(lone.now, PEER, udp(A));
        for (hop, tx) in lone.pings_to(A) {
            lone.answer(&[(hop, tx)]);
        }
        lone.run(1_000);
        assert_eq!(lone.route(), Route::One(udp(A)));
    }
}

#[test]
fn three_lost_heartbeats_are_enough_to_use_both_ways() {
    let mut lone = direct();
    lone.send();
    lone.run_to(3_899);
    assert_eq!(lone.route(), Route::One(udp(A)));
    lone.run_to(3_920);
    assert_eq!(lone.route(), both(&lone));
    assert_eq!(lone.last_reason(), Some(Reason::Doubted));
}

#[test]
fn packets_that_go_unanswered_have_the_path_asked_at_once_and_left_soon() {
    let mut lone = direct();
    lone.alive_to(A, 2, 1_000);
    lone.paths.heard(lone.now, PEER, udp(A));
    lone.pings();
    // From here on nothing comes any more, and the application sends as TCP would.
    for wait in [0, 200, 400, 800] {
        lone.run(wait);
        lone.send();
    }
    assert_eq!(lone.ping_times(A), [1_600, 1_900, 2_200]);
    assert_eq!(lone.route(), Route::One(udp(A)));
    lone.run_to(2_500);
    assert_eq!(lone.route(), both(&lone));
    assert_eq!(lone.last_reason(), Some(Reason::Doubted));
}

#[test]
fn who_sends_and_never_hears_ends_up_with_the_heartbeat_alone() {
    let mut lone = direct();
    let mut times = Vec::new();
    while lone.at() < 60_000 {
        lone.paths.sending(lone.now, PEER);
        for (hop, tx, at) in lone.pings() {
            times.push(at);
            lone.answer(&[(hop, tx)]);
        }
        lone.run(20);
    }
    assert!((19..=23).contains(&times.len()), "{times:?}");
    assert!(lone.switches().len() <= 1, "{:?}", lone.switches());
}

#[test]
fn a_peer_that_sends_through_the_relay_instead_has_lost_the_path() {
    let mut lone = direct();
    lone.paths.heard(lone.now, PEER, udp(A));
    lone.run(400);
    lone.paths.heard(lone.now, PEER, lone.relay());
    lone.run(0);
    assert_eq!(lone.route(), Route::One(udp(A)), "data by the relay may have been on its way");
    lone.run(200);
    lone.paths.heard(lone.now, PEER, lone.relay());
    lone.run(0);
    assert_eq!(lone.route(), both(&lone));
    let asked = lone.pings_to(A);
    assert!(!asked.is_empty());
    lone.answer(&asked);
    assert_eq!(lone.route(), Route::One(udp(A)), "it works after all");
    lone.run(600);
    lone.paths.heard(lone.now, PEER, lone.relay());
    lone.run(0);
    assert_eq!(lone.route(), Route::One(udp(A)), "and is believed for a while");
}

#[test]
fn a_single_lost_heartbeat_is_repeated_and_changes_nothing() {
    let mut lone = direct();
    lone.send();
    lone.run_to(3_100);
    assert_eq!(lone.ping_times(A), [3_002], "lost");
    lone.run_to(3_600);
    let repeated = lone.pings_to(A);
    assert_eq!(repeated.len(), 1);
    lone.answer(&repeated);
    lone.run_to(6_400);
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert!(lone.last_reason() == Some(Reason::Proven));
}

#[test]
fn proof_lasts_6_5_s_then_both_ways_for_1_5_s_then_the_relay_by_time_alone() {
    let mut lone = direct();
    let proven = lone.at();
    let route = |at: u64| lone.paths.current(PEER, crate::kit::t0() + crate::kit::ms(proven + at));
    assert_eq!(route(6_499), Route::One(udp(A)));
    assert_eq!(route(6_500), both(&lone));
    assert_eq!(route(7_999), both(&lone));
    assert_eq!(route(8_000), Route::One(lone.relay()));
    lone.run(0);
    assert_eq!(lone.route(), Route::One(udp(A)));
}

#[test]
fn a_dead_path_is_left_for_the_relay_within_8_s_and_each_step_is_told() {
    let mut lone = direct();
    let proven = lone.at();
    lone.events.clear();
    lone.chat_to(9_000);
    assert_eq!(lone.route(), Route::One(lone.relay()));
    let steps: Vec<_> = lone.switches().into_iter().map(|(_, to, reason)| (to, reason)).collect();
    assert_eq!(steps, [(both(&lone), Reason::Doubted), (Route::One(lone.relay()), Reason::Lost)]);
    assert_eq!(
        lone.paths.current(PEER, crate::kit::t0() + crate::kit::ms(proven + 8_000)),
        Route::One(lone.relay())
    );
}

#[test]
fn a_slow_path_is_not_doubted_before_its_proof_runs_out() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 1_600);
    let proven = lone.at();
    lone.events.clear();
    lone.chat_to(proven + 6_600);
    assert_eq!(lone.last_reason(), Some(Reason::Expired));
}

#[test]
fn a_pong_while_both_ways_are_used_ends_the_trial() {
    let mut lone = direct();
    lone.chat_to(5_000);
    assert_eq!(lone.route(), both(&lone));
    let pings = lone.pings_to(A);
    lone.answer(&pings[pings.len() - 1..]);
    assert_eq!(lone.route(), Route::One(udp(A)));
    assert_eq!(lone.last_reason(), Some(Reason::Proven));
}

#[test]
fn after_a_pause_the_first_packets_go_both_ways_and_the_path_is_asked_at_once() {
    let mut lone = direct();
    lone.answering_to(A, 2, 60_000);
    lone.run_to(200_000);
    lone.pings();
    assert_eq!(lone.route(), Route::One(lone.relay()), "nobody sends");
    lone.paths.sending(lone.now, PEER);
    assert_eq!(lone.route(), both(&lone));
    lone.run(0);
    assert!(!lone.pings_to(A).is_empty());
    lone.run(1_499);
    assert_eq!(lone.route(), both(&lone));
    lone.run(1);
    assert_eq!(lone.route(), Route::One(lone.relay()));
}

#[test]
fn a_path_that_runs_out_while_nobody_uses_it_is_no_news() {
    let mut lone = direct();
    lone.answering_to(A, 2, 60_000);
    lone.events.clear();
    lone.run_to(200_000);
    let config = lone.config.clone();
    lone.configure(config);
    lone.ping_from(udp(A), 1);
    assert!(lone.events.is_empty());
}

#[test]
fn other_paths_that_the_peer_uses_are_pinged_too() {
    other_path(|lone, _| lone.paths.heard(lone.now, PEER, udp(B)));
    other_path(|lone, round| lone.ping_from(udp(B), round));
}

fn other_path(mut is_used: impl FnMut(&mut Lone, u8)) {
    let mut lone = direct();
    let mut times = Vec::new();
    for round in 0..240 {
        is_used(&mut lone, round);
        lone.paths.sending(lone.now, PEER);
        lone.paths.heard(lone.now, PEER, udp(A));
        for _ in 0..125 {
            for (hop, tx, at) in lone.pings() {
                match hop == udp(B) {
                    true => times.push(at),
                    false => lone.answer(&[(hop, tx)]),
                }
            }
            lone.run(2);
        }
    }
    assert!((20..=22).contains(&times.len()), "each 3 s in 60 s: {times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 4_000), "{times:?}");
}

#[test]
fn an_active_peer_always_has_a_next_event() {
    let mut lone = direct();
    lone.send();
    while lone.at() < 44_000 {
        assert!(lone.paths.next_event().is_some());
        lone.run(500);
    }
    lone.run_to(60_000);
    assert_eq!(lone.paths.next_event(), None);
    assert_eq!(lone.paths.current(PEER, lone.now), Route::One(lone.relay()));
}

#[test]
fn every_wake_up_has_its_reason() {
    let mut lone = direct();
    lone.send();
    let mut reasons = std::collections::BTreeSet::new();
    while let Some((at, why)) = lone.paths.next_event() {
        reasons.insert(format!("{why:?}"));
        lone.now = lone.now.max(at);
        lone.process();
    }
    let expected = [Why::Heartbeat, Why::Call, Why::Discover, Why::OverlapEnds, Why::Idle];
    for why in expected {
        assert!(reasons.contains(&format!("{why:?}")), "{why:?} not in {reasons:?}");
    }
}

#[test]
fn a_path_that_answered_before_the_one_in_use_fell_silent_is_asked_first() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 2);
    lone.run_to(300);
    lone.call_from(&[A, B]);
    let to_b = lone.pings_to(B);
    lone.run(300);
    lone.answer(&to_b);
    lone.run_to(800);
    lone.paths.heard(lone.now, PEER, udp(A));
    // All of the peer's network is gone, and TCP tries again.
    for wait in [0, 300, 300, 900] {
        lone.run(wait);
        lone.send();
    }
    lone.run_to(2_400);
    assert_eq!(lone.route(), both(&lone));
    assert!(lone.ping_times(B).into_iter().any(|at| at > 2_000), "it may have the answer");
}

#[test]
fn another_path_that_answered_lately_takes_the_place_of_a_doubted_one() {
    let mut lone = Lone::with(&[A, B]);
    lone.prove(A, 2);
    lone.run_to(2_000);
    lone.call_from(&[A, B]);
    let to_b = lone.pings_to(B);
    lone.run(300);
    lone.answer(&to_b);
    assert_eq!(lone.route(), Route::One(udp(A)));
    lone.calls();
    lone.chat_to(5_000);
    assert!(lone.calls().is_empty(), "no search is needed");
    assert_eq!(lone.route(), Route::One(udp(B)));
    assert_eq!(lone.last_reason(), Some(Reason::Doubted));
}
