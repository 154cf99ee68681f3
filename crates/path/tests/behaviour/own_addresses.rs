//! What STUN and the interfaces say of this node itself.

use tidewire_path::{Discard, Event, Why};

use crate::kit::{Lone, PEER, addr, t0};

const ONE: &str = "198.51.100.1:3478";
const TWO: &str = "198.51.100.2:3478";
const SIX: &str = "[2001:db8::1]:3478";
const SEEN: &str = "203.0.113.7:40001";
const LOCAL: &str = "192.168.7.7:41641";

fn with(servers: &[&str]) -> Lone {
    let mut lone = Lone::new();
    let servers = servers.iter().map(|server| addr(server)).collect();
    lone.call(|paths, now, _| paths.set_stun_servers(now, servers));
    lone.run(0);
    lone
}

fn own(lone: &Lone) -> Vec<std::net::SocketAddr> {
    lone.paths.own(lone.now).addresses
}

#[test]
fn servers_are_asked_at_once_and_again_soon_while_they_are_silent() {
    let mut lone = with(&[ONE, TWO]);
    lone.run(100);
    lone.stun_answer(TWO, SEEN);
    lone.run(60_000);
    let times: Vec<_> = lone.stun_requests().into_iter().map(|(at, server, _)| (at, server)).collect();
    let (one, two) = (addr(ONE), addr(TWO));
    assert_eq!(times, [(0, one), (0, two), (200, one), (600, one), (1_500, one)]);
}

#[test]
fn what_a_server_saw_comes_first_and_is_told() {
    let mut lone = with(&[ONE]);
    lone.stun_answer(ONE, SEEN);
    assert_eq!(own(&lone), [addr(SEEN), addr(LOCAL)]);
    assert!(lone.events.contains(&Event::OwnAddresses(vec![addr(SEEN), addr(LOCAL)])));
}

#[test]
fn the_same_answer_again_is_no_news() {
    let mut lone = with(&[ONE, TWO]);
    lone.stun_answer(ONE, SEEN);
    lone.events.clear();
    lone.stun_answer(TWO, SEEN);
    assert!(lone.events.is_empty());
}

#[test]
fn an_answer_counts_only_with_its_number_and_from_its_server() {
    let mut lone = with(&[ONE, TWO]);
    let asked = lone.stun_requests();
    lone.stun_response("203.0.113.66:3478", asked[0].2, SEEN);
    lone.stun_response(TWO, asked[0].2, SEEN);
    lone.stun_response(ONE, tidewire_stun::TxId([9; 12]), SEEN);
    assert_eq!(lone.discarded(Discard::StunUnmatched), 3);
    assert_eq!(own(&lone), [addr(LOCAL)]);
    lone.stun_response(ONE, asked[0].2, SEEN);
    lone.stun_response(ONE, asked[0].2, "203.0.113.8:1");
    assert_eq!(own(&lone), [addr(SEEN), addr(LOCAL)], "once only");
}

#[test]
fn an_answer_by_derp_is_none() {
    let mut lone = with(&[ONE]);
    let tx = lone.stun_requests()[0].2;
    let mut response = [0; tidewire_stun::RESPONSE_LEN];
    let len = tidewire_stun::response(&tx, addr(SEEN), &mut response);
    let hop = lone.relay();
    lone.call(|paths, now, out| paths.stun(now, hop, &response[..len], out));
    assert_eq!(lone.discarded(Discard::StunUnmatched), 1);
}

#[test]
fn requests_and_garbage_are_counted_and_not_answered() {
    let mut lone = with(&[]);
    let request = tidewire_stun::request(&tidewire_stun::TxId([1; 12]));
    let hop = tidewire_transport::Hop::Udp(addr(ONE));
    for datagram in [&request[..], &[], &[0; 19], &[0xff; 2000]] {
        lone.call(|paths, now, out| paths.stun(now, hop, datagram, out));
    }
    assert_eq!(lone.discarded(Discard::Stun), 4);
    assert!(lone.sent().is_empty() && lone.stun_requests().is_empty());
}

#[test]
fn an_answer_from_a_wildcard_socket_is_the_ipv4_address_that_it_is() {
    let mut lone = with(&[ONE]);
    let tx = lone.stun_requests()[0].2;
    // As a relay with one socket for both families writes it: family 2, ::ffff:203.0.113.7.
    let mut response = vec![1, 1, 0, 24, 0x21, 0x12, 0xa4, 0x42];
    response.extend(tx.0);
    response.extend([0, 0x20, 0, 20, 0, 2]);
    response.extend((40_001_u16 ^ 0x2112).to_be_bytes());
    let mask = [&[0x21, 0x12, 0xa4, 0x42][..], &tx.0].concat();
    let ip = std::net::Ipv4Addr::new(203, 0, 113, 7).to_ipv6_mapped().octets();
    response.extend(ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    let hop = tidewire_transport::Hop::Udp(addr(ONE));
    lone.call(|paths, now, out| paths.stun(now, hop, &response, out));
    assert_eq!(own(&lone)[0], addr(SEEN));
}

#[test]
fn while_the_node_is_active_they_are_asked_each_20_to_26_s() {
    let mut lone = with(&[ONE]);
    let mut times = vec![];
    while lone.at() < 400_000 {
        lone.paths.sending(lone.now, PEER);
        for (at, server, tx) in lone.stun_requests() {
            times.push(at);
            lone.stun_response(&server.to_string(), tx, SEEN);
        }
        lone.run(100);
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() > 14, "{gaps:?}");
    assert!(gaps[1..].iter().all(|gap| (20_000..=26_000).contains(gap)), "{gaps:?}");
    assert!(gaps[1..].windows(2).any(|pair| pair[0] != pair[1]), "not in step with other nodes");
}

#[test]
fn an_idle_node_does_not_ask() {
    let mut lone = with(&[ONE]);
    lone.stun_answer(ONE, SEEN);
    lone.stun_requests();
    lone.run_to(600_000);
    assert!(lone.stun_requests().is_empty());
    assert_eq!(lone.paths.next_event(), None);
    lone.send();
    lone.run(0);
    assert_eq!(lone.stun_requests().len(), 1, "active again");
    lone.run(120_000);
    let last = lone.stun_requests().last().unwrap().0;
    assert!((645_000..=675_000).contains(&last) || last < 650_000, "{last}");
    assert_eq!(lone.paths.next_event(), None);
}

#[test]
fn servers_that_come_while_the_node_is_active_are_asked_on() {
    let mut lone = Lone::new();
    lone.send();
    lone.call(|paths, now, _| paths.set_stun_servers(now, vec![addr(ONE)]));
    lone.run(0);
    lone.stun_answer(ONE, SEEN);
    lone.stun_requests();
    lone.chat_to(30_000);
    assert!(!lone.stun_requests().is_empty());
}

#[test]
fn a_mapping_that_varies_by_destination_is_noted() {
    let mut lone = with(&[ONE, TWO, SIX]);
    assert_eq!(lone.paths.own(lone.now).mapping_varies, None);
    lone.stun_answer(ONE, "203.0.113.7:40001");
    lone.stun_answer(SIX, "[2001:db8::77]:41641");
    assert_eq!(lone.paths.own(lone.now).mapping_varies, None, "one IPv4 server says nothing");
    lone.stun_answer(TWO, "203.0.113.7:40002");
    assert_eq!(lone.paths.own(lone.now).mapping_varies, Some(true));
    assert!(own(&lone).contains(&addr("203.0.113.7:41641")), "the owner may have forwarded the local port");

    let mut lone = with(&[ONE, TWO]);
    lone.stun_answer(ONE, SEEN);
    lone.stun_answer(TWO, SEEN);
    assert_eq!(lone.paths.own(lone.now).mapping_varies, Some(false));
    assert_eq!(own(&lone), [addr(SEEN), addr(LOCAL)]);
}

#[test]
fn a_nat_that_forgot_is_not_taken_for_one_that_varies() {
    let mut lone = with(&[ONE, TWO]);
    lone.stun_answer(ONE, "203.0.113.7:40001");
    lone.stun_answer(TWO, "203.0.113.7:40001");
    lone.run_to(100_000);
    lone.send();
    lone.run(10);
    lone.stun_answer(ONE, "203.0.113.7:50001");
    assert_ne!(lone.paths.own(lone.now).mapping_varies, Some(true));
    lone.stun_answer(TWO, "203.0.113.7:50001");
    assert_eq!(lone.paths.own(lone.now).mapping_varies, Some(false));
}

#[test]
fn loopback_counts_only_where_there_is_nothing_else() {
    let mut lone = Lone::new();
    let (loopback, link_local) = (addr("127.0.0.1:41641"), addr("[fe80::1]:41641"));
    lone.call(|paths, now, out| paths.set_local(now, vec![loopback, link_local, addr(LOCAL)], out));
    assert_eq!(own(&lone), [addr(LOCAL)]);
    lone.call(|paths, now, out| paths.set_local(now, vec![loopback, link_local], out));
    assert_eq!(own(&lone), [loopback]);
}

#[test]
fn an_address_that_stun_no_longer_confirms_is_told_for_five_minutes() {
    let mut lone = with(&[ONE, TWO]);
    lone.stun_answer(ONE, SEEN);
    lone.stun_answer(TWO, SEEN);
    lone.chat_to(300_000);
    assert_eq!(own(&lone)[0], addr(SEEN));
    lone.chat_to(340_000);
    assert_eq!(own(&lone), [addr(LOCAL)]);
}

#[test]
fn the_wait_for_answers_has_an_end_and_its_reasons() {
    let lone = with(&[ONE]);
    assert_eq!(lone.paths.next_event(), Some((t0() + crate::kit::ms(200), Why::Stun)));
    let mut lone = lone;
    lone.run_to(1_500);
    assert_eq!(lone.paths.next_event(), Some((t0() + crate::kit::ms(3_000), Why::StunEnds)));
    lone.run_to(3_000);
    assert_eq!(lone.paths.next_event(), None);
}
