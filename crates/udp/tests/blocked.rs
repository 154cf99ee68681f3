//! Whether a socket that would block keeps what it could not send, and sends it later: on a slow link in a network
//! namespace of its own, which only root can make.
#![cfg(target_os = "linux")]

mod pair;

use std::{future::poll_fn, task::Poll};

use pair::*;
use tidewire_packet::Pool;
use tidewire_transport::{Hop, Underlay};
use tidewire_udp::{Config, Udp};

#[test]
fn a_socket_that_would_block_keeps_its_item() {
    let slow = "tc qdisc add dev lo root tbf rate 80mbit burst 70kb limit 4mb";
    if is_inside("a_socket_that_would_block_keeps_its_item", slow) {
        slow_link();
    }
}

fn slow_link() {
    run(async {
        let pool = Pool::default();
        let config = Config { send_buffer: 40_000, ..v4_only() };
        let mut alice = Udp::bind(config.clone(), pool.clone()).unwrap();
        let mut bob = Udp::bind(config, pool.clone()).unwrap();
        let to = Hop::Udp(v4(&bob));
        let receiver = tokio::spawn(async move { bytes(receive(&mut bob, 10 * 45).await.0) });
        let mut expected = Vec::new();
        let mut blocked = 0;
        for round in 0..10 {
            let sent: Vec<_> = (0..45u8).map(|i| vec![i + round; 1000 + usize::from(i % 2)]).collect();
            let mut item = item(&pool, to, &sent);
            poll_fn(|cx| {
                let polled = alice.poll_send(cx, &mut item);
                let left: u32 = item.runs.iter().map(|run| run.count).sum();
                match &polled {
                    Poll::Pending => {
                        blocked += 1;
                        assert!(left > 0);
                    }
                    Poll::Ready(_) => assert_eq!(left, 0),
                }
                polled
            })
            .await
            .unwrap();
            expected.extend(sent);
        }
        assert!(blocked > 0, "the link was not slow enough to prove anything");
        assert_eq!(receiver.await.unwrap(), expected);
        let counters = alice.control().counters();
        assert_eq!((counters.sent, counters.discards), (450, Default::default()));
    });
}
