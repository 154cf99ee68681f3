//! The order of paths is total, and no choice goes round in circles.

use std::{cmp::Ordering, time::Duration};

use proptest::prelude::*;
use tidewire_keys::NodePublic;
use tidewire_path::Standing;
use tidewire_transport::{Hop, RegionId, Vni};

use crate::kit::{addr, ms};

const ADDRS: [&str; 9] = [
    "127.0.0.1:1",
    "169.254.1.1:1",
    "10.0.0.1:1",
    "10.0.0.1:2",
    "198.51.100.1:1",
    "[::1]:1",
    "[fe80::1]:1",
    "[fd00::1]:1",
    "[2001:db8::1]:1",
];

fn hops() -> Vec<Hop> {
    let server = addr("198.51.100.9:7");
    let mut hops: Vec<_> = ADDRS.iter().map(|text| Hop::Udp(addr(text))).collect();
    hops.push(Hop::Relayed { server, vni: Vni::new(1).unwrap() });
    hops.push(Hop::Derp { region: RegionId(1), peer_key: NodePublic::from_bytes([1; 32]) });
    hops
}

/// Every kind of hop at latencies on both sides of many edges.
fn standings() -> Vec<Standing> {
    let latencies =
        [0, 1, 999, 1_023, 1_024, 1_535, 1_536, 5_000, 30_975, 38_905, 43_620, 49_151, 49_152, 5_000_000];
    let with = |micros| hops().into_iter().map(move |hop| Standing::new(hop, Duration::from_micros(micros)));
    latencies.into_iter().flat_map(with).collect()
}

#[test]
fn the_order_is_total_antisymmetric_and_transitive() {
    let all = standings();
    for a in &all {
        for b in &all {
            assert_eq!(a.cmp(b), b.cmp(a).reverse());
            assert_eq!(a.cmp(b) == Ordering::Equal, a == b);
            for c in all.iter().filter(|_| a < b) {
                assert!(b >= c || a < c, "{a:?} {b:?} {c:?}");
            }
        }
    }
}

#[test]
fn a_change_is_always_for_the_better_so_changes_come_to_an_end() {
    let all = standings();
    for a in &all {
        assert!(!a.supersedes(a));
        for b in &all {
            assert!(!a.supersedes(b) || a < b);
            assert!(!(a.supersedes(b) && b.supersedes(a)));
        }
    }
}

#[test]
fn a_better_tier_wins_at_any_latency() {
    let at = |hop: usize, latency| Standing::new(hops()[hop], latency);
    let (direct, relay, derp) = (4, 9, 10);
    assert!(at(direct, ms(900)) < at(relay, ms(1)));
    assert!(at(relay, ms(900)) < at(derp, ms(1)));
    assert!(at(direct, ms(900)).supersedes(&at(derp, ms(1))));
    assert!(!at(derp, ms(1)).supersedes(&at(direct, ms(900))));
}

/// Changes over to each that supersedes the incumbent, again and again.
fn settles(triple: [Standing; 3]) -> bool {
    triple.into_iter().all(|start| {
        let mut incumbent = start;
        for _ in 0..9 {
            incumbent = triple.into_iter().find(|other| other.supersedes(&incumbent)).unwrap_or(incumbent);
        }
        !triple.iter().any(|other| other.supersedes(&incumbent))
    })
}

#[test]
fn the_cyclic_triple_of_31_39_and_44_ms_has_an_end() {
    let a = Standing::new(Hop::Udp(addr("198.51.100.1:1")), Duration::from_micros(30_975));
    let b = Standing::new(Hop::Udp(addr("10.0.0.1:1")), Duration::from_micros(38_905));
    let c = Standing::new(Hop::Udp(addr("[fd00::1]:1")), Duration::from_micros(43_620));
    assert!(settles([a, b, c]));
    assert!(a < c && c < b && a < b);
}

#[test]
fn the_cyclic_triple_of_5_8_and_12_ms_has_an_end() {
    let a = Standing::new(Hop::Udp(addr("198.51.100.1:1")), ms(5));
    let b = Standing::new(Hop::Udp(addr("169.254.1.1:1")), ms(8));
    let c = Standing::new(Hop::Udp(addr("[::1]:1")), ms(12));
    assert!(settles([a, b, c]));
    assert!(a < b && b < c && a < c);
}

#[test]
fn noise_does_not_change_the_path_and_a_clear_gain_does() {
    let one = |latency| Standing::new(Hop::Udp(addr("198.51.100.1:1")), latency);
    let two = |latency| Standing::new(Hop::Udp(addr("198.51.100.2:1")), latency);
    assert!(!one(ms(29)).supersedes(&two(ms(33))));
    assert!(!one(Duration::from_micros(1_000)).supersedes(&two(Duration::from_micros(1_900))));
    assert!(one(ms(24)).supersedes(&two(ms(33))));
}

#[test]
fn within_a_band_the_nearer_address_wins_and_ipv6_before_ipv4() {
    let order = [
        "[::1]:1",
        "127.0.0.1:1",
        "169.254.1.1:1",
        "[fd00::1]:1",
        "10.0.0.1:1",
        "[2001:db8::1]:1",
        "198.51.100.1:1",
    ];
    let standings: Vec<_> = order.iter().map(|text| Standing::new(Hop::Udp(addr(text)), ms(1))).collect();
    assert!(standings.is_sorted());
    assert!(standings[4].supersedes(&standings[6]));
    assert!(!standings[5].supersedes(&standings[6]), "the family alone is not worth a change");
}

fn any_standing() -> impl Strategy<Value = Standing> {
    (0..11_usize, 0..200_000_u64)
        .prop_map(|(hop, micros)| Standing::new(hops()[hop], Duration::from_micros(micros)))
}

proptest! {
    #[test]
    fn any_three_paths_are_in_order_and_settle(a in any_standing(), b in any_standing(), c in any_standing()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert!(!(a <= b && b <= c) || a <= c);
        prop_assert!(settles([a, b, c]));
    }

    #[test]
    fn a_lower_latency_is_never_worse(hop in 0..11_usize, one in 0..10_000_000_u64, more in 0..10_000_000_u64) {
        let at = |micros| Standing::new(hops()[hop], Duration::from_micros(micros));
        prop_assert!(at(one) <= at(one + more));
    }
}
