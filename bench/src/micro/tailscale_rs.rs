//! Two endpoints of tailscale-rs' tunnel, which takes whole batches as ours does.

use std::time::{Duration, Instant};

use tidewire_clock as clock;
use ts_packet::PacketMut;
use ts_tunnel::{Endpoint, NodeKeyPair, PeerConfig, PeerId};

use super::{BATCH, Session, packet, padded, time};

const PEER: PeerId = PeerId(1);

pub(super) struct Pair {
    now: Instant,
    a: Endpoint,
    b: Endpoint,
}

impl Pair {
    fn new() -> Self {
        let (of_a, of_b) = (NodeKeyPair::random(), NodeKeyPair::random());
        let endpoint = |own: &NodeKeyPair, peer: &NodeKeyPair| {
            let mut endpoint = Endpoint::new(own.clone());
            endpoint.upsert_peer(PeerConfig::new(PEER, peer.public, [0; 32]));
            endpoint
        };
        let (a, b) = (endpoint(&of_a, &of_b), endpoint(&of_b, &of_a));
        Self { now: clock::now(), a, b }
    }

    pub(super) fn connected() -> Self {
        let mut pair = Self::new();
        pair.shake();
        pair
    }

    fn shake(&mut self) {
        let first = vec![PacketMut::new(padded(64))];
        let initiation =
            self.a.send(self.now, [(PEER, first)]).to_peers.remove(&PEER).expect("an initiation");
        let response = self.b.recv(self.now, initiation).to_peers.remove(&PEER).expect("a response");
        let confirm = self.a.recv(self.now, response).to_peers.remove(&PEER).expect("data");
        assert_eq!(self.b.recv(self.now, confirm).to_local[&PEER].len(), 1);
    }
}

/// A complete handshake, the confirming packet included; says how long it took.
pub(super) fn handshake() -> Duration {
    let mut pair = Pair::new();
    time(|| pair.shake()).0
}

impl Session for Pair {
    fn pass(&mut self, size: usize) -> (Duration, Duration) {
        let mut plain = packet(size);
        plain.resize(padded(size), 0);
        let packets: Vec<PacketMut> = (0..BATCH)
            .map(|_| {
                let mut packet = PacketMut::with_capacity(padded(size) + 64);
                packet.extend_from_slice(&plain);
                packet
            })
            .collect();
        let (seal, mut sent) = time(|| self.a.send(self.now, [(PEER, packets)]));
        let sealed = sent.to_peers.remove(&PEER).expect("datagrams");
        let (open, received) = time(|| self.b.recv(self.now, sealed));
        assert_eq!(received.to_local[&PEER].len(), BATCH);
        (seal, open)
    }
}
