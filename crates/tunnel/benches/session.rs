//! What sealing, opening and shaking hands cost, next to bare ring and boringtun in the same run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use boringtun::{
    noise::{Tunn, TunnResult},
    x25519,
};
use divan::{Bencher, black_box, counter::ItemsCount};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tidewire_keys::{Epoch, NodeSecret, PeerId, Seed};
use tidewire_packet::{Batch, Class, Plain, Pool, Wire, padded_len};
use tidewire_tunnel::{Config, Opened, Out, PeerConfig, Shard, Source, Tunnel};

const SIZES: [usize; 3] = [64, 512, 1420];
const MTU: usize = 1420;
/// Packets in a batch: as many as one UDP send holds of the longest.
const BATCH: usize = 44;
const PEER: PeerId = PeerId(1);

fn main() {
    divan::main();
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

/// Two tunnels that carry each other's handshake messages.
struct Pair {
    now: Instant,
    pool: Pool,
    a: Tunnel,
    b: Tunnel,
    out: Out,
}

impl Pair {
    fn new() -> Self {
        let (now, pool) = (Instant::now(), Pool::default());
        let (a, b) = (tunnel(now, 1, 2, &pool), tunnel(now, 2, 1, &pool));
        Self { now, pool, a, b, out: Out::default() }
    }

    fn connected() -> Self {
        let mut pair = Self::new();
        pair.shake();
        pair
    }

    /// A complete handshake, the confirming packet included.
    fn shake(&mut self) {
        self.now += Duration::from_secs(6);
        self.a.initiate(self.now, PEER, &mut self.out);
        for to_b in [true, false, true] {
            let mut arrived = std::mem::take(&mut self.out);
            let receiver = if to_b { &mut self.b } else { &mut self.a };
            for outgoing in arrived.datagrams.drain(..) {
                let first = outgoing.batch.get(0).unwrap();
                if first[0] == 4 {
                    let opened = receiver.open(self.now, outgoing.batch, &mut Vec::new(), &mut self.out);
                    assert_eq!(opened.len(), 1);
                } else {
                    receiver.handshake(self.now, Source([0; 34]), first, &mut self.out);
                    receiver.process_events(self.now, &mut self.out);
                }
            }
        }
        assert!(self.b.status(self.now, PEER).unwrap().last_handshake == Some(self.now));
        self.out.events.clear();
    }

    fn seal(&mut self, batch: Batch<Plain>, to: &mut Vec<PeerId>) -> Batch<Wire> {
        self.a.seal(self.now, batch, to, &mut self.out)
    }
}

fn ring_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).unwrap())
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Datagrams in one slab as the tunnel lays them out.
fn datagrams(size: usize) -> Vec<Vec<u8>> {
    vec![vec![0; 16 + padded_len(size, MTU) + 16]; BATCH]
}

#[divan::bench(args = SIZES, sample_size = 20)]
fn seal_ring(bencher: Bencher<'_, '_>, size: usize) {
    let (key, mut slab, mut counter) = (ring_key(), datagrams(size).concat(), 0);
    let stride = slab.len() / BATCH;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for datagram in black_box(&mut slab).chunks_exact_mut(stride) {
            let (text, tag) = datagram[16..].split_last_chunk_mut::<16>().unwrap();
            counter += 1;
            let sealed = key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), text).unwrap();
            tag.copy_from_slice(sealed.as_ref());
        }
    });
}

#[divan::bench(args = SIZES, sample_size = 20)]
fn seal_tunnel(bencher: Bencher<'_, '_>, size: usize) {
    let mut pair = Pair::connected();
    let mut to = vec![PEER; BATCH];
    let pool = pair.pool.clone();
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            let mut batch: Batch<Plain> = pool.batch(Class::Send);
            for _ in 0..BATCH {
                batch.reserve(size, padded_len(size, MTU)).unwrap();
            }
            batch
        })
        .bench_local_values(|batch| pair.seal(batch, black_box(&mut to)));
}

#[divan::bench(args = SIZES, sample_size = 20)]
fn open_ring(bencher: Bencher<'_, '_>, size: usize) {
    let (key, mut slab) = (ring_key(), datagrams(size).concat());
    let stride = slab.len() / BATCH;
    for datagram in slab.chunks_exact_mut(stride) {
        let (text, tag) = datagram[16..].split_last_chunk_mut::<16>().unwrap();
        tag.copy_from_slice(key.seal_in_place_separate_tag(nonce(0), Aad::empty(), text).unwrap().as_ref());
    }
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(|| slab.clone()).bench_local_values(|mut slab| {
        for datagram in black_box(&mut slab).chunks_exact_mut(stride) {
            key.open_in_place(nonce(0), Aad::empty(), &mut datagram[16..]).unwrap();
        }
        slab
    });
}

#[divan::bench(args = SIZES, sample_size = 20)]
fn open_tunnel(bencher: Bencher<'_, '_>, size: usize) {
    let mut pair = Pair::connected();
    let mut to = vec![PEER; BATCH];
    let mut opened: Vec<Opened> = Vec::new();
    let (now, pool) = (pair.now, pair.pool.clone());
    let mut sealer = pair.a;
    let mut out = Out::default();
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            let mut batch: Batch<Plain> = pool.batch(Class::Send);
            for _ in 0..BATCH {
                batch.reserve(size, padded_len(size, MTU)).unwrap();
            }
            sealer.seal(now, batch, &mut to, &mut out)
        })
        .bench_local_values(|batch| {
            let plain = pair.b.open(now, batch, &mut opened, &mut pair.out);
            assert_eq!(plain.len(), BATCH);
            plain
        });
}

#[divan::bench]
fn handshake_tunnel(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::connected();
    bencher.bench_local(|| pair.shake());
}

#[divan::bench]
fn handshake_boringtun(bencher: Bencher<'_, '_>) {
    let tunn = |own: u8, peer: u8| {
        let peer = x25519::PublicKey::from(&x25519::StaticSecret::from([peer; 32]));
        Tunn::new(x25519::StaticSecret::from([own; 32]), peer, None, None, u32::from(own), None)
    };
    bencher.with_inputs(|| (tunn(1, 2), tunn(2, 1))).bench_local_values(|(mut a, mut b)| {
        let (mut first, mut second, mut third, mut rest) = ([0; 2048], [0; 2048], [0; 2048], [0; 2048]);
        let TunnResult::WriteToNetwork(initiation) = a.format_handshake_initiation(&mut first, true) else {
            panic!()
        };
        let TunnResult::WriteToNetwork(response) = b.decapsulate(None, initiation, &mut second) else {
            panic!()
        };
        let TunnResult::WriteToNetwork(keepalive) = a.decapsulate(None, response, &mut third) else {
            panic!()
        };
        assert!(matches!(b.decapsulate(None, keepalive, &mut rest), TunnResult::Done));
        (a, b)
    });
}
