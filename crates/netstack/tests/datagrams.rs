//! Whether datagrams go both ways, to whom they belong, and what does not fit.

mod common;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use common::{A, B, Link, World, address, ipv4};
use tidewire_netstack::{BindError, Config, Discard, Event, Local, SendError};

const SOON: Duration = Duration::from_millis(50);

fn world() -> World {
    World::new(Link::of(Duration::from_millis(10)))
}

#[test]
fn datagrams_go_both_ways_over_both_families() {
    let mut world = world();
    let (a, at) = world.stacks[A].bind(0).unwrap();
    let (b, _) = world.stacks[B].bind(53).unwrap();
    for v6 in [false, true] {
        let (to_a, to_b) = (SocketAddr::new(address(A, v6), at.port), SocketAddr::new(address(B, v6), 53));
        for text in [&b"question"[..], b"", &[7; 1232]] {
            world.stacks[A].send_to(a, text, to_b).unwrap();
            world.pass(SOON);
            assert!(world.events[B].contains(&Event::Udp(b)));
            let from = world.stacks[B].recv_from(b, |bytes, from| {
                assert_eq!(bytes, text);
                from
            });
            assert_eq!(from, Some(to_a));
            world.stacks[B].send_to(b, b"answer", to_a).unwrap();
            world.pass(SOON);
            let got = world.stacks[A].recv_from(a, |bytes, from| (bytes.to_vec(), from));
            assert_eq!(got, Some((b"answer".to_vec(), to_b)));
        }
        assert!(world.stacks[B].recv_from(b, |_, _| ()).is_none());
    }
}

#[test]
fn what_does_not_fit_a_packet_is_refused_with_the_size_that_does() {
    let mut world = world();
    let (a, _) = world.stacks[A].bind(0).unwrap();
    for (v6, most) in [(false, 1252), (true, 1232)] {
        let to = SocketAddr::new(address(B, v6), 53);
        assert_eq!(world.stacks[A].send_to(a, &vec![0; most], to), Ok(()));
        let error = world.stacks[A].send_to(a, &vec![0; most + 1], to);
        assert_eq!(error, Err(SendError::TooLarge { len: most + 1, most }));
    }
}

#[test]
fn what_cannot_be_addressed_is_refused() {
    let mut world = world();
    let v4 = Local { address: Some(address(A, false)), port: 7 };
    let (a, _) = world.stacks[A].bind(v4).unwrap();
    let mut send = |to: &str| world.stacks[A].send_to(a, b"x", to.parse().unwrap());
    assert_eq!(send("100.64.0.2:0"), Err(SendError::Unaddressable));
    assert_eq!(send("0.0.0.0:1"), Err(SendError::Unaddressable));
    assert_eq!(send("239.1.1.1:1"), Err(SendError::Unaddressable));
    assert_eq!(send("[fd00::1]:1"), Err(SendError::NoAddress));
    assert_eq!(send("[::ffff:100.64.0.2]:1"), Ok(()));
    world.stacks[A].unbind(a);
    assert_eq!(world.stacks[A].send_to(a, b"x", "100.64.0.2:1".parse().unwrap()), Err(SendError::Closed));
}

#[test]
fn the_socket_for_one_address_goes_before_the_one_for_all() {
    let mut world = world();
    let (all, _) = world.stacks[B].bind(53).unwrap();
    let (one, _) = world.stacks[B].bind(SocketAddr::new(address(B, false), 53)).unwrap();
    assert_eq!(world.stacks[B].bind(53).unwrap_err(), BindError::InUse(Local::from(53)));
    let (a, _) = world.stacks[A].bind(0).unwrap();
    world.stacks[A].send_to(a, b"four", SocketAddr::new(address(B, false), 53)).unwrap();
    world.stacks[A].send_to(a, b"six", SocketAddr::new(address(B, true), 53)).unwrap();
    world.pass(SOON);
    let mut text = |id| world.stacks[B].recv_from(id, |bytes, _| bytes.to_vec()).unwrap();
    assert_eq!((text(one), text(all)), (b"four".to_vec(), b"six".to_vec()));
}

#[test]
fn a_closed_port_is_answered_with_unreachable() {
    let mut world = world();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let list = Rc::clone(&seen);
    world.watch = Some(Box::new(move |side, packet| {
        if side == B {
            list.borrow_mut().push(packet.to_vec());
        }
    }));
    let (a, _) = world.stacks[A].bind(0).unwrap();
    world.stacks[A].send_to(a, b"anyone?", SocketAddr::new(address(B, false), 9)).unwrap();
    world.pass(SOON);
    let answers = seen.take();
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0][9], &answers[0][20..22]), (1, &[3, 3][..]));
}

#[test]
fn a_socket_that_nobody_reads_drops_and_counts() {
    let mut world = world();
    let (a, _) = world.stacks[A].bind(0).unwrap();
    let (b, _) = world.stacks[B].bind(53).unwrap();
    let to = SocketAddr::new(address(B, false), 53);
    for _ in 0..1500 {
        world.stacks[A].send_to(a, &[1; 1000], to).unwrap();
        world.flush();
    }
    world.pass(SOON);
    let kept = std::iter::from_fn(|| world.stacks[B].recv_from(b, |bytes, _| bytes.len())).count();
    assert!(kept > 200 && kept < 300, "{kept} datagrams of 1000 bytes in 256 KiB");
    assert_eq!(world.stacks[B].tally().get(Discard::Datagrams), 1500 - kept as u64);
}

#[test]
fn a_full_queue_says_so_and_says_when_there_is_room() {
    let mut world = world();
    let (a, _) = world.stacks[A].bind(0).unwrap();
    let to = SocketAddr::new(address(B, false), 53);
    let mut taken = 0;
    while world.stacks[A].send_to(a, &[1; 1000], to) == Ok(()) {
        taken += 1;
    }
    assert_eq!(world.stacks[A].send_to(a, &[1; 1000], to), Err(SendError::Full));
    assert!(world.events[A].is_empty());
    world.flush();
    assert_eq!(world.events[A], [Event::Udp(a)]);
    assert_eq!(world.sent[A], taken);
    assert_eq!(world.stacks[A].send_to(a, &[1; 1000], to), Ok(()));
}

#[test]
fn what_was_sent_before_letting_go_still_leaves_and_the_port_is_free_at_once() {
    let mut world = world();
    let (a, at) = world.stacks[A].bind(0).unwrap();
    world.stacks[A].send_to(a, b"bye", SocketAddr::new(address(B, false), 53)).unwrap();
    world.stacks[A].unbind(a);
    assert!(world.stacks[A].bind(at).is_ok());
    world.flush();
    assert_eq!((world.sent[A], world.sockets(A)), (1, 1));
}

#[test]
fn a_datagram_without_a_checksum_is_taken_over_ipv4() {
    let mut world = world();
    let (b, _) = world.stacks[B].bind(53).unwrap();
    let datagram = [0, 7, 0, 53, 0, 10, 0, 0, b'h', b'i'];
    world.inject(B, &ipv4(address(A, false), address(B, false), 17, &datagram, None));
    assert_eq!(world.stacks[B].recv_from(b, |bytes, _| bytes.to_vec()), Some(b"hi".to_vec()));
}

#[test]
fn memory_for_sockets_is_bounded() {
    let mut config = Config::new(vec![address(A, false)], [1; 32]);
    config.limits.memory = 2 << 20;
    let mut world = World::with([config, common::config(B)], Link::of(Duration::from_millis(1)));
    let bound = std::iter::from_fn(|| world.stacks[A].bind(0).ok()).count();
    assert_eq!(bound, 4);
    assert_eq!(world.stacks[A].bind(0).unwrap_err(), BindError::TooManySockets);
}
