//! Two of our tunnels that carry each other's messages.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tidewire_clock as clock;
use tidewire_keys::{Epoch, NodeSecret, PeerId, Seed};
use tidewire_packet::{Batch, Class, Plain, Pool, padded_len};
use tidewire_tunnel::{Config, Opened, Out, PeerConfig, Shard, Source, Tunnel};

use super::{BATCH, Session, packet, time};

const MTU: usize = 1420;
const PEER: PeerId = PeerId(1);

pub(super) struct Pair {
    now: Instant,
    pool: Pool,
    a: Tunnel,
    b: Tunnel,
    out: Out,
    to: Vec<PeerId>,
    opened: Vec<Opened>,
}

impl Pair {
    pub(super) fn connected() -> Self {
        let (now, pool) = (clock::now(), Pool::default());
        let (a, b) = (tunnel(now, 1, 2, &pool), tunnel(now, 2, 1, &pool));
        let mut pair = Self { now, pool, a, b, out: Out::default(), to: Vec::new(), opened: Vec::new() };
        pair.shake();
        pair
    }

    /// A complete handshake, the confirming packet included; says how long it took.
    pub(super) fn shake(&mut self) -> Duration {
        self.now += Duration::from_secs(6);
        let (took, ()) = time(|| {
            self.a.initiate(self.now, PEER, &mut self.out);
            for to_b in [true, false, true] {
                let mut arrived = std::mem::take(&mut self.out);
                let receiver = if to_b { &mut self.b } else { &mut self.a };
                for outgoing in arrived.datagrams.drain(..) {
                    let first = outgoing.batch.get(0).expect("a datagram");
                    if first[0] == 4 {
                        let opened = receiver.open(self.now, outgoing.batch, &mut self.opened, &mut self.out);
                        assert_eq!(opened.len(), 1);
                    } else {
                        receiver.handshake(self.now, Source::new([0; 34], 16), first, &mut self.out);
                        receiver.process_events(self.now, &mut self.out);
                    }
                }
            }
        });
        let status = self.b.status(self.now, PEER).expect("a peer");
        assert_eq!(status.last_handshake, Some(self.now));
        self.out.events.clear();
        took
    }
}

impl Session for Pair {
    fn pass(&mut self, size: usize) -> (Duration, Duration) {
        let mut batch: Batch<Plain> = self.pool.batch(Class::Send);
        for _ in 0..BATCH {
            let place = batch.reserve(size, padded_len(size, MTU)).expect("room in the slab");
            place.copy_from_slice(&packet(size));
        }
        self.to.clear();
        self.to.resize(BATCH, PEER);
        let (seal, sealed) = time(|| self.a.seal(self.now, black_box(batch), &mut self.to, &mut self.out));
        let (open, opened) =
            time(|| self.b.open(self.now, black_box(sealed), &mut self.opened, &mut self.out));
        assert_eq!(opened.len(), BATCH);
        (seal, open)
    }
}

fn tunnel(now: Instant, own: u8, peer: u8, pool: &Pool) -> Tunnel {
    let config = Config {
        secret: NodeSecret::from_bytes([own; 32]),
        epoch: Epoch::new(Duration::from_secs(1_700_000_000)),
        pool: pool.clone(),
        shard: Shard::default(),
        mtu: MTU,
    };
    let mut tunnel = Tunnel::new(now, config, &Seed::new([own; 32]));
    let key = NodeSecret::from_bytes([peer; 32]).public();
    tunnel.set_peer(now, PEER, PeerConfig::new(key), &mut Out::default());
    tunnel
}
