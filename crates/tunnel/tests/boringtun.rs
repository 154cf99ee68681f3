//! Whether an independent implementation, boringtun, understands what we send and we what it sends.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use boringtun::{
    noise::{Tunn, TunnResult, rate_limiter::RateLimiter},
    x25519,
};
use common::*;
use tidewire_tunnel::{Discard, PeerConfig};

const PLACE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

/// A boringtun tunnel and what it delivered.
struct Boring {
    tunn: Tunn,
    received: Vec<Vec<u8>>,
}

impl Boring {
    fn new(own: u8, peer: u8, psk: Option<u8>, limit: u64) -> Self {
        let own = x25519::StaticSecret::from([own; 32]);
        let limiter = Arc::new(RateLimiter::new(&x25519::PublicKey::from(&own), limit));
        let peer = x25519::PublicKey::from(&x25519::StaticSecret::from([peer; 32]));
        let tunn = Tunn::new(own, peer, psk.map(|n| [n; 32]), None, 3, Some(limiter));
        Self { tunn, received: Vec::new() }
    }

    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        match self.tunn.encapsulate(packet, &mut buffer) {
            TunnResult::WriteToNetwork(datagram) => vec![datagram.to_vec()],
            TunnResult::Done => vec![],
            other => panic!("{other:?}"),
        }
    }

    fn hear(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut input = datagram;
        loop {
            let mut buffer = [0; 2048];
            match self.tunn.decapsulate(PLACE, input, &mut buffer) {
                TunnResult::WriteToNetwork(datagram) => sent.push(datagram.to_vec()),
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    self.received.push(packet.to_vec());
                }
                TunnResult::Done => return sent,
                TunnResult::Err(_) => return sent,
            }
            input = &[];
        }
    }

    fn initiation(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        match self.tunn.format_handshake_initiation(&mut buffer, true) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other => panic!("{other:?}"),
        }
    }
}

fn node(psk_of_peer: Option<u8>) -> Node {
    let mut node = Node::new(1);
    let mut config = PeerConfig::new(public(2));
    config.psk = psk(psk_of_peer.unwrap_or(0));
    node.add(t0(), PEER, config);
    node
}

/// Carries datagrams between the two until nothing moves.
fn settle(node: &mut Node, boring: &mut Boring, mut to_node: Vec<Vec<u8>>) {
    loop {
        for datagram in to_node.drain(..) {
            node.hear(t0(), source(2), &datagram);
        }
        node.run(t0());
        let sent = node.take_sent();
        if sent.is_empty() {
            return;
        }
        to_node.extend(sent.iter().flat_map(|datagram| boring.hear(datagram)));
    }
}

/// An IPv4 packet of `len` bytes that differs for each `n`.
fn packet(n: usize, len: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..len).map(|i| (i * 31 + n) as u8).collect();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    packet
}

fn connected(psk: Option<u8>, node_begins: bool) -> (Node, Boring) {
    let (mut node, mut boring) = (node(psk), Boring::new(2, 1, psk, 100));
    let first = packet(0, 100);
    let to_node = if node_begins {
        node.send(t0(), PEER, &first);
        vec![]
    } else {
        boring.send(&first)
    };
    settle(&mut node, &mut boring, to_node);
    if node_begins {
        assert_eq!(boring.received, [first]);
    } else {
        assert!(node.take_data()[0].starts_with(&first));
    }
    boring.received.clear();
    node.received.clear();
    (node, boring)
}

#[test]
fn either_side_begins_with_and_without_a_preshared_key() {
    for psk in [None, Some(9)] {
        for node_begins in [true, false] {
            let (mut node, mut boring) = connected(psk, node_begins);
            for n in 0..200 {
                let packet = packet(n, 20 + n * 7);
                node.send(t0(), PEER, &packet);
                settle(&mut node, &mut boring, vec![]);
                let back = boring.send(&packet);
                settle(&mut node, &mut boring, back);
                assert_eq!(boring.received.pop().unwrap(), packet);
                assert_eq!(node.take_data(), [packet]);
            }
            assert_eq!(node.tunnel.discards().total(), 0);
        }
    }
}

#[test]
fn different_preshared_keys_do_not_connect() {
    let (mut node, mut boring) = (node(Some(8)), Boring::new(2, 1, Some(9), 100));
    node.send(t0(), PEER, &packet(0, 60));
    settle(&mut node, &mut boring, vec![]);
    assert!(boring.received.is_empty());
    assert_eq!(node.discarded(Discard::BadResponse), 1);
}

#[test]
fn loss_and_reordering_cost_only_what_was_lost() {
    let (mut node, mut boring) = connected(None, true);
    let packets: Vec<Vec<u8>> = (0..600).map(|n| packet(n, 200)).collect();
    let mut datagrams: Vec<(usize, Vec<u8>)> = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        datagrams.extend(boring.send(packet).into_iter().map(|datagram| (n, datagram)));
    }
    // A third is lost; the rest comes in a scattered order, some of it twice.
    datagrams.retain(|(n, _)| n % 3 != 0);
    datagrams.sort_by_key(|(n, _)| (n * 7919) % 601);
    for (n, datagram) in &datagrams {
        node.hear(t0(), source(2), datagram);
        assert_eq!(node.take_data(), [packets[*n].clone()]);
        node.hear(t0(), source(2), datagram);
    }
    assert!(node.take_data().is_empty());
    assert_eq!(node.discarded(Discard::Replayed), 400);
    for packet in &packets {
        node.send(t0(), PEER, packet);
    }
    let mut sent = node.take_sent();
    sent.reverse();
    for datagram in sent.iter().step_by(2) {
        boring.hear(datagram);
    }
    assert_eq!(boring.received.len(), 300);
}

#[test]
fn sessions_are_replaced_in_time_as_initiator() {
    let (mut node, mut boring) = (node(None), Boring::new(2, 1, None, 100));
    let mut initiations = 0;
    // Ten minutes of ours; boringtun's clock stands still, which it does not notice as responder.
    for second in 0..600u32 {
        let now = t0() + secs(second.into());
        node.run(now);
        node.send(now, PEER, &packet(second as usize, 80));
        let mut sent = node.take_sent();
        while !sent.is_empty() {
            initiations += sent.iter().filter(|datagram| datagram[0] == 1).count();
            for datagram in sent.iter().flat_map(|datagram| boring.hear(datagram)) {
                node.hear(now, source(2), &datagram);
                node.run(now);
            }
            sent = node.take_sent();
        }
        let back = boring.send(&packet(second as usize, 90));
        back.iter().for_each(|datagram| node.hear(now, source(2), datagram));
        assert_eq!(boring.received.pop(), Some(packet(second as usize, 80)));
        assert_eq!(node.take_data(), [packet(second as usize, 90)]);
    }
    assert_eq!(initiations, 5);
}

#[test]
fn sessions_are_replaced_in_time_as_responder() {
    let (mut node, mut boring) = connected(None, false);
    for round in 1..6u32 {
        let now = t0() + secs(f64::from(round) * 121.0);
        let initiation = boring.initiation();
        node.hear(now, source(2), &initiation);
        node.run(now);
        let response = node.take_sent().pop().unwrap();
        for datagram in boring.hear(&response) {
            node.hear(now, source(2), &datagram);
        }
        assert_eq!(node.tunnel.status(now, PEER).unwrap().session.unwrap().since, now);
        node.send(now, PEER, &packet(1, 70));
        node.take_sent().iter().for_each(|datagram| drop(boring.hear(datagram)));
        assert_eq!(boring.received.pop(), Some(packet(1, 70)));
    }
    assert_eq!(node.tunnel.discards().total(), 0);
}

#[test]
fn a_corrupted_response_does_not_end_the_handshake() {
    let (mut node, mut boring) = (node(None), Boring::new(2, 1, None, 100));
    node.send(t0(), PEER, &packet(0, 60));
    let initiation = node.take_sent().remove(0);
    let response = boring.hear(&initiation).remove(0);
    for at in [12, 50] {
        let mut bad = response.clone();
        bad[at] ^= 0x80;
        let mac1 = mac1_of(&bad, 1);
        bad[60..76].copy_from_slice(&mac1);
        node.hear(t0(), source(2), &bad);
        node.run(t0());
    }
    assert_eq!(node.discarded(Discard::BadResponse), 2);
    settle(&mut node, &mut boring, vec![response]);
    assert_eq!(boring.received, [packet(0, 60)]);
}

#[test]
fn its_cookie_is_opened_and_our_second_mac_accepted() {
    let (mut node, mut boring) = (node(None), Boring::new(2, 1, None, 0));
    node.send(t0(), PEER, &packet(0, 60));
    let initiation = node.take_sent().remove(0);
    assert_eq!(initiation[132..], [0; 16]);
    let cookie = boring.hear(&initiation);
    assert_eq!((cookie[0][0], cookie[0].len()), (3, 64));
    settle(&mut node, &mut boring, cookie);
    assert!(boring.received.is_empty());
    let again = node.tunnel.next_event().unwrap().0;
    node.run(again);
    let initiation = node.take_sent().remove(0);
    assert_ne!(initiation[132..], [0; 16]);
    let response = boring.hear(&initiation);
    assert_eq!(response[0][0], 2);
    node.hear(again, source(2), &response[0]);
    node.run(again);
    let confirmed = node.take_sent();
    confirmed.iter().for_each(|datagram| drop(boring.hear(datagram)));
    assert_eq!(boring.received, [packet(0, 60)]);
}

#[test]
fn it_opens_our_cookie_and_we_accept_its_second_mac() {
    let (mut node, mut boring) = (node(None), Boring::new(2, 1, None, 100));
    for stranger in 10..50 {
        let initiation = Boring::new(stranger, 1, None, 100).initiation();
        node.hear(t0(), source(stranger), &initiation);
    }
    let initiation = boring.initiation();
    node.hear(t0(), source(2), &initiation);
    node.run(t0());
    let sent = node.take_sent();
    assert_eq!(kinds(&sent), [3; 41]);
    assert!(boring.hear(sent.last().unwrap()).is_empty());
    let initiation = boring.initiation();
    assert_ne!(initiation[132..], [0; 16]);
    settle(&mut node, &mut boring, vec![initiation]);
    let back = boring.send(&packet(1, 60));
    settle(&mut node, &mut boring, back);
    assert_eq!(node.take_data(), [packet(1, 60)]);
    assert_eq!(node.discarded(Discard::CookieAsked), 41);
}

/// mac1 of a response to the node with the secret `n`.
fn mac1_of(response: &[u8], n: u8) -> [u8; 16] {
    use blake2::{
        Blake2s256, Blake2sMac, Digest,
        digest::{FixedOutput, Mac, consts::U16},
    };
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(public(n).as_bytes()).finalize();
    <Blake2sMac<U16> as Mac>::new_from_slice(&key)
        .unwrap()
        .chain_update(&response[..60])
        .finalize_fixed()
        .into()
}
