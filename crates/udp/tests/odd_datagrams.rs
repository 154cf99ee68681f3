//! Whether datagrams that cannot be sent, have no bytes or go nowhere are counted and do not disturb the others.

mod pair;

use pair::*;
use tidewire_packet::{Class, Pool};
use tidewire_transport::{Hop, ToUnderlay};
use tidewire_udp::{Discard, Udp};

#[test]
fn a_datagram_that_is_too_long_for_udp_is_a_counted_discard() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut bob = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut item = ToUnderlay { batch: pool.batch(Class::Receive), ..Default::default() };
        add(&mut item, Hop::Udp(v4(&bob)), &[vec![1; 65_508], vec![2; 20]]);
        send(&mut alice, &mut item).await;
        assert_eq!(bytes(receive(&mut bob, 1).await.0), [vec![2; 20]]);
        let counters = alice.control().counters();
        assert_eq!((counters.sent, counters.discards.get(Discard::TooLong)), (1, 1));
    });
}

#[test]
fn the_longest_datagram_arrives_whole() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut bob = Udp::bind(v4_only(), pool.clone()).unwrap();
        let sent = numbered(2, 65_507);
        let mut item = ToUnderlay { batch: pool.batch(Class::Receive), ..Default::default() };
        add(&mut item, Hop::Udp(v4(&bob)), &sent);
        send(&mut alice, &mut item).await;
        assert_eq!(bytes(receive(&mut bob, 2).await.0), sent);
    });
}

#[test]
fn a_datagram_without_bytes_is_handed_up_as_it_is() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut bob = Udp::bind(v4_only(), pool.clone()).unwrap();
        let sent = [vec![1; 5], vec![], vec![2; 5]];
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &sent)).await;
        assert_eq!(bytes(receive(&mut bob, 3).await.0), sent);
    });
}

#[test]
fn a_dead_port_is_no_fault_and_holds_nobody_up() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        let (dead4, dead6) = {
            let gone = Udp::bind(dual(), pool.clone()).unwrap();
            (v4(&gone), v6(&gone))
        };
        for _ in 0..20 {
            send(&mut alice, &mut item(&pool, Hop::Udp(dead4), &numbered(10, 100))).await;
            send(&mut alice, &mut item(&pool, Hop::Udp(dead6), &numbered(10, 100))).await;
        }
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &[vec![1; 9]])).await;
        assert_eq!(bytes(receive(&mut bob, 1).await.0), [vec![1; 9]]);
        send(&mut bob, &mut item(&pool, Hop::Udp(v4(&alice)), &[vec![2; 9]])).await;
        assert_eq!(bytes(receive(&mut alice, 1).await.0), [vec![2; 9]]);
    });
}

#[test]
fn impossible_destinations_are_counted_discards() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        // No port, and broadcast without leave.
        for to in ["127.0.0.1:0", "[::1]:0", "255.255.255.255:9"] {
            send(&mut alice, &mut item(&pool, Hop::Udp(to.parse().unwrap()), &numbered(3, 100))).await;
        }
        let discards = alice.control().counters().discards;
        let all: u64 = Discard::ALL.into_iter().map(|reason| discards.get(reason)).sum();
        assert_eq!(all, 9, "{discards:?}");
    });
}
