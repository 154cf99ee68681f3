//! What a check finds out and when it is done, in virtual time, among relays and middleboxes of every kind.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tidewire_derp::{Region, RegionId, RegionNode, Regions, region::Family as Address};
use tidewire_keys::Seed;
use tidewire_netcheck::{Action, Check, Extent, NodeId, Report, limits::*};
use tidewire_stun::{RESPONSE_LEN, TxId, parse_request, response};

#[allow(clippy::disallowed_methods)]
fn t0() -> Instant {
    static T0: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *T0.get_or_init(Instant::now)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A network with relays: 198.51.100.N and 2001:db8::N are region N.
struct World {
    map: Regions,
    /// Round trip to each region, in milliseconds.
    latency: BTreeMap<u16, u64>,
    /// Which of the requests to a region are lost, counted from 0 over both families.
    lost: fn(region: u16, n: usize) -> bool,
    v4: bool,
    v6: bool,
    /// The port that region N sees us send from by IPv4.
    port: fn(u16) -> u16,
    hairpin: bool,
    https: Option<u64>,
    /// What answers plain HTTP: the relay (true), a portal (false) or nobody.
    plain: Option<bool>,
    /// How long DNS takes.
    dns: u64,
}

/// What came of it.
struct Outcome {
    report: Report,
    took: Duration,
    /// How many requests each region got.
    asked: BTreeMap<u16, usize>,
    https: Vec<NodeId>,
    portal: usize,
}

enum Arrival {
    Resolved(NodeId),
    Stun(SocketAddr, Vec<u8>),
    Unsent(TxId),
    Https(NodeId, bool),
    Portal(Option<bool>),
}

impl World {
    /// Regions 1, 2, ... with these round trips.
    fn new(latencies: &[u64]) -> Self {
        let latency: BTreeMap<u16, u64> = (1..).zip(latencies.iter().copied()).collect();
        let region = |id: &u16| {
            let node = RegionNode {
                ipv4: Address::Address([198, 51, 100, *id as u8].into()),
                ipv6: Address::Address(format!("2001:db8::{id:x}").parse().unwrap()),
                can_port_80: true,
                ..RegionNode::new(format!("{id}a"), format!("derp{id}.example"))
            };
            Region::new(RegionId(*id), format!("r{id}"), vec![node])
        };
        Self {
            map: Regions::try_from(latency.keys().map(region).collect::<Vec<_>>()).unwrap(),
            latency,
            lost: |_, _| false,
            v4: true,
            v6: true,
            port: |_| 41641,
            hairpin: false,
            https: Some(100),
            plain: Some(true),
            dns: 0,
        }
    }

    fn run(&self, extent: Extent<'_>, home: Option<u16>) -> Outcome {
        let mut now = t0();
        let mut check = Check::new(now, &self.map, extent, home.map(RegionId), &Seed::new([7; 32]));
        let mut coming: BTreeMap<(Instant, usize), Arrival> = BTreeMap::new();
        let mut outcome = Outcome {
            report: Report::default(),
            took: Duration::ZERO,
            asked: BTreeMap::new(),
            https: Vec::new(),
            portal: 0,
        };
        for turn in 0.. {
            assert!(turn < 100_000, "a busy loop");
            check.process_events(now);
            while let Some(action) = check.pop_action() {
                for (after, arrival) in self.act(&check, action, &mut outcome) {
                    coming.insert((now + ms(after), coming.len() + turn * 1000), arrival);
                }
            }
            if check.is_done() {
                assert_eq!(check.next_event(), None);
                break;
            }
            let event = check.next_event().expect("a check that is not done wakes up").0;
            match coming.first_key_value() {
                Some((&(at, n), _)) if at <= event => {
                    now = now.max(at);
                    arrive(&mut check, now, coming.remove(&(at, n)).unwrap());
                }
                _ => now = now.max(event),
            }
        }
        Outcome { report: check.report(), took: now - t0(), ..outcome }
    }

    fn act(&self, check: &Check, action: Action, outcome: &mut Outcome) -> Vec<(u64, Arrival)> {
        match action {
            Action::Resolve(node) => vec![(self.dns, Arrival::Resolved(node))],
            Action::Stun { server, tx, datagram } => {
                let region = region_of(server);
                let n = outcome.asked.entry(region).or_default();
                *n += 1;
                if server.is_ipv6() && !self.v6 {
                    return vec![(0, Arrival::Unsent(tx))];
                }
                if (server.is_ipv4() && !self.v4) || (self.lost)(region, *n - 1) {
                    return vec![];
                }
                assert_eq!(parse_request(&datagram), Ok(tx));
                let own: SocketAddr = match server {
                    SocketAddr::V4(_) => ([203, 0, 113, 7], (self.port)(region)).into(),
                    SocketAddr::V6(_) => "[2001:db8:7::1]:41641".parse().unwrap(),
                };
                let mut answer = [0; RESPONSE_LEN];
                let len = response(&tx, own, &mut answer);
                vec![(self.latency[&region], Arrival::Stun(server, answer[..len].to_vec()))]
            }
            Action::Hairpin { to, datagram } if self.hairpin => {
                assert_eq!(to, "203.0.113.7:41641".parse().unwrap());
                vec![(2, Arrival::Stun("203.0.113.7:999".parse().unwrap(), datagram.to_vec()))]
            }
            Action::Hairpin { .. } => vec![],
            Action::Https(node) => {
                assert!(check.node(node).is_some());
                outcome.https.push(node);
                let last = self.map.get(node.region).unwrap().nodes.len() - 1;
                self.https.map(|time| (time, Arrival::Https(node, node.index == last))).into_iter().collect()
            }
            Action::Portal { .. } => {
                outcome.portal += 1;
                vec![(30, Arrival::Portal(self.plain))]
            }
        }
    }
}

fn arrive(check: &mut Check, now: Instant, arrival: Arrival) {
    match arrival {
        Arrival::Resolved(node) => {
            let RegionId(id) = node.region;
            let v4 = ([198, 51, 100, id as u8], 3478).into();
            let v6 = format!("[2001:db8::{id:x}]:3478").parse().unwrap();
            check.resolved(now, node, vec![v4, v6]);
        }
        Arrival::Stun(source, datagram) => {
            check.received(now, source, &datagram);
        }
        Arrival::Unsent(tx) => check.unsent(now, tx),
        Arrival::Https(node, true) => check.https(now, node, Ok(ms(80))),
        Arrival::Https(node, false) => check.https(now, node, Err("refused".to_owned())),
        Arrival::Portal(is_relay) => check.portal(is_relay),
    }
}

fn region_of(server: SocketAddr) -> u16 {
    match server {
        SocketAddr::V4(v4) => v4.ip().octets()[3].into(),
        SocketAddr::V6(v6) => v6.ip().segments()[7],
    }
}

fn latency(report: &Report, region: u16) -> Option<u64> {
    report.latency(RegionId(region)).map(|latency| latency.as_millis() as u64)
}

#[test]
fn where_all_is_well_one_request_a_family_tells_everything() {
    let world = World { hairpin: true, ..World::new(&[10, 20, 30]) };
    let outcome = world.run(Extent::Everything, None);
    assert_eq!(outcome.asked, [(1, 2), (2, 2), (3, 2)].into());
    assert_eq!(outcome.took, ms(30));
    let report = outcome.report;
    assert_eq!([1, 2, 3].map(|region| latency(&report, region)), [Some(10), Some(20), Some(30)]);
    assert_eq!((report.udp_v4, report.udp_v6), (Some(true), Some(true)));
    assert_eq!(report.global_v4, Some("203.0.113.7:41641".parse().unwrap()));
    assert_eq!(report.global_v6, Some("[2001:db8:7::1]:41641".parse().unwrap()));
    assert_eq!(
        (report.mapping_varies, report.hairpin, report.captive_portal),
        (Some(false), Some(true), Some(false))
    );
    assert!(outcome.https.is_empty());
}

#[test]
fn a_lost_request_is_repeated_and_the_answer_is_measured_from_its_own() {
    let world = World { lost: |_, n| n < 3, ..World::new(&[10]) };
    let outcome = world.run(Extent::Everything, None);
    assert_eq!(latency(&outcome.report, 1), Some(10));
    let all = World { lost: |_, _| true, ..World::new(&[10]) };
    assert_eq!(all.run(Extent::Everything, None).asked, [(1, 6)].into());
}

#[test]
fn without_ipv6_nobody_waits_for_it() {
    let outcome = World { v6: false, ..World::new(&[10, 20]) }.run(Extent::Everything, None);
    assert_eq!((outcome.report.udp_v4, outcome.report.udp_v6), (Some(true), Some(false)));
    assert_eq!(outcome.report.global_v6, None);
    assert!(outcome.took < ms(600), "{:?}", outcome.took);
}

#[test]
fn enough_regions_end_a_full_check_and_a_person_waits_for_all() {
    let world = World::new(&[10, 20, 30, 55, 400]);
    let full = world.run(Extent::Full, None);
    assert_eq!(latency(&full.report, 4), Some(55), "within twice the slowest of the first three");
    assert_eq!(latency(&full.report, 5), None);
    let all = world.run(Extent::Everything, None);
    assert_eq!(latency(&all.report, 5), Some(400));
    let last = World::new(&[10, 20, 30]).run(Extent::Full, None).report;
    let again = world.run(Extent::Incremental(&last), Some(2));
    assert_eq!(again.asked, [(1, 2), (2, 2), (3, 1)].into());
    assert_eq!((again.took, again.portal), (ms(30), 0));
}

#[test]
fn enough_never_means_without_the_home() {
    let world = World { lost: |region, n| region == 5 && n < 4, ..World::new(&[10, 20, 30, 40, 300]) };
    assert_eq!(latency(&world.run(Extent::Full, Some(5)).report, 5), Some(300));
    assert_eq!(latency(&world.run(Extent::Full, None).report, 5), None);
    let last = World::new(&[10, 20, 30, 40, 300]).run(Extent::Everything, None).report;
    let again = world.run(Extent::Incremental(&last), Some(5));
    assert_eq!((latency(&again.report, 5), again.asked[&5]), (Some(300), 6), "tries until one is answered");
}

#[test]
fn where_udp_is_blocked_https_tells_the_latency_in_the_end() {
    let world = World { v4: false, v6: false, ..World::new(&[10, 20]) };
    for (extent, home) in [(Extent::Everything, None), (Extent::Full, Some(1))] {
        let outcome = world.run(extent, home);
        assert_eq!((outcome.report.udp_v4, outcome.report.udp_v6), (Some(false), Some(false)));
        assert_eq!([1, 2].map(|region| latency(&outcome.report, region)), [Some(80), Some(80)]);
        assert_eq!(outcome.took, STUN + ms(100));
        assert_eq!((outcome.report.mapping_varies, outcome.report.hairpin), (None, None));
    }
}

#[test]
fn where_nothing_answers_a_check_ends_in_time_all_the_same() {
    let world = World { v4: false, v6: false, https: None, plain: None, ..World::new(&[10; 40]) };
    let outcome = world.run(Extent::Everything, None);
    assert_eq!(outcome.took, WHOLE);
    assert_eq!(outcome.report.captive_portal, None);
    assert_eq!(outcome.https.len(), HTTPS_AT_ONCE);
    let deaf = World { dns: 60_000, https: None, ..world };
    assert_eq!(deaf.run(Extent::Full, None).took, WHOLE);
}

#[test]
fn a_region_without_stun_is_measured_by_https_at_its_next_node_if_need_be() {
    let mut world = World::new(&[10, 20]);
    let mut second = world.map.get(RegionId(2)).unwrap().clone();
    second.nodes[0].stun_port = None;
    let stun_only = RegionNode { stun_only: true, stun_port: None, ..second.nodes[0].clone() };
    second.nodes = vec![stun_only, second.nodes[0].clone(), second.nodes[0].clone()];
    world.map = Regions::try_from(vec![world.map.get(RegionId(1)).unwrap().clone(), second]).unwrap();
    let outcome = world.run(Extent::Full, None);
    assert_eq!([1, 2].map(|region| latency(&outcome.report, region)), [Some(10), Some(80)]);
    assert_eq!(
        outcome.https.iter().map(|node| node.index).collect::<Vec<_>>(),
        [1, 2],
        "never the one for STUN alone"
    );
    assert_eq!(outcome.report.region(RegionId(2)).unwrap().https_failure, None);
}

#[test]
fn a_mapping_that_varies_by_destination_is_told() {
    let world = World { port: |region| 41640 + region, ..World::new(&[10, 20]) };
    assert_eq!(world.run(Extent::Full, None).report.mapping_varies, Some(true));
    assert_eq!(
        World::new(&[10]).run(Extent::Full, None).report.mapping_varies,
        None,
        "one relay cannot tell"
    );
}

#[test]
fn what_does_not_come_back_is_told_after_half_a_second() {
    let outcome = World::new(&[10, 20]).run(Extent::Everything, None);
    assert_eq!((outcome.report.hairpin, outcome.took), (Some(false), ms(10) + HAIRPIN));
}

#[test]
fn a_portal_is_looked_for_where_stun_is_silent_or_a_person_asks() {
    let blocked = World { v4: false, v6: false, plain: Some(false), ..World::new(&[10]) };
    assert_eq!(blocked.run(Extent::Full, None).report.captive_portal, Some(true));
    assert_eq!(World::new(&[10]).run(Extent::Full, None).portal, 0);
    assert_eq!(World::new(&[10]).run(Extent::Everything, None).portal, 1);
    let secretive = World { plain: None, ..World::new(&[10]) };
    assert_eq!(secretive.run(Extent::Everything, None).report.captive_portal, None);
}

/// One request to region 1 by IPv4 that is on its way, and the check that sent it.
fn asked() -> (Check, SocketAddr, TxId) {
    let world = World::new(&[10]);
    let mut check = Check::new(t0(), &world.map, Extent::Full, None, &Seed::new([7; 32]));
    let server = "198.51.100.1:3478".parse().unwrap();
    check.resolved(t0(), NodeId { region: RegionId(1), index: 0 }, vec![server]);
    let sent = std::iter::from_fn(|| check.pop_action()).find_map(|action| match action {
        Action::Stun { tx, .. } => Some(tx),
        _ => None,
    });
    (check, server, sent.unwrap())
}

fn answer(tx: &TxId, own: &str) -> Vec<u8> {
    let mut out = [0; RESPONSE_LEN];
    let len = response(tx, own.parse().unwrap(), &mut out);
    out[..len].to_vec()
}

#[test]
fn trap_an_answer_counts_from_the_server_that_was_asked_and_once() {
    let (mut check, server, tx) = asked();
    let (now, answer) = (t0() + ms(9), answer(&tx, "203.0.113.7:1"));
    let stranger = "198.51.100.66:3478".parse().unwrap();
    assert!(!check.received(now, stranger, &answer), "whoever saw the number go by");
    assert!(!check.received(now, "198.51.100.1:9".parse().unwrap(), &answer));
    assert!(!check.received(now, server, &answer[..20]));
    assert!(check.received(now, server, &answer));
    assert!(!check.received(now, server, &answer), "a copy");
    assert_eq!(latency(&check.report(), 1), Some(9));
}

#[test]
fn trap_an_answer_in_the_form_of_both_families_is_unmapped() {
    let (mut check, _, tx) = asked();
    // As a socket for both families writes the source.
    let source = "[::ffff:198.51.100.1]:3478".parse().unwrap();
    assert!(check.received(t0(), source, &answer(&tx, "203.0.113.7:1")));
    assert_eq!(check.report().global_v4, Some("203.0.113.7:1".parse().unwrap()));
}

#[test]
fn a_translator_between_the_families_tells_a_latency_and_no_address() {
    let (mut check, server, tx) = asked();
    assert!(check.received(t0(), server, &answer(&tx, "[2001:db8::9]:1")));
    let report = check.report();
    assert_eq!((report.udp_v4, report.udp_v6), (Some(true), None), "nobody was asked by IPv6 yet");
    assert_eq!((report.global_v4, report.global_v6), (None, None));
}

proptest! {
    /// Whatever is lost, however slow: a check ends in time, sends no more than planned, and finds no latency that is not there.
    #[test]
    fn a_check_always_ends(
        latencies in prop::collection::vec(1u64..4000, 1..30),
        seed: u8,
        v4: bool,
        v6: bool,
        dns in 0u64..4000,
        home in prop::option::of(1u16..30),
        full: bool,
    ) {
        let lost: [fn(u16, usize) -> bool; 3] = [|_, _| false, |_, n| n % 2 == 0, |region, _| region % 2 == 0];
        let world = World { lost: lost[usize::from(seed % 3)], v4, v6, dns, ..World::new(&latencies) };
        let outcome = world.run(if full { Extent::Full } else { Extent::Everything }, home);
        prop_assert!(outcome.took <= WHOLE);
        prop_assert!(outcome.asked.values().all(|count| *count <= 2 * usize::from(TRIES)));
        for region in &outcome.report.regions {
            let expected = ms(latencies[usize::from(region.region.0) - 1]);
            prop_assert!(region.stun_v4.is_none_or(|found| found == expected));
            prop_assert!(region.stun_v6.is_none_or(|found| found == expected));
        }
    }

    /// Nothing that arrives makes it panic, or changes what is known.
    #[test]
    fn garbage_changes_nothing(datagram in prop::collection::vec(any::<u8>(), 0..100)) {
        let (mut check, server, _) = asked();
        let before = check.report();
        prop_assert!(!check.received(t0(), server, &datagram));
        prop_assert_eq!(check.report(), before);
    }
}
