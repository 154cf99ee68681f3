//! Two cores, wire to wire, without a network between.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use tidewire_dataplane::{Change, DataPlane, Filter, Identity, Out, Peer};
use tidewire_keys::{DiscoSecret, Epoch, NodeSecret, PresharedKey, Seed};
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_transport::{FromOverlay, FromUnderlay, Hop, OverlayId, ToUnderlay};

pub fn t0() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "the one base of virtual time in tests")]
    *T0.get_or_init(Instant::now)
}

/// A UDP packet of `len` bytes between two overlay hosts.
pub fn packet(from: u8, to: u8, len: usize) -> Vec<u8> {
    let total = u16::try_from(len).unwrap().to_be_bytes();
    let udp = u16::try_from(len - 20).unwrap().to_be_bytes();
    let mut packet =
        vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 100, 64, 0, from, 100, 64, 0, to];
    packet.extend_from_slice(&[0, 9, 0, 9, udp[0], udp[1], 0, 0]);
    packet.resize(len, 0x5a);
    packet
}

pub fn secret(n: u8) -> NodeSecret {
    NodeSecret::from_bytes([n; 32])
}

pub fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 51820))
}

/// A plain WireGuard peer.
pub fn peer(n: u8) -> Peer {
    Peer {
        key: secret(n).public(),
        psk: PresharedKey::from_bytes([0; 32]),
        disco: None,
        prefixes: vec![format!("100.64.0.{n}/32").parse().unwrap()],
        candidates: vec![addr(n)],
        home: None,
        keepalive: None,
    }
}

pub fn core(n: u8, pool: &Pool) -> DataPlane {
    let identity = Identity { node: secret(n), disco: DiscoSecret::from_bytes([n + 100; 32]) };
    let epoch = Epoch::new(Duration::from_secs(1_800_000_000));
    let mut core = DataPlane::new(t0(), identity, Filter::AllowAll, epoch, &Seed::new([n; 32]), pool.clone());
    let own = vec![(format!("100.64.0.{n}/32").parse().unwrap(), OverlayId(0))];
    core.apply(t0(), Change::Own(own), &mut Out::default()).unwrap();
    core
}

/// Cores 1 and 2, each the other's peer.
pub struct Pair {
    pub a: DataPlane,
    pub b: DataPlane,
    pub pool: Pool,
    pub now: Instant,
    pub runs_of_last: usize,
    out_a: Out,
    out_b: Out,
}

impl Pair {
    pub fn new() -> Self {
        let pool = Pool::default();
        let (mut a, mut b) = (core(1, &pool), core(2, &pool));
        a.apply(t0(), Change::Peers(vec![peer(2)]), &mut Out::default()).unwrap();
        b.apply(t0(), Change::Peers(vec![peer(1)]), &mut Out::default()).unwrap();
        Self { a, b, pool, now: t0(), runs_of_last: 0, out_a: Out::default(), out_b: Out::default() }
    }

    /// With a session that both sides use.
    pub fn connected() -> Self {
        let mut pair = Self::new();
        let batch = Batch::copy_of(&pair.pool, &packet(1, 2, 100)).unwrap();
        assert_eq!(pair.carry(true, batch), 1);
        let batch = Batch::copy_of(&pair.pool, &packet(2, 1, 100)).unwrap();
        assert_eq!(pair.carry(false, batch), 1);
        pair
    }

    /// Sends a batch from one to the other, carries whatever both send until they are quiet; returns how many packets
    /// were delivered to the other.
    pub fn carry(&mut self, from_a: bool, batch: Batch<Plain>) -> usize {
        let mut item = FromOverlay { from: OverlayId(0), batch };
        let Self { a, b, out_a, out_b, now, runs_of_last, .. } = self;
        if from_a {
            a.process_outbound(*now, &mut item, out_a)
        } else {
            b.process_outbound(*now, &mut item, out_b)
        }
        let mut delivered = 0;
        loop {
            for (core, out) in [(&mut *a, &mut *out_a), (&mut *b, &mut *out_b)] {
                while core.next_event().is_some_and(|(at, _)| at <= *now) {
                    core.process_events(*now, out);
                }
            }
            let quiet = out_a.to_underlay.is_empty() && out_b.to_underlay.is_empty();
            delivered += pass(*now, out_a, 1, b, out_b, runs_of_last);
            delivered += pass(*now, out_b, 2, a, out_a, runs_of_last);
            if quiet {
                return delivered;
            }
        }
    }
}

/// Hands what one core sent to the other. Returns how many packets the sender's own overlay got.
fn pass(now: Instant, from: &mut Out, n: u8, to: &mut DataPlane, out: &mut Out, runs: &mut usize) -> usize {
    from.events.clear();
    let delivered = from.to_overlay.drain(..).map(|item| item.batch.len()).sum();
    while !from.to_underlay.is_empty() {
        let ToUnderlay { batch, runs: mut list } = from.to_underlay.remove(0);
        *runs = list.len();
        for run in &mut list {
            run.hop = Hop::Udp(addr(n));
        }
        let mut item = FromUnderlay { batch, runs: list };
        to.process_inbound(now, &mut item, out);
        from.recycle(ToUnderlay { batch: item.batch, runs: item.runs });
    }
    delivered
}

/// A batch with a copy of each of these.
pub fn batch(pool: &Pool, packets: &[Vec<u8>]) -> Batch<Plain> {
    let mut batch = pool.batch(Class::Send);
    for packet in packets {
        batch.push(packet).unwrap();
    }
    batch
}
