//! How fast datagrams pass from one socket to another on loopback, both ends on one thread, with and without offload.

use std::{future::poll_fn, net::Ipv4Addr};

use divan::{Bencher, counter::BytesCount};
use tidewire_packet::{Class, Pool};
use tidewire_transport::{FromUnderlay, Hop, ToUnderlay, Underlay};
use tidewire_udp::{Config, Udp};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// What is sent at a time: how many datagrams of which length, and whether in one call.
const SENDS: [(usize, usize, bool); 6] =
    [(45, 1452, true), (45, 1452, false), (8, 1452, true), (1, 1452, true), (64, 96, true), (64, 96, false)];

struct Pair {
    runtime: Runtime,
    pool: Pool,
    from: Udp,
    to: Udp,
    hop: Hop,
    received: FromUnderlay,
}

impl Pair {
    fn new(offload: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let config = Config {
            v4: Some(Ipv4Addr::LOCALHOST),
            v6: None,
            gso: offload,
            gro: offload,
            ..Config::default()
        };
        let pool = Pool::default();
        let inside = runtime.enter();
        let from = Udp::bind(config.clone(), pool.clone()).expect("loopback");
        let to = Udp::bind(config, pool.clone()).expect("loopback");
        drop(inside);
        let hop = Hop::Udp(to.local_addrs().v4.expect("IPv4"));
        Self { runtime, pool, from, to, hop, received: FromUnderlay::default() }
    }

    fn pass(&mut self, count: usize, len: usize) {
        let Self { runtime, pool, from, to, hop, received } = self;
        let mut item = ToUnderlay { batch: pool.batch(Class::Send), ..Default::default() };
        for i in 0..count {
            item.batch.reserve(len, len).expect("a send slab holds it");
            item.address(i, *hop);
        }
        runtime.block_on(async {
            poll_fn(|cx| from.poll_send(cx, &mut item)).await.expect("sent");
            let mut left = count;
            while left > 0 {
                poll_fn(|cx| to.poll_recv(cx, received)).await.expect("received");
                left -= received.batch.len();
            }
        });
    }
}

#[divan::bench(args = SENDS)]
fn loopback(bencher: Bencher<'_, '_>, (count, len, offload): (usize, usize, bool)) {
    let mut pair = Pair::new(offload);
    bencher.counter(BytesCount::new(count * len)).bench_local(|| pair.pass(count, len));
}
