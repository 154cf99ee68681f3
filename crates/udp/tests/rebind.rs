//! Whether a rebind keeps what it promises: the port, the waiting task, the old sockets where the new port is taken.

mod pair;

use pair::*;
use tidewire_packet::Pool;
use tidewire_transport::Hop;
use tidewire_udp::{Config, Udp};

#[test]
fn the_port_is_kept_and_the_waiting_task_goes_on() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        let (control, before) = (bob.control(), bob.local_addrs());
        let to_bob = Hop::Udp(v4(&bob));
        let waiting = tokio::spawn(async move { receive(&mut bob, 1).await.0 });
        tokio::task::yield_now().await;
        // From another thread, which is inside no runtime.
        let after = std::thread::spawn(move || control.rebind(None)).join().unwrap().unwrap();
        assert_eq!(after, before);
        send(&mut alice, &mut item(&pool, to_bob, &[vec![1; 9]])).await;
        assert_eq!(waiting.await.unwrap(), [(Hop::Udp(v4(&alice)), vec![1; 9])]);
    });
}

#[test]
fn another_port_takes_effect_in_both_families() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        let old = v4(&bob).port();
        let free = {
            let other = Udp::bind(dual(), pool.clone()).unwrap();
            v4(&other).port()
        };
        let addrs = bob.control().rebind(Some(free)).unwrap();
        assert_eq!((addrs.v4.unwrap().port(), addrs.v6.unwrap().port()), (free, free));
        send(&mut alice, &mut item(&pool, Hop::Udp(v6(&bob)), &[vec![1; 9]])).await;
        assert_eq!(bytes(receive(&mut bob, 1).await.0), [vec![1; 9]]);
        // The old port is free again.
        drop(Udp::bind(Config { port: old, ..dual() }, pool).unwrap());
    });
}

#[test]
fn a_taken_port_is_refused_and_the_old_sockets_stay() {
    run(async {
        let pool = Pool::default();
        let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
        let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
        let before = bob.local_addrs();
        let error = bob.control().rebind(Some(v4(&alice).port())).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert_eq!(bob.local_addrs(), before);
        send(&mut alice, &mut item(&pool, Hop::Udp(v4(&bob)), &[vec![1; 9]])).await;
        assert_eq!(bytes(receive(&mut bob, 1).await.0), [vec![1; 9]]);
    });
}

#[test]
fn port_zero_is_any_other() {
    run(async {
        let udp = Udp::bind(dual(), Pool::default()).unwrap();
        let before = udp.local_addrs();
        let after = udp.control().rebind(Some(0)).unwrap();
        assert_ne!(after.port(), before.port());
        assert_eq!(after.v4.unwrap().port(), after.v6.unwrap().port());
    });
}
