//! What cutting and gathering cost, per super-packet of 45 segments and per small packet, without a device.

use std::io::{self, IoSlice, IoSliceMut};

use divan::{Bencher, black_box, counter::ItemsCount};
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tun::{
    Counters, Reader, Writer,
    checksum::Sum,
    gather::Offload,
    vnet::{self, Checksum, Gso, Header, Kind},
};

fn main() {
    divan::main();
}

const MTU: usize = 1420;
const SIZE: usize = MTU - 40;

/// A super-packet of TCP over IPv4 without options, as the kernel hands it over.
fn super_packet(segments: usize) -> Vec<u8> {
    let len = u16::try_from(40 + segments * SIZE).expect("a packet");
    let mut packet = vec![0x5a; len.into()];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    let checksum = Sum::default().bytes(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet[20..40].copy_from_slice(&[0, 80, 1, 187, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    let header = Header {
        checksum: Some(Checksum { start: 20, offset: 16 }),
        gso: Some(Gso { kind: Kind::TcpV4, size: SIZE as u16 }),
        header_len: 40,
    };
    [&header.encode()[..], &packet].concat()
}

/// What `readv` does.
fn copy(frame: &[u8], places: &mut [IoSliceMut<'_>]) -> usize {
    let mut rest = frame;
    for place in places {
        let (now, later) = rest.split_at(place.len().min(rest.len()));
        place[..now.len()].copy_from_slice(now);
        rest = later;
    }
    frame.len()
}

fn fill(reader: &mut Reader, batch: &mut Batch<Plain>, frames: &[Vec<u8>]) {
    let mut frames = frames.iter();
    let read =
        |places: &mut [IoSliceMut<'_>]| Ok(copy(frames.next().ok_or(io::ErrorKind::WouldBlock)?, places));
    reader.fill(batch, MTU, &mut Counters::default(), read).expect("there is a frame");
}

/// The frames that a batch is made of: one super-packet, or 64 small packets.
fn frames(kind: &str) -> (Vec<Vec<u8>>, usize) {
    match kind {
        "super" => (vec![super_packet(45)], 45),
        _ => (vec![[&[0; vnet::LEN], &super_packet(1)[vnet::LEN..vnet::LEN + 100]].concat(); 64], 64),
    }
}

#[divan::bench(args = ["super", "small"])]
fn read(bencher: Bencher<'_, '_>, kind: &str) {
    let (frames, packets) = frames(kind);
    let mut reader = Reader::new(true);
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Send);
    bencher.counter(ItemsCount::new(packets)).bench_local(|| {
        batch.clear();
        fill(&mut reader, &mut batch, &frames);
        assert_eq!(batch.len(), packets);
    });
}

#[divan::bench(args = ["super", "small"])]
fn write(bencher: Bencher<'_, '_>, kind: &str) {
    let (frames, packets) = frames(kind);
    let mut writer = Writer::new(true, Offload { tcp: true, udp: true });
    let mut reader = Reader::new(true);
    let pool = Pool::default();
    let filled = || {
        let mut batch: Batch<Plain> = pool.batch(Class::Send);
        fill(&mut reader, &mut batch, &frames);
        batch
    };
    bencher.counter(ItemsCount::new(packets)).with_inputs(filled).bench_local_refs(|batch| {
        let write = |slices: &[IoSlice<'_>]| Ok(black_box(slices).len());
        writer.drain(batch, &mut Counters::default(), write).expect("nothing blocks");
    });
}

#[divan::bench(args = [64, 1380])]
fn checksum(bencher: Bencher<'_, '_>, len: usize) {
    let bytes = vec![7; len];
    bencher.bench_local(|| Sum::default().bytes(black_box(&bytes)).checksum());
}
