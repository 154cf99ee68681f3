//! Why a peer is reached as it is, in each state that it can be in.

use tidewire_path::{CandidateState, PeerConfig, Source, Verdict, WhyRelayed};
use tidewire_transport::{Hop, RegionId};

use crate::kit::{Lone, PEER, addr, ms};

const A: &str = "198.51.100.4:5";
const B: &str = "198.51.100.4:6";

fn states(lone: &Lone) -> Vec<CandidateState> {
    lone.explained().candidates.iter().map(|candidate| candidate.state).collect()
}

#[test]
fn idle() {
    let lone = Lone::with(&[A]);
    assert_eq!(lone.explained().verdict, Verdict::Relayed(WhyRelayed::Idle));
    assert_eq!(states(&lone), [CandidateState::Untried]);
}

#[test]
fn no_candidates() {
    let mut lone = Lone::new();
    lone.send();
    assert_eq!(lone.explained().verdict, Verdict::Relayed(WhyRelayed::NoCandidates));
    assert_eq!(lone.explained().called, Some(ms(0)));
}

#[test]
fn trying_then_no_answer() {
    let mut lone = Lone::with(&[A]);
    lone.send();
    assert_eq!(lone.explained().verdict, Verdict::Relayed(WhyRelayed::Trying));
    assert_eq!(states(&lone), [CandidateState::Waiting]);
    lone.run(2_000);
    assert_eq!(lone.explained().verdict, Verdict::Relayed(WhyRelayed::NoAnswer { nat_varies: false }));
    assert_eq!(states(&lone), [CandidateState::NoAnswer]);
    assert_eq!(lone.explained().candidates[0].unanswered, 4);
}

#[test]
fn a_nat_that_varies_is_named_as_the_likely_reason() {
    let mut lone = Lone::with(&[A]);
    let servers = ["198.51.100.1:3478", "198.51.100.2:3478"];
    lone.call(|paths, now, _| paths.set_stun_servers(now, servers.map(addr).to_vec()));
    lone.run(0);
    lone.stun_answer(servers[0], "203.0.113.7:1");
    lone.stun_answer(servers[1], "203.0.113.7:2");
    lone.send();
    lone.run(2_000);
    assert_eq!(lone.explained().verdict, Verdict::Relayed(WhyRelayed::NoAnswer { nat_varies: true }));
    assert!(lone.explained().verdict.to_string().contains("NAT"));
}

#[test]
fn direct_with_a_spare() {
    let mut lone = Lone::with(&[A, B]);
    lone.send();
    let pings = lone.pings();
    lone.run(2);
    for (hop, tx, _) in &pings {
        lone.pong(*hop, *tx);
    }
    lone.run(500);
    let explained = lone.explained();
    assert_eq!(explained.verdict, Verdict::Direct);
    assert!(explained.active);
    assert_eq!(states(&lone), [CandidateState::InUse, CandidateState::Spare]);
    let used = &explained.candidates[0];
    assert_eq!(used.hop, Hop::Udp(addr(A)));
    assert_eq!(used.sources, [Source::Map]);
    assert_eq!((used.pinged, used.answered, used.latency), (Some(ms(502)), Some(ms(500)), Some(ms(2))));
}

#[test]
fn on_trial_then_lapsed() {
    let mut lone = Lone::with(&[A]);
    lone.prove(A, 2);
    lone.chat_to(5_000);
    assert_eq!(lone.explained().verdict, Verdict::DirectOnTrial);
    lone.chat_to(9_000);
    assert_eq!(states(&lone), [CandidateState::Lapsed]);
    assert_eq!(lone.explained().verdict, Verdict::Relayed(WhyRelayed::NoAnswer { nat_varies: false }));
}

#[test]
fn unreachable_and_unknown() {
    let mut lone = Lone::new();
    let config = PeerConfig { home: None, ..lone.config.clone() };
    lone.configure(config);
    assert_eq!(lone.explained().verdict, Verdict::Unreachable);
    assert!(lone.paths.explain(tidewire_keys::PeerId(77), lone.now).is_none());
}

#[test]
fn the_relay_and_whether_it_is_connected() {
    let mut lone = Lone::new();
    assert_eq!(lone.explained().relay.unwrap().connected, None);
    for up in [true, false] {
        lone.call(|paths, now, out| paths.set_relayed(now, RegionId(900), up, out));
        assert_eq!(lone.explained().relay.unwrap().connected, Some(up));
    }
}

#[test]
fn each_source_with_its_age() {
    let mut lone = Lone::with(&[A]);
    lone.call_from(&[A]);
    lone.ping_from(Hop::Udp(addr(A)), 1);
    lone.run(1_000);
    lone.paths.heard(lone.now, PEER, Hop::Udp(addr(A)));
    lone.run(500);
    let explained = lone.explained();
    let sources = [Source::Map, Source::CallMeMaybe, Source::Ping(ms(1_500)), Source::Data(ms(500))];
    assert_eq!(explained.candidates[0].sources, sources);
    assert_eq!(explained.was_called, Some(ms(1_500)));
    assert_eq!((explained.sent, explained.heard), (None, Some(ms(500))));
}

#[test]
fn every_verdict_is_a_sentence() {
    let all = [
        Verdict::Plain,
        Verdict::Direct,
        Verdict::DirectOnTrial,
        Verdict::Unproven,
        Verdict::Unreachable,
        Verdict::Relayed(WhyRelayed::Idle),
        Verdict::Relayed(WhyRelayed::NoCandidates),
        Verdict::Relayed(WhyRelayed::Trying),
        Verdict::Relayed(WhyRelayed::NoAnswer { nat_varies: false }),
        Verdict::Relayed(WhyRelayed::NoAnswer { nat_varies: true }),
        Verdict::Relayed(WhyRelayed::Barred),
    ];
    let texts: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
}
