//! Two of boringtun's tunnels. It seals and opens from one buffer into another, which is measured with it.

use std::time::Duration;

use boringtun::{
    noise::{Tunn, TunnResult},
    x25519::{PublicKey, StaticSecret},
};

use super::{BATCH, Session, packet, time};

pub(super) struct Pair {
    a: Tunn,
    b: Tunn,
}

impl Pair {
    fn new() -> Self {
        let tunn = |own: u8, peer: u8| {
            let peer = PublicKey::from(&StaticSecret::from([peer; 32]));
            Tunn::new(StaticSecret::from([own; 32]), peer, None, None, u32::from(own), None)
        };
        Self { a: tunn(1, 2), b: tunn(2, 1) }
    }

    pub(super) fn connected() -> Self {
        let mut pair = Self::new();
        pair.shake();
        pair
    }

    fn shake(&mut self) {
        let (mut first, mut second, mut third, mut rest) = ([0; 256], [0; 256], [0; 256], [0; 256]);
        let initiation = to_network(self.a.format_handshake_initiation(&mut first, true));
        let response = to_network(self.b.decapsulate(None, initiation, &mut second));
        let keepalive = to_network(self.a.decapsulate(None, response, &mut third));
        assert!(matches!(self.b.decapsulate(None, keepalive, &mut rest), TunnResult::Done));
    }
}

/// A complete handshake, the confirming packet included; says how long it took.
pub(super) fn handshake() -> Duration {
    let mut pair = Pair::new();
    time(|| pair.shake()).0
}

impl Session for Pair {
    fn pass(&mut self, size: usize) -> (Duration, Duration) {
        let plain = packet(size);
        let mut sealed = vec![vec![0; size + 48]; BATCH];
        let mut opened = vec![0; size + 48];
        let mut lens = [0; BATCH];
        let (seal, ()) = time(|| {
            for (len, datagram) in lens.iter_mut().zip(&mut sealed) {
                *len = to_network(self.a.encapsulate(&plain, datagram)).len();
            }
        });
        let (open, ()) = time(|| {
            for (len, datagram) in lens.iter().zip(&sealed) {
                let result = self.b.decapsulate(None, &datagram[..*len], &mut opened);
                assert!(matches!(result, TunnResult::WriteToTunnelV4(packet, _) if packet.len() == size));
            }
        });
        (seal, open)
    }
}

fn to_network(result: TunnResult<'_>) -> &mut [u8] {
    match result {
        TunnResult::WriteToNetwork(datagram) => datagram,
        _ => panic!("nothing to send"),
    }
}
