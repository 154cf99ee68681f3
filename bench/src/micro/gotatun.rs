//! Two of gotatun's tunnels, with the cipher of its default features.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use gotatun::{
    noise::{Tunn, TunnResult, index_table::IndexTable, rate_limiter::RateLimiter},
    packet::{Packet, WgKind},
    x25519::{PublicKey, StaticSecret},
};

use super::{BATCH, Session, packet, padded, time};

pub(super) struct Pair {
    a: Tunn,
    b: Tunn,
}

impl Pair {
    fn new() -> Self {
        let tunn = |own: u8, peer: u8| {
            let own = StaticSecret::from([own; 32]);
            let peer = PublicKey::from(&StaticSecret::from([peer; 32]));
            let limiter = Arc::new(RateLimiter::new(&PublicKey::from(&own), 100));
            Tunn::new(own, peer, None, None, IndexTable::from_os_rng(), limiter)
        };
        Self { a: tunn(1, 2), b: tunn(2, 1) }
    }

    pub(super) fn connected() -> Self {
        let mut pair = Self::new();
        pair.shake();
        pair
    }

    fn shake(&mut self) {
        let initiation = self.a.format_handshake_initiation(true).expect("an initiation");
        let response = to_network(self.b.handle_incoming_packet(WgKind::HandshakeInit(initiation)));
        let keepalive = to_network(self.a.handle_incoming_packet(response));
        let done = self.b.handle_incoming_packet(keepalive);
        assert!(matches!(done, TunnResult::WriteToTunnel(packet) if packet.is_empty()));
    }
}

/// A complete handshake, the confirming packet included; says how long it took.
pub(super) fn handshake() -> Duration {
    let mut pair = Pair::new();
    time(|| pair.shake()).0
}

impl Session for Pair {
    fn pass(&mut self, size: usize) -> (Duration, Duration) {
        // Padded by the caller, into buffers like those of its pool, with room for what sealing adds.
        let mut plain = packet(size);
        plain.resize(padded(size), 0);
        let packets: Vec<Packet> = (0..BATCH)
            .map(|_| {
                let mut buffer = BytesMut::with_capacity(4096);
                buffer.extend_from_slice(&plain);
                Packet::from_bytes(buffer)
            })
            .collect();
        let (mut sealed, mut opened) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let (seal, ()) = time(|| {
            for packet in packets {
                sealed.push(self.a.handle_outgoing_packet(packet, None).expect("a session"));
            }
        });
        let (open, ()) = time(|| {
            for datagram in sealed {
                match self.b.handle_incoming_packet(datagram) {
                    TunnResult::WriteToTunnel(packet) => opened.push(packet),
                    _ => panic!("not opened"),
                }
            }
        });
        assert!(opened.iter().all(|packet| packet.len() == padded(size)));
        (seal, open)
    }
}

fn to_network(result: TunnResult) -> WgKind {
    match result {
        TunnResult::WriteToNetwork(datagram) => datagram,
        _ => panic!("nothing to send"),
    }
}
