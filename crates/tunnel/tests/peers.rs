//! What adding, changing and removing peers does to sessions, to what waits, and across a restart.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::*;
use tidewire_keys::{Epoch, PeerId};
use tidewire_tunnel::{Discard, Event, Message, PeerConfig, Shard, WAITING_BYTES, WAITING_PACKETS};

#[test]
fn packets_wait_in_order_and_go_out_when_there_is_a_session() {
    let mut world = World::new();
    let packets: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; 100 + usize::from(i) * 13]).collect();
    let refs: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    world.a.send_all(world.now, PEER, &refs[..40]);
    world.a.send_all(world.now, PEER, &refs[40..80]);
    world.a.send_all(world.now, PEER, &refs[80..]);
    assert_eq!(world.a.tunnel.status(world.now, PEER).unwrap().waiting, 100);
    world.settle();
    let received = world.b.take_data();
    assert!(received.len() == 100 && received.iter().zip(&packets).all(|(a, b)| a.starts_with(b)));
    assert_eq!(world.a.tunnel.status(world.now, PEER).unwrap().waiting, 0);
    assert_eq!(world.times(true, 1, t0()), [0.0]);
}

#[test]
fn too_many_that_wait_push_out_the_oldest() {
    let mut world = World::new();
    for i in 0..WAITING_PACKETS + 5 {
        world.a.send(world.now, PEER, &(i as u32).to_le_bytes());
    }
    assert_eq!(world.a.discarded(Discard::WaitingFull), 5);
    world.settle();
    let received = world.b.take_data();
    assert_eq!(received.len(), WAITING_PACKETS);
    assert_eq!(received[0][..4], 5u32.to_le_bytes());
}

#[test]
fn what_waits_holds_no_slab() {
    let mut world = World::new();
    world.cut = (true, true);
    let misses = |world: &World| tidewire_packet::Class::ALL.map(|class| world.a.pool.misses(class));
    world.send_a(&[1; 1000]);
    let before = misses(&world);
    for _ in 0..50 {
        world.send_a(&[1; 1000]);
    }
    assert_eq!(misses(&world), before, "every batch went back to the pool");
}

#[test]
fn removing_a_peer_leaves_nothing_of_it() {
    let mut world = World::connected();
    world.b.send(world.now, PEER, b"late");
    let late = world.b.take_sent().pop().unwrap();
    world.a.tunnel.remove_peer(PEER);
    assert_eq!(world.a.tunnel.next_event(), None);
    assert_eq!(world.a.tunnel.status(world.now, PEER), None);
    assert_eq!(world.a.tunnel.peer_by_key(&world.b.key), None);
    world.a.hear(world.now, source(2), &late);
    assert_eq!(world.a.discarded(Discard::UnknownIndex), 1);
    world.a.send(world.now, PEER, b"to nobody");
    assert_eq!(world.a.discarded(Discard::UnknownPeer), 1);
    world.advance(6.0);
    world.b.tunnel.initiate(world.now, PEER, &mut world.b.out);
    world.settle();
    assert_eq!(world.a.discarded(Discard::UnknownInitiator), 1);
}

#[test]
fn what_waits_for_a_removed_peer_is_counted() {
    let mut world = World::new();
    world.a.send_all(world.now, PEER, &[b"one", b"two"]);
    world.a.tunnel.remove_peer(PEER);
    assert_eq!(world.a.discarded(Discard::PeerGone), 2);
}

#[test]
fn packets_for_some_peers_do_not_hold_up_those_for_others() {
    let mut world = World::connected();
    world.a.add(world.now, PeerId(8), PeerConfig::new(public(8)));
    let mut to = vec![PeerId(8), PEER, PeerId(99), PEER, PeerId(8)];
    let batch = world.a.batch(&[&[0; 32], &[1; 32], &[2; 32], &[3; 32], &[4; 32]]);
    let sealed = world.a.tunnel.seal(world.now, batch, &mut to, &mut world.a.out);
    assert_eq!(to, [PEER, PEER]);
    let mut opened = Vec::new();
    let plain = world.b.tunnel.open(world.now, sealed, &mut opened, &mut world.b.out);
    assert!(plain.iter().eq([[1; 32], [3; 32]]));
    assert_eq!(world.a.tunnel.status(world.now, PeerId(8)).unwrap().waiting, 2);
    assert_eq!(world.a.discarded(Discard::UnknownPeer), 1);
}

#[test]
fn more_packets_than_receivers_are_for_nobody() {
    let mut world = World::connected();
    let mut to = vec![PEER];
    let batch = world.a.batch(&[&[0; 32], &[1; 32], &[2; 32]]);
    let sealed = world.a.tunnel.seal(world.now, batch, &mut to, &mut world.a.out);
    assert_eq!((sealed.len(), to.len()), (1, 1));
    assert_eq!(world.a.discarded(Discard::UnknownPeer), 2);
    let mut to = vec![PEER; 9];
    let batch = world.a.batch(&[&[0; 32]]);
    assert_eq!(world.a.tunnel.seal(world.now, batch, &mut to, &mut world.a.out).len(), to.len());
}

#[test]
fn setting_a_peer_again_keeps_its_session() {
    let mut world = World::connected();
    world.a.add(world.now, PEER, PeerConfig::new(world.b.key));
    assert!(world.a.events.is_empty());
    world.send_a(b"still the same session");
    assert_eq!(world.times(true, 1, t0()), []);
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn another_key_makes_it_another_peer() {
    let mut world = World::connected();
    world.a.add(world.now, PEER, PeerConfig::new(public(9)));
    assert_eq!(world.a.take_events(), [Event::Expired { peer: PEER }]);
    assert_eq!(world.a.tunnel.peer_by_key(&public(9)), Some(PEER));
    assert_eq!(world.a.tunnel.peer_by_key(&world.b.key), None);
    world.a.send(world.now, PEER, b"for the other one");
    assert_eq!(kinds(&world.a.take_sent()), [1]);
}

#[test]
fn a_key_that_moves_to_another_number_belongs_to_that_one_alone() {
    let mut world = World::connected();
    world.a.add(world.now, PeerId(20), PeerConfig::new(world.b.key));
    assert_eq!(world.a.tunnel.peer_by_key(&world.b.key), Some(PeerId(20)));
    assert_eq!(world.a.tunnel.status(world.now, PEER), None);
    assert_eq!(world.a.take_events(), [Event::Expired { peer: PEER }]);
}

#[test]
fn a_preshared_key_is_changed_live_and_holds_from_the_next_handshake() {
    let mut world = World::connected();
    let set = |node: &mut Node, now, key, n| {
        let mut config = PeerConfig::new(key);
        config.psk = psk(n);
        node.add(now, PEER, config);
    };
    set(&mut world.a, world.now, public(2), 7);
    world.send_a(b"the session stays");
    assert_eq!(world.b.take_data().len(), 1);
    world.advance(6.0);
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.settle();
    assert_eq!(world.a.discarded(Discard::BadResponse), 1);
    set(&mut world.b, world.now, public(1), 7);
    world.advance(6.0);
    assert!(world.a.take_events().contains(&Event::Established { peer: PEER, initiator: true }));
    world.send_a(b"a new session");
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn a_preshared_key_holds_for_a_handshake_in_flight() {
    let mut world = World::new();
    let mut config = PeerConfig::new(world.a.key);
    config.psk = psk(7);
    world.b.add(world.now, PEER, config.clone());
    world.a.send(world.now, PEER, b"first");
    config.key = world.b.key;
    world.a.add(world.now, PEER, config);
    world.settle();
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn expiring_a_peer_forgets_its_keys_and_the_next_packet_begins_anew() {
    let mut world = World::connected();
    world.advance(6.0);
    world.a.tunnel.expire_peer(PEER, &mut world.a.out);
    world.a.collect();
    assert_eq!(world.a.take_events(), [Event::Expired { peer: PEER }]);
    assert!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_none());
    world.send_a(b"again");
    assert_eq!(world.b.take_data().len(), 1);
}

#[test]
fn bytes_are_counted_as_they_are_on_the_wire() {
    let mut world = World::new();
    world.send_a(&[0; 100]);
    let of = |node: &Node, now| {
        let status = node.tunnel.status(now, PEER).unwrap();
        (status.tx_bytes, status.rx_bytes)
    };
    let forth = 148 + 16 + 112 + 16;
    assert_eq!(of(&world.a, world.now), (forth, 92));
    assert_eq!(of(&world.b, world.now), (92, forth));
    world.b.hear(world.now, source(1), &[4; 64]);
    assert_eq!(of(&world.b, world.now), (92, forth), "forgeries are not counted");
}

#[test]
fn stamps_grow_also_across_a_restart() {
    let mut world = World::connected();
    world.advance(1000.0);
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.settle();
    let floor = world.a.tunnel.last_stamp().unwrap();
    // It starts again, and its clock has gone back by a day.
    let epoch = Epoch::new(Duration::from_secs(1_700_000_000 - 86_400));
    world.advance(6.0);
    for (epoch, works) in
        [(Epoch::new(Duration::from_secs(1_600_000_000)), false), (epoch.with_floor(floor), true)]
    {
        world.a = Node::with(1, world.now, epoch, Shard::default());
        world.a.add(world.now, PEER, PeerConfig::new(public(2)));
        world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
        world.settle();
        assert_eq!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_some(), works);
    }
    assert_eq!(world.b.discarded(Discard::OldInitiation), 1);
    assert!(world.a.tunnel.last_stamp().unwrap() > floor);
}

#[test]
fn a_clock_that_was_behind_at_the_start_is_followed_once_it_is_set() {
    let mut world = World::connected();
    world.advance(10.0);
    // It starts again with the clock of a machine that does not know the time yet.
    world.a = Node::with(1, world.now, Epoch::new(Duration::from_secs(100)), Shard::default());
    world.a.add(world.now, PEER, PeerConfig::new(public(2)));
    for (unix, works) in [(50, false), (1_700_000_000 + 3600, true)] {
        world.a.tunnel.raise_wall_time(world.now, Duration::from_secs(unix));
        world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
        world.advance(6.0);
        assert_eq!(world.a.tunnel.status(world.now, PEER).unwrap().session.is_some(), works);
    }
    // Set back again it does not take stamps with it.
    let before = world.a.tunnel.last_stamp();
    world.a.tunnel.raise_wall_time(world.now, Duration::from_secs(100));
    world.a.tunnel.initiate(world.now, PEER, &mut world.a.out);
    world.advance(6.0);
    assert!(world.a.tunnel.last_stamp() > before);
}

#[test]
fn packets_for_peers_that_never_answer_push_out_none_of_others() {
    let mut a = Node::new(1);
    for id in 0..8 {
        a.add(t0(), PeerId(id), PeerConfig::new(public(100 + id as u8)));
    }
    let fill = |a: &mut Node| {
        for id in 0..7 {
            let batch = a.batch(&vec![&[1; 1400][..]; 40]);
            for _ in 0..8 {
                let again = a.batch(&batch.iter().collect::<Vec<_>>());
                drop(a.tunnel.seal(t0(), again, &mut vec![PeerId(id); 40], &mut a.out));
            }
        }
    };
    fill(&mut a);
    for _ in 0..10 {
        let one = a.batch(&[&[2; 1400]]);
        drop(a.tunnel.seal(t0(), one, &mut vec![PeerId(7)], &mut a.out));
    }
    fill(&mut a);
    let waiting = |id| a.tunnel.status(t0(), PeerId(id)).unwrap().waiting;
    assert_eq!(waiting(7), 10);
    let all: usize = (0..8).map(waiting).sum();
    assert!(all * 1400 <= WAITING_BYTES && all * 1400 > WAITING_BYTES - 1400, "{all}");
}

#[test]
fn indexes_name_the_shard() {
    let shard = Shard::new(4, 11).unwrap();
    let mut a = Node::with(1, t0(), Epoch::new(Duration::ZERO), shard);
    for id in 0..50 {
        a.add(t0(), PeerId(id), PeerConfig::new(public(100 + id as u8)));
        a.tunnel.initiate(t0(), PeerId(id), &mut a.out);
    }
    a.collect();
    for datagram in a.take_sent() {
        let Ok(Message::Initiation(initiation)) = Message::parse(&datagram) else { panic!() };
        assert_eq!(Shard::of(4, initiation.sender.get()), 11);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut world = World::new();
        world.send_a(b"packet");
        world.advance(200.0);
        world.send_b(b"packet");
        world.log.into_iter().map(|(at, _, datagram)| (at, datagram)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn fresh_randomness_changes_what_follows() {
    let run = |byte: Option<u8>| {
        let mut a = Node::new(1);
        a.add(t0(), PEER, PeerConfig::new(public(2)));
        if let Some(byte) = byte {
            a.tunnel.reseed(&tidewire_keys::Seed::new([byte; 32]));
        }
        a.tunnel.initiate(t0(), PEER, &mut a.out);
        a.collect();
        a.take_sent().pop().unwrap()
    };
    assert_eq!(run(Some(1)), run(Some(1)));
    assert_ne!(run(Some(1)), run(Some(2)));
    assert_ne!(run(Some(1)), run(None));
}

#[test]
fn a_thousand_peers_that_are_due_at_once_are_served_in_portions() {
    let mut a = Node::new(1);
    for id in 0..1000u32 {
        let mut key = [0; 32];
        key[1..5].copy_from_slice(&(id + 3).to_le_bytes());
        let key = tidewire_keys::NodeSecret::from_bytes(key).public();
        a.add(t0(), PeerId(id), PeerConfig { keepalive: Some(secs(25.0)), ..PeerConfig::new(key) });
    }
    assert!(a.sent.is_empty(), "adding is cheap; keys are agreed when they are needed");
    a.tunnel.process_events(t0(), &mut a.out);
    a.collect();
    assert!((1..10).contains(&a.sent.len()), "{}", a.sent.len());
    a.run(t0());
    assert_eq!(a.sent.len(), 1000);
}
