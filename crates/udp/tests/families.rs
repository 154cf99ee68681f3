//! Whether both families share a port, are heard both, and are missed without harm.

mod pair;

use std::{
    collections::BTreeSet,
    future::poll_fn,
    net::{Ipv4Addr, Ipv6Addr},
};

use pair::*;
use tidewire_packet::Pool;
use tidewire_transport::{FromUnderlay, Hop, Underlay};
use tidewire_udp::{Config, Discard, LocalAddrs, Udp};

#[test]
fn both_families_share_a_port() {
    run(async {
        let udp = Udp::bind(Config::default(), Pool::default()).unwrap();
        let LocalAddrs { v4, v6 } = udp.local_addrs();
        assert_eq!(v4.unwrap().port(), v6.unwrap().port());
        assert_eq!(udp.local_addrs().port(), Some(v4.unwrap().port()));
    });
}

#[test]
fn a_busy_family_does_not_starve_the_other() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        send(&mut alice, &mut item(&pool, Hop::Udp(v6(&bob)), &[vec![6; 10]])).await;
        // Different lengths, so that the kernel coalesces nothing: ten calls' worth of IPv4 behind the one of IPv6.
        let mut singles = numbered(300, 100);
        singles.iter_mut().enumerate().for_each(|(i, datagram)| datagram.truncate(50 + i % 7));
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &singles)).await;
        let mut into = FromUnderlay::default();
        let mut hops = BTreeSet::new();
        for _ in 0..2 {
            poll_fn(|cx| bob.poll_recv(cx, &mut into)).await.unwrap();
            hops.insert(into.runs[0].hop);
        }
        assert!(hops.into_iter().eq([Hop::Udp(v4(&alice)), Hop::Udp(v6(&alice))]), "each had its turn");
    });
}

#[test]
fn a_family_that_is_not_wanted_is_a_counted_discard() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        send(&mut alice, &mut item(&pool, Hop::Udp("[::1]:9".parse().unwrap()), &numbered(3, 20))).await;
        assert_eq!(alice.control().counters().discards.get(Discard::NoSocket), 3);
    });
}

#[test]
fn what_is_to_be_avoided_is_a_counted_discard_and_the_rest_is_sent() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        alice.control().avoid(&[([127, 0, 0, 0].into(), 8)]);
        let mut item = item(&pool, Hop::Udp(v4(&bob)), &numbered(3, 20));
        add(&mut item, Hop::Udp(v6(&bob)), &[vec![6; 10]]);
        send(&mut alice, &mut item).await;
        assert_eq!(bytes(receive(&mut bob, 1).await.0), [vec![6; 10]]);
        // Over a rebind, too.
        alice.control().rebind(None).unwrap();
        send(&mut alice, &mut self::item(&pool, Hop::Udp(v4(&bob)), &numbered(2, 20))).await;
        assert_eq!(alice.control().counters().discards.get(Discard::Avoided), 5);
        alice.control().avoid(&[]);
        send(&mut alice, &mut self::item(&pool, Hop::Udp(v4(&bob)), &[vec![4; 10]])).await;
        assert_eq!(bytes(receive(&mut bob, 1).await.0), [vec![4; 10]]);
    });
}

#[test]
fn no_family_at_all_is_refused() {
    run(async {
        let none = Config { v4: None, v6: None, ..Config::default() };
        let error = Udp::bind(none, Pool::default()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_taken_port_is_refused() {
    run(async {
        let first = Udp::bind(dual(), Pool::default()).unwrap();
        let again = Config { port: v4(&first).port(), ..dual() };
        let error = Udp::bind(again, Pool::default()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    });
}

#[test]
fn an_address_that_is_not_here_is_refused() {
    run(async {
        let elsewhere = Config { v4: Some(Ipv4Addr::new(192, 0, 2, 99)), v6: None, ..Config::default() };
        assert!(Udp::bind(elsewhere, Pool::default()).is_err());
    });
}

#[test]
fn without_a_runtime_binding_is_an_error() {
    assert!(Udp::bind(Config::default(), Pool::default()).is_err());
}

#[test]
fn addresses_are_told_with_the_port_of_their_family() {
    let addrs = LocalAddrs {
        v4: Some((Ipv4Addr::UNSPECIFIED, 41641).into()),
        v6: Some((Ipv6Addr::LOCALHOST, 41642).into()),
    };
    let ips = ["192.0.2.1", "fd00::1", "::1"].map(|ip| ip.parse().unwrap());
    let at: Vec<_> = addrs.reachable_at(&ips).iter().map(ToString::to_string).collect();
    assert_eq!(at, ["192.0.2.1:41641", "[::1]:41642"]);
}
