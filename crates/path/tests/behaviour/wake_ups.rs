//! Whatever happens: the next event is there, later than now, and cheap; memory stays bounded.

use std::time::Instant;

use proptest::prelude::*;
use tidewire_disco::Message;
use tidewire_keys::{DiscoSecret, NodeSecret, PeerId, Seed};
use tidewire_path::{Discard, Identity, Out, Paths, PeerConfig, limits};
use tidewire_transport::{Hop, RegionId};

use crate::kit::{Lone, PEER, addr, ms, t0};

#[derive(Clone, Debug)]
enum Happening {
    Wait(u16),
    Run(u16),
    Send,
    Heard(u8),
    HeardByRelay,
    Ping(u8, u8),
    Call(Vec<u8>),
    AnswerAll,
    AnswerLast,
    Silent,
    NetworkChanged,
    Local(u8),
    Relayed(bool),
    Asked(u64),
    Home(bool),
    Listed(Vec<u8>),
    HasDisco(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..3_000_u16).prop_map(Happening::Wait),
        (0..20_000_u16).prop_map(Happening::Run),
        Just(Happening::Send),
        any::<u8>().prop_map(Happening::Heard),
        Just(Happening::HeardByRelay),
        (any::<u8>(), any::<u8>()).prop_map(|(from, tx)| Happening::Ping(from, tx)),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Happening::Call),
        Just(Happening::AnswerAll),
        Just(Happening::AnswerLast),
        Just(Happening::Silent),
        Just(Happening::NetworkChanged),
        any::<u8>().prop_map(Happening::Local),
        any::<bool>().prop_map(Happening::Relayed),
        any::<u64>().prop_map(Happening::Asked),
        any::<bool>().prop_map(Happening::Home),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(Happening::Listed),
        any::<bool>().prop_map(Happening::HasDisco),
    ]
}

fn place(number: u8) -> String {
    format!("203.0.113.{}:{}", number % 8, 1 + u16::from(number / 8))
}

fn happen(lone: &mut Lone, happening: Happening) {
    let udp = |number| Hop::Udp(addr(&place(number)));
    match happening {
        Happening::Wait(for_ms) => lone.now += ms(for_ms.into()),
        Happening::Run(for_ms) => lone.run(for_ms.into()),
        Happening::Send => lone.paths.sending(lone.now, PEER),
        Happening::Heard(from) => lone.paths.heard(lone.now, PEER, udp(from)),
        Happening::HeardByRelay => lone.paths.heard(lone.now, PEER, lone.relay()),
        Happening::Ping(from, tx) => lone.ping_from(udp(from), tx),
        Happening::Call(addrs) => {
            let relay = lone.relay();
            lone.receive(relay, &Message::CallMeMaybe(addrs.into_iter().map(|n| addr(&place(n))).collect()));
        }
        Happening::AnswerAll | Happening::AnswerLast => {
            let mut pings = lone.pings();
            if matches!(happening, Happening::AnswerLast) {
                pings.drain(..pings.len().saturating_sub(1));
            }
            pings.into_iter().for_each(|(hop, tx, _)| lone.pong(hop, tx));
        }
        Happening::Silent => lone.call(|paths, now, out| paths.silent(now, PEER, out)),
        Happening::NetworkChanged => lone.call(|paths, now, out| paths.network_changed(now, out)),
        Happening::Local(number) => {
            lone.call(|paths, now, out| paths.set_local(now, vec![addr(&place(number))], out));
        }
        Happening::Relayed(up) => lone.call(|paths, now, out| paths.set_relayed(now, RegionId(900), up, out)),
        Happening::Asked(token) => lone.call(|paths, now, out| paths.ping(now, PEER, token, out)),
        Happening::Home(is) => {
            lone.configure(PeerConfig { home: is.then_some(RegionId(900)), ..lone.config.clone() })
        }
        Happening::Listed(numbers) => {
            let candidates = numbers.into_iter().map(|n| addr(&place(n))).collect();
            lone.configure(PeerConfig { candidates, ..lone.config.clone() });
        }
        Happening::HasDisco(is) => {
            let disco = is.then(|| lone.peer.disco.public());
            lone.configure(PeerConfig { disco, ..lone.config.clone() });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_active_path_is_never_without_a_next_event_and_never_spins(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let mut lone = Lone::with(&["203.0.113.1:1"]);
        for happening in happenings {
            happen(&mut lone, happening);
            // `process` and `run` assert that what is left lies later than now.
            lone.process();
            let explained = lone.explained();
            prop_assert!(!explained.active || explained.disco.is_none() || lone.paths.next_event().is_some());
            prop_assert!(explained.candidates.len() <= limits::MAX_LISTED + limits::MAX_CALLED + limits::MAX_MET + 1);
        }
        let mut wakes = 0;
        while let Some((at, _)) = lone.paths.next_event() {
            lone.now = lone.now.max(at);
            lone.process();
            wakes += 1;
            prop_assert!(wakes < 1_000, "no rest without traffic");
        }
        prop_assert!(lone.at() < 10_000_000);
    }
}

/// A node with a thousand peers, each with so many addresses.
fn thousand(now: Instant, addresses: u16, out: &mut Out) -> Paths {
    let key = |n: u32| {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    let identity =
        Identity { node: NodeSecret::from_bytes(key(0)).public(), disco: DiscoSecret::from_bytes(key(0)) };
    let mut paths = Paths::new(now, identity, &Seed::new([1; 32]));
    paths.set_local(now, vec![addr("192.168.1.1:1")], out);
    for n in 1..=1_000 {
        let place = |port| std::net::SocketAddr::from(([203, 0, (n / 250) as u8, (n % 250) as u8 + 1], port));
        let config = PeerConfig {
            node: NodeSecret::from_bytes(key(n)).public(),
            disco: Some(DiscoSecret::from_bytes(key(n)).public()),
            candidates: (1..=addresses).map(place).collect(),
            home: Some(RegionId(1)),
        };
        paths.set_peer(now, PeerId(n), config, out);
    }
    paths
}

#[test]
fn a_thousand_peers_wake_only_for_the_one_that_is_active() {
    let mut out = Out::default();
    let mut paths = thousand(t0(), 1, &mut out);
    assert_eq!(paths.next_event(), None);
    paths.sending(t0(), PeerId(500));
    out = Out::default();
    let mut wakes = 0;
    while let Some((at, _)) = paths.next_event() {
        paths.process_events(at, &mut out);
        wakes += 1;
    }
    assert!(wakes < 30, "{wakes}");
    assert!(out.datagrams.iter().all(|(hop, _)| match hop {
        Hop::Udp(to) => to.ip() == std::net::Ipv4Addr::new(203, 0, 2, 1),
        other => other.is_derp(),
    }));
}

#[test]
fn a_thousand_searches_at_once_share_the_budget_and_all_get_their_turn() {
    let mut out = Out::default();
    let mut paths = thousand(t0(), 5, &mut out);
    for n in 1..=1_000 {
        paths.sending(t0(), PeerId(n));
    }
    out = Out::default();
    while let Some((at, _)) = paths.next_event().filter(|(at, _)| *at <= t0() + ms(1_600)) {
        paths.process_events(at, &mut out);
    }
    let pinged: Vec<_> =
        out.datagrams.iter().filter(|(hop, _)| !hop.is_derp()).map(|(hop, _)| *hop).collect();
    // The burst, and 2000 a second.
    assert!((6_800..=7_300).contains(&pinged.len()), "{}", pinged.len());
    assert!(paths.discards().get(Discard::PingBudget) > 0);
    assert_eq!(pinged.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 5_000);
}
