//! Whether echo requests are answered, over both families, with right checksums.

mod common;

use std::{cell::RefCell, net::IpAddr, rc::Rc, time::Duration};

use common::{A, B, Link, World, address, internet_checksum, ipv4};
use tidewire_netstack::Discard;

fn answers(world: &mut World, packet: &[u8]) -> Vec<Vec<u8>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let list = Rc::clone(&seen);
    world.watch = Some(Box::new(move |_, packet| list.borrow_mut().push(packet.to_vec())));
    world.inject(B, packet);
    world.watch = None;
    seen.take()
}

fn world() -> World {
    World::new(Link::of(Duration::from_millis(1)))
}

fn echo_request(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0x12, 0x34, 0, 7][..], payload].concat()
}

fn ipv6(from: IpAddr, to: IpAddr, protocol: u8, transport: &[u8], sum_at: usize) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else { panic!("IPv6 is asked for") };
    let len = transport.len() as u16;
    let mut summed =
        [&from.octets()[..], &to.octets()[..], &[0, 0], &len.to_be_bytes()[..], &[0, 0, 0, protocol]]
            .concat();
    summed.extend(transport);
    let mut packet = [&[0x60, 0, 0, 0][..], &len.to_be_bytes()[..], &[protocol, 64][..]].concat();
    packet.extend([&from.octets()[..], &to.octets()[..], transport].concat());
    packet[40 + sum_at..42 + sum_at].copy_from_slice(&internet_checksum(&summed).to_be_bytes());
    packet
}

#[test]
fn ipv4_echo_is_answered() {
    let mut world = world();
    for len in [0, 1, 56, 1252] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let request = ipv4(address(A, false), address(B, false), 1, &echo_request(8, &payload), Some(2));
        let answers = answers(&mut world, &request);
        let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
        assert_eq!(answer[12..20], [&request[16..20], &request[12..16]].concat());
        assert_eq!((answer[20], answer[21]), (0, 0));
        assert_eq!(answer[24..], request[24..]);
        assert_eq!((internet_checksum(&answer[..20]), internet_checksum(&answer[20..])), (0, 0));
    }
}

#[test]
fn ipv6_echo_is_answered() {
    let mut world = world();
    let request = ipv6(address(A, true), address(B, true), 58, &echo_request(128, &[9; 100]), 2);
    let answers = answers(&mut world, &request);
    let [answer] = &answers[..] else { panic!("{} answers", answers.len()) };
    assert_eq!((answer[40], answer[6]), (129, 58));
    assert_eq!(answer[44..], request[44..]);
    let again =
        ipv6(address(B, true), address(A, true), 58, &[&answer[40..42], &[0, 0], &answer[44..]].concat(), 2);
    assert_eq!(answer[42..44], again[42..44]);
}

#[test]
fn padding_behind_a_packet_is_not_echoed() {
    let mut world = world();
    let mut request = ipv4(address(A, false), address(B, false), 1, &echo_request(8, b"abc"), Some(2));
    let len = request.len();
    request.extend([0; 13]);
    assert_eq!(answers(&mut world, &request)[0].len(), len);
}

#[test]
fn what_is_no_echo_request_or_is_broken_is_discarded_and_counted() {
    let mut world = world();
    let (a, b) = (address(A, false), address(B, false));
    let good = ipv4(a, b, 1, &echo_request(8, b"abc"), Some(2));
    let changed = |at: usize| {
        let mut packet = good.clone();
        packet[at] ^= 1;
        packet
    };
    let unreachable = ipv4(a, b, 1, &[3, 3, 0, 0, 0, 0, 0, 0], Some(2));
    let other = "100.64.0.77".parse().unwrap();
    let syn = [0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0];
    let cases = [
        (changed(26), Discard::Checksum),
        (changed(8), Discard::Checksum),
        (unreachable, Discard::Icmp),
        (ipv4(a, other, 1, &echo_request(8, b"abc"), Some(2)), Discard::NotOwn),
        (ipv4([224, 0, 0, 1].into(), b, 1, &echo_request(8, b"abc"), Some(2)), Discard::Source),
        (ipv4([0, 0, 0, 0].into(), b, 6, &syn, Some(16)), Discard::Source),
        (ipv4([255; 4].into(), b, 1, &echo_request(8, b"abc"), Some(2)), Discard::Source),
        (ipv4(a, b, 58, &echo_request(128, b"abc"), Some(2)), Discard::Protocol),
        (ipv4(a, b, 99, b"whatever", None), Discard::Protocol),
        (ipv4(a, b, 6, &syn[..19], Some(16)), Discard::Malformed),
        (ipv4(a, b, 17, &[0, 1, 0, 1, 0, 9, 0, 0], Some(6)), Discard::Malformed),
        (good[..15].to_vec(), Discard::Malformed),
        (b"not IP".to_vec(), Discard::Malformed),
    ];
    for (packet, reason) in cases {
        let before = world.stacks[B].tally().get(reason);
        assert!(answers(&mut world, &packet).is_empty(), "{reason:?} {packet:02x?}");
        assert_eq!(world.stacks[B].tally().get(reason), before + 1, "{reason:?} {packet:02x?}");
    }
}

#[test]
fn fragments_are_discarded() {
    let mut world = world();
    for bits in [0x2000_u16, 0x0001, 0x20b9] {
        let mut packet = ipv4(address(A, false), address(B, false), 1, &echo_request(8, b"abc"), Some(2));
        packet[6..8].copy_from_slice(&bits.to_be_bytes());
        packet[10..12].fill(0);
        let sum = internet_checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        assert!(answers(&mut world, &packet).is_empty());
    }
    assert_eq!(world.stacks[B].tally().get(Discard::Fragment), 3);
}
