//! Whether datagrams pass a path whose MTU is below their length: fragmented, and not as super-packets. In a network namespace
//! of its own, which only root can make.
#![cfg(target_os = "linux")]

mod pair;

use pair::*;
use tidewire_packet::Pool;
use tidewire_transport::Hop;
use tidewire_udp::Udp;

#[test]
fn a_small_mtu_costs_speed_and_no_datagram() {
    if !is_inside("a_small_mtu_costs_speed_and_no_datagram", "ip link set lo mtu 1280") {
        return;
    }
    run(async {
        let pool = Pool::default();
        for family in [v4, v6] {
            let mut alice = Udp::bind(dual(), pool.clone()).unwrap();
            let mut bob = Udp::bind(dual(), pool.clone()).unwrap();
            let sent = numbered(40, 1452);
            for round in 1..=2 {
                send(&mut alice, &mut item(&pool, Hop::Udp(family(&bob)), &sent)).await;
                assert_eq!(bytes(receive(&mut bob, 40).await.0), sent);
                let counters = alice.control().counters();
                assert_eq!(
                    (counters.unsegmented, counters.send_calls),
                    (1, 40 * round),
                    "refused once, not asked again"
                );
            }
            // Below the MTU the same destination takes super-packets as before.
            let small = numbered(40, 1200);
            send(&mut alice, &mut item(&pool, Hop::Udp(family(&bob)), &small)).await;
            assert_eq!(bytes(receive(&mut bob, 40).await.0), small);
            assert_eq!(alice.control().counters().send_calls, 81);
        }
    });
}
