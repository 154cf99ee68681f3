//! Whether runs of equal datagrams leave in one call and arrive as runs, byte for byte.

mod pair;

use pair::*;
use tidewire_packet::Pool;
use tidewire_transport::Hop;
use tidewire_udp::{Config, Udp};

fn over(config: Config, family: fn(&Udp) -> std::net::SocketAddr) {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(config.clone(), pool.clone()).unwrap();
        let mut bob = Udp::bind(config, pool.clone()).unwrap();
        let sent = numbered(45, 1452);
        send(&mut alice, &mut item(&pool, Hop::Udp(family(&bob)), &sent)).await;
        assert_eq!(alice.control().counters().send_calls, 1);
        let (datagrams, runs) = receive(&mut bob, 45).await;
        assert!(datagrams.iter().all(|(hop, _)| *hop == Hop::Udp(family(&alice))));
        assert_eq!(bytes(datagrams), sent);
        assert_eq!(runs, [[(45, 1452)]]);
    });
}

#[test]
fn forty_five_full_datagrams_are_one_run_over_ipv4() {
    over(v4_only(), v4);
}

#[test]
fn forty_five_full_datagrams_are_one_run_over_ipv6() {
    over(v6_only(), v6);
}

#[test]
fn the_last_datagram_of_a_run_may_be_shorter() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut bob = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut sent = numbered(9, 1000);
        sent.push(vec![9; 32]);
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &sent)).await;
        assert_eq!(alice.control().counters().send_calls, 1);
        let (datagrams, runs) = receive(&mut bob, 10).await;
        assert_eq!(bytes(datagrams), sent);
        assert_eq!(runs, [[(10, 1000)]]);
    });
}

#[test]
fn a_run_beyond_the_limits_of_one_call_is_cut_by_them() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut bob = Udp::bind(v4_only(), pool.clone()).unwrap();
        // 64 segments a call at most.
        let small = numbered(200, 96);
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &small)).await;
        assert_eq!(alice.control().counters().send_calls, 4);
        assert_eq!(bytes(receive(&mut bob, 200).await.0), small);
        // 65,507 bytes a call at most: 7 of 8,972.
        let large = numbered(20, 8972);
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &large)).await;
        assert_eq!(alice.control().counters().send_calls, 4 + 3);
        assert_eq!(bytes(receive(&mut bob, 20).await.0), large);
        assert_eq!(alice.control().counters().unsegmented, 0);
    });
}

#[test]
fn without_offload_the_same_bytes_arrive_in_the_same_order() {
    run(async {
        let pool = Pool::default();
        let config = Config { gso: false, gro: false, ..v4_only() };
        let mut alice = Udp::bind(config.clone(), pool.clone()).unwrap();
        let mut bob = Udp::bind(config, pool.clone()).unwrap();
        let sent = numbered(45, 1452);
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &sent)).await;
        assert_eq!(alice.control().counters().send_calls, 45);
        let (datagrams, runs) = receive(&mut bob, 45).await;
        assert_eq!(bytes(datagrams), sent);
        // Messages of one hop are one run, each on its own in it; a call holds 32.
        assert!(runs.iter().all(|run| matches!(run[..], [(1, 1452) | (2..=32, 0)])), "{runs:?}");
    });
}

#[test]
fn datagrams_of_different_lengths_and_hops_arrive_each_where_it_belongs() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        let mut carol = Udp::bind(dual(), pool.clone()).unwrap();
        let mut item = item(&pool, Hop::Udp(v4(&bob)), &[vec![1; 100], vec![2; 300], vec![3; 300]]);
        add(&mut item, Hop::Udp(v6(&carol)), &[vec![4; 300], vec![5; 300]]);
        add(&mut item, Hop::Udp(v4(&bob)), &[vec![6; 50]]);
        send(&mut alice, &mut item).await;
        let at_bob = bytes(receive(&mut bob, 4).await.0);
        assert_eq!(at_bob, [vec![1; 100], vec![2; 300], vec![3; 300], vec![6; 50]]);
        let at_carol = receive(&mut carol, 2).await.0;
        assert_eq!(at_carol, [4u8, 5].map(|i| (Hop::Udp(v6(&alice)), vec![i; 300])));
    });
}

#[test]
fn a_super_packet_never_spans_a_gap_in_the_slab() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut bob = Udp::bind(v4_only(), pool.clone()).unwrap();
        let sent = numbered(4, 500);
        let mut item = item(&pool, Hop::Udp(v4(&bob)), &sent);
        item.batch.retain(|i, _| i != 1);
        item.runs[0].count = 3;
        send(&mut alice, &mut item).await;
        assert_eq!(alice.control().counters().send_calls, 2);
        assert_eq!(bytes(receive(&mut bob, 3).await.0), [&sent[0][..], &sent[2], &sent[3]]);
    });
}

#[test]
fn a_relayed_hop_is_sent_to_its_server_as_the_bytes_stand() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(v4_only(), pool.clone()).unwrap();
        let mut server = Udp::bind(v4_only(), pool.clone()).unwrap();
        let vni = tidewire_transport::Vni::new(7).unwrap();
        let hop = Hop::Relayed { server: v4(&server), vni };
        assert!(tidewire_transport::Underlay::carries(&alice, &hop));
        send(&mut alice, &mut item(&pool, hop, &[vec![7; 40]])).await;
        assert_eq!(receive(&mut server, 1).await.0, [(Hop::Udp(v4(&alice)), vec![7; 40])]);
    });
}
