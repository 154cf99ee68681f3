//! Whether two tunnels shake hands and carry packets to each other, whole and in order.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use tidewire_tunnel::{Discard, Event};

#[test]
fn the_first_packet_shakes_hands_and_arrives() {
    let mut world = World::new();
    world.send_a(b"first");
    let kinds: Vec<_> = world.log.iter().map(|(_, by_a, datagram)| (*by_a, datagram[0])).collect();
    assert_eq!(kinds, [(true, 1), (false, 2), (true, 4)]);
    assert_eq!(world.b.take_data(), [pad(b"first")]);
    assert!(world.a.events.contains(&Event::Established { peer: PEER, initiator: true }));
    assert!(world.b.events.contains(&Event::Established { peer: PEER, initiator: false }));
    world.send_b(b"back");
    assert_eq!(world.a.take_data(), [pad(b"back")]);
    assert_eq!((world.a.tunnel.discards().total(), world.b.tunnel.discards().total()), (0, 0));
}

#[test]
fn an_initiator_without_data_confirms_with_a_keepalive() {
    let mut world = World::new();
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.settle();
    let sent: Vec<_> =
        world.log.iter().map(|(_, by_a, datagram)| (*by_a, datagram[0], datagram.len())).collect();
    assert_eq!(sent, [(true, 1, 148), (false, 2, 92), (true, 4, 32)]);
    assert!(world.b.tunnel.status(world.now, PEER).unwrap().session.is_some());
}

#[test]
fn packets_of_all_sizes_arrive_whole() {
    let mut world = World::connected();
    for len in (1..200).chain([1279, 1280, 1405, 1419, 1420]) {
        let packet: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        world.send_a(&packet);
        assert_eq!(world.b.take_data(), [pad(&packet)], "{len}");
    }
}

#[test]
fn padding_is_to_sixteen_bytes_but_not_beyond_the_mtu() {
    let mut world = World::connected();
    for (len, datagram) in
        [(1, 48), (16, 48), (17, 64), (1408, 1440), (1409, 1452), (1420, 1452), (1500, 1532)]
    {
        world.log.clear();
        world.send_a(&vec![1; len]);
        assert_eq!(world.log[0].2.len(), datagram, "{len}");
    }
}

#[test]
fn padding_takes_no_room_that_the_next_packet_needs() {
    let mut world = World::connected();
    // Laid out without room for padding: 16 bytes behind one and 16 before the next.
    let mut batch = world.a.pool.batch(tidewire_packet::Class::Small);
    for i in 0..3u8 {
        batch.push(&[i; 20]).unwrap();
    }
    let mut to = vec![PEER; 3];
    let sealed = world.a.tunnel.seal(world.now, batch, &mut to, &mut world.a.out);
    let lens: Vec<usize> = sealed.iter().map(<[u8]>::len).collect();
    assert_eq!(lens, [16 + 20 + 16, 16 + 20 + 16, 16 + 32 + 16]);
    let mut opened = Vec::new();
    let plain = world.b.tunnel.open(world.now, sealed, &mut opened, &mut world.b.out);
    assert!(plain.iter().zip(0..3u8).all(|(packet, i)| packet[..20] == [i; 20]));
    assert_eq!(opened.len(), 3);
}

#[test]
fn many_packets_in_one_batch_stay_in_order_and_back_to_back() {
    let mut world = World::connected();
    let packets: Vec<Vec<u8>> = (0..40).map(|i| vec![i; 1420]).collect();
    let refs: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let mut to = vec![PEER; 40];
    let sealed = world.a.tunnel.seal(world.now, world.a.batch(&refs), &mut to, &mut world.a.out);
    assert!((0..39).all(|i| sealed.is_back_to_back(i)));
    assert!(sealed.iter().all(|datagram| datagram.len() == 1452));
    let mut opened = Vec::new();
    let plain = world.b.tunnel.open(world.now, sealed, &mut opened, &mut world.b.out);
    assert!(plain.iter().eq(refs));
    assert!(opened.iter().enumerate().all(|(i, one)| one.peer == PEER && one.datagram == i as u32));
}

#[test]
fn one_bad_datagram_affects_itself_alone() {
    let mut world = World::connected();
    let mut to = vec![PEER; 5];
    let packets: [&[u8]; 5] = [&[0; 64], &[1; 64], &[2; 64], &[3; 64], &[4; 64]];
    let mut sealed = world.a.tunnel.seal(world.now, world.a.batch(&packets), &mut to, &mut world.a.out);
    sealed.get_mut(1).unwrap()[20] ^= 1;
    sealed.get_mut(3).unwrap()[4] ^= 1;
    let mut opened = Vec::new();
    let plain = world.b.tunnel.open(world.now, sealed, &mut opened, &mut world.b.out);
    assert!(plain.iter().eq([packets[0], packets[2], packets[4]]));
    assert_eq!(opened.iter().map(|one| one.datagram).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!((world.b.discarded(Discard::Forged), world.b.discarded(Discard::UnknownIndex)), (1, 1));
}

#[test]
fn both_sides_beginning_at_once_agree_on_one_session() {
    // Whatever comes first at whom: the messages of one round are delivered in each order.
    for order in 0..16u32 {
        let mut world = World::new();
        world.a.send(world.now, PEER, b"from a");
        world.b.send(world.now, PEER, b"from b");
        for round in 0..4 {
            let a_first = order >> round & 1 == 0;
            for turn in 0..2 {
                let (from, to) = if (turn == 0) == a_first {
                    (&mut world.a, &mut world.b)
                } else {
                    (&mut world.b, &mut world.a)
                };
                for datagram in from.take_sent() {
                    to.hear(world.now, source(1), &datagram);
                }
                to.run(world.now);
            }
        }
        for _ in 0..2 {
            world.send_a(b"more from a");
            world.send_b(b"more from b");
        }
        let status =
            [&world.a, &world.b].map(|node| node.tunnel.status(world.now, PEER).unwrap().session.unwrap());
        assert_ne!(status[0].is_initiator, status[1].is_initiator, "order {order:04b}");
        assert_eq!((world.a.take_data().len(), world.b.take_data().len()), (3, 3), "order {order:04b}");
        world.log.clear();
        world.advance(119.0);
        world.send_a(b"a");
        world.send_b(b"b");
        world.advance(2.0);
        world.send_a(b"a");
        world.send_b(b"b");
        assert_eq!(
            world.times(true, 1, t0()).len() + world.times(false, 1, t0()).len(),
            1,
            "order {order:04b}"
        );
    }
}

#[test]
fn a_late_confirmation_of_an_older_session_does_not_replace_a_newer_one() {
    let mut world = World::new();
    world.b.tunnel.initiate(world.now, PEER, &mut world.b.out);
    world.b.collect();
    let initiation = world.b.take_sent().pop().unwrap();
    world.a.hear(world.now, source(2), &initiation);
    world.a.run(world.now);
    let response = world.a.take_sent().pop().unwrap();
    world.b.hear(world.now, source(1), &response);
    world.b.run(world.now);
    let held_back = world.b.take_sent().pop().unwrap();
    world.advance(6.0);
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.settle();
    let newer = world.a.tunnel.status(world.now, PEER).unwrap().session.unwrap();
    assert_eq!((newer.since, newer.is_initiator), (world.now, true));
    world.advance(1.0);
    world.a.received.clear();
    world.a.hear(world.now, source(2), &held_back);
    assert_eq!(world.a.received.len(), 1, "it is genuine, and received");
    assert_eq!(world.a.tunnel.status(world.now, PEER).unwrap().session.unwrap(), newer);
}

#[test]
fn a_peer_that_restarts_within_a_second_is_followed_to_its_new_session() {
    for swapped in [false, true] {
        let mut world = World::new();
        if swapped {
            std::mem::swap(&mut world.a, &mut world.b);
        }
        world.connect();
        let (key, number) = (world.b.key, if swapped { 2 } else { 1 });
        world.a = Node::at(number, world.now);
        world.a.add(world.now, PEER, tidewire_tunnel::PeerConfig::new(key));
        world.a.tunnel.reseed(&tidewire_keys::Seed::new([77; 32]));
        world.advance(1.0);
        world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
        world.settle();
        world.send_b(b"to the new one");
        assert_eq!(world.a.take_data().len(), 1, "{swapped}");
    }
}

fn pad(packet: &[u8]) -> Vec<u8> {
    let mut padded = packet.to_vec();
    padded.resize(tidewire_packet::padded_len(packet.len(), MTU), 0);
    padded
}
