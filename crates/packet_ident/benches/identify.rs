//! What identifying a packet costs: the common case, each kind, and a mix.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tidewire_packet_ident::identify;

/// A batch, as the data plane identifies them; the figure is per packet by the item counter.
const BATCH: usize = 1024;

fn main() {
    divan::main();
}

#[divan::bench]
fn wireguard_data(bencher: Bencher<'_, '_>) {
    run(bencher, |_| data());
}

#[divan::bench]
fn wireguard_data_in_geneve(bencher: Bencher<'_, '_>) {
    run(bencher, |_| geneve([0x7a, 0x12], data()));
}

#[divan::bench]
fn disco(bencher: Bencher<'_, '_>) {
    run(bencher, |_| disco_ping());
}

#[divan::bench]
fn stun(bencher: Bencher<'_, '_>) {
    run(bencher, |_| stun_response());
}

#[divan::bench]
fn garbage(bencher: Bencher<'_, '_>) {
    run(bencher, |_| vec![0xa5; 200]);
}

/// Mostly data, as on a busy node, in an order that a branch predictor has seen before.
#[divan::bench]
fn mix(bencher: Bencher<'_, '_>) {
    run(bencher, |at| match at * 7 % 64 {
        0 => disco_ping(),
        1 => stun_response(),
        2 => geneve([0x7a, 0x12], data()),
        3 => vec![0xa5; 200],
        4 => [&[1, 0, 0, 0][..], &[0; 144]].concat(),
        _ => data(),
    });
}

fn run(bencher: Bencher<'_, '_>, packet: impl Fn(usize) -> Vec<u8>) {
    let packets: Vec<Vec<u8>> = (0..BATCH).map(packet).collect();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for packet in &packets {
            black_box(identify(black_box(packet)));
        }
    });
}

fn data() -> Vec<u8> {
    [&[4, 0, 0, 0][..], &[7; 1448]].concat()
}

fn geneve(protocol: [u8; 2], body: Vec<u8>) -> Vec<u8> {
    [&[0, 0][..], &protocol, &[0, 0, 7, 0], &body].concat()
}

fn disco_ping() -> Vec<u8> {
    [&b"TS\xf0\x9f\x92\xac"[..], &[9; 118]].concat()
}

fn stun_response() -> Vec<u8> {
    [&[1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42][..], &[3; 24]].concat()
}
