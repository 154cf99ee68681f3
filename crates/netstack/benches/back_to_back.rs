//! How fast two stacks in one thread move bytes to each other, without an application.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use divan::{Bencher, counter::BytesCount};
use tidewire_netstack::{Config, Local, SocketId, Stack};
use tidewire_packet::Pool;

fn main() {
    divan::main();
}

const BYTES: usize = 64 << 20;

/// Two stacks with a connection, and the time, which is made up: it moves on by a little with each exchange.
struct Pair {
    now: Instant,
    stacks: [Stack; 2],
    ends: [SocketId; 2],
}

impl Pair {
    #[allow(clippy::disallowed_methods)]
    fn new(mtu: usize) -> Self {
        let now = Instant::now();
        let pool = Pool::default();
        let mut stacks = [1_u8, 2].map(|n| {
            let config = Config { mtu, ..Config::new(vec![[100, 64, 0, n].into()], [n; 32]) };
            Stack::new(now, &config, pool.clone()).expect("the configuration is sound")
        });
        stacks[1].listen(80).expect("nobody listens yet");
        let to = SocketAddr::from(([100, 64, 0, 2], 80));
        let a = stacks[0].dial(now, to).expect("there is room for a socket");
        let mut pair = Self { now, stacks, ends: [a, a] };
        pair.exchange();
        pair.exchange();
        pair.ends[1] = pair.stacks[1].accept(Local::from(80)).expect("the handshake is over");
        pair
    }

    fn exchange(&mut self) {
        self.now += Duration::from_micros(100);
        for side in [0, 1] {
            while let Some(batch) = self.stacks[side].poll_transmit(self.now) {
                self.stacks[1 - side].process_inbound(self.now, batch);
            }
            while self.stacks[side].poll_event().is_some() {}
        }
    }

    fn transfer(&mut self, bytes: usize) {
        let chunk = vec![7; 128 << 10];
        let mut into = Vec::with_capacity(2 << 20);
        let (mut sent, mut got) = (0, 0);
        while got < bytes {
            while sent < bytes {
                let taken = self.stacks[0].send(self.ends[0], &chunk);
                sent += taken;
                if taken < chunk.len() {
                    break;
                }
            }
            self.exchange();
            into.clear();
            got += self.stacks[1].recv(self.ends[1], usize::MAX, &mut into);
        }
    }
}

#[divan::bench(args = [1280, 1420, 9000], sample_count = 10)]
fn tcp_one_way(bencher: Bencher<'_, '_>, mtu: usize) {
    bencher
        .counter(BytesCount::new(BYTES))
        .with_inputs(|| Pair::new(mtu))
        .bench_local_values(|mut pair| pair.transfer(BYTES));
}
