//! Whether packets pass between two devices, and what is remembered of where they came from. Needs root.
#![cfg(target_os = "linux")]

mod lab;

use std::net::SocketAddr;

use lab::{Lab, eventually, exchange, is_inside, peer, run, secret, sh, shown, sockets};
use tidewire_clock as clock;
use tidewire_wg::{
    Device,
    uapi::{PeerStatus, PrefixSet, Set},
};

async fn at(device: &Device, n: u8) -> PeerStatus {
    shown(&device.status().await.unwrap(), n).clone()
}

#[test]
fn packets_of_both_families_and_all_sizes_pass() {
    if !is_inside("packets_of_both_families_and_all_sizes_pass", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(Some([7; 32])).await;
        for (a, b) in [("10.9.0.1:9", "10.9.0.2:9"), ("[fd09::1]:9", "[fd09::2]:9")] {
            let (a, b) = sockets(a, b);
            // 1392 and 1372 fill the MTU of 1420; what is longer travels in fragments.
            for len in [0, 1, 15, 16, 17, 1371, 1372, 1373, 1391, 1392, 1393, 9000, 60_000] {
                exchange(&a, &b, len);
            }
        }
        let (here, there) = (at(&lab.a, 2).await, at(&lab.b, 1).await);
        assert!(here.tx_bytes > 140_000 && here.rx_bytes > 140_000);
        assert_eq!((here.tx_bytes, here.rx_bytes), (there.rx_bytes, there.tx_bytes));
        let handshake = here.last_handshake.unwrap();
        assert!(clock::unix_time() - handshake < std::time::Duration::from_secs(60));
        assert_eq!(at(&lab.a, 2).await.last_handshake, Some(handshake), "told the same each time");
    });
}

#[test]
fn who_was_told_of_no_endpoint_learns_it_and_follows() {
    if !is_inside("who_was_told_of_no_endpoint_learns_it_and_follows", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        assert_eq!(at(&lab.b, 1).await.endpoint, None);
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 100);
        let first: SocketAddr = "192.0.2.1:51821".parse().unwrap();
        assert_eq!(at(&lab.b, 1).await.endpoint, Some(first));
        lab.a.set(vec![Set::ListenPort(4000)]).await.unwrap();
        exchange(&a, &b, 100);
        assert_eq!(at(&lab.b, 1).await.endpoint, Some("192.0.2.1:4000".parse().unwrap()));
        sh("ip address add 192.0.2.77/24 dev outa && ip address delete 192.0.2.1/24 dev outa
            ip address show dev outa | grep -q 192.0.2.77 || ip address add 192.0.2.77/24 dev outa");
        exchange(&a, &b, 100);
        assert_eq!(at(&lab.b, 1).await.endpoint, Some("192.0.2.77:4000".parse().unwrap()));
    });
}

#[test]
fn an_endpoint_that_is_set_again_holds_though_the_peer_roamed() {
    if !is_inside("an_endpoint_that_is_set_again_holds_though_the_peer_roamed", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let said: SocketAddr = "192.0.2.99:1".parse().unwrap();
        let mut to_a = peer(1, &[]);
        to_a.endpoint = Some(said);
        lab.b.set(vec![Set::Peer(to_a.clone())]).await.unwrap();
        assert_eq!(at(&lab.b, 1).await.endpoint, Some(said));
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 100);
        assert_ne!(at(&lab.b, 1).await.endpoint, Some(said));
        lab.b.set(vec![Set::Peer(to_a)]).await.unwrap();
        assert_eq!(at(&lab.b, 1).await.endpoint, Some(said));
    });
}

#[test]
fn packets_with_a_source_that_is_not_the_peers_do_not_pass() {
    if !is_inside("packets_with_a_source_that_is_not_the_peers_do_not_pass", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        sh("ip address add 10.9.0.3/24 dev wga");
        let (stranger, _) = sockets("10.9.0.3:9", "10.9.0.2:8");
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        stranger.send_to(b"not mine", "10.9.0.2:9").unwrap();
        exchange(&a, &b, 100);
        let mut to_a = peer(1, &["10.9.0.3/32"]);
        to_a.update_only = true;
        lab.b.set(vec![Set::Peer(to_a)]).await.unwrap();
        exchange(&stranger, &b, 100);
    });
}

#[test]
fn a_prefix_moves_between_peers_live() {
    if !is_inside("a_prefix_moves_between_peers_live", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 100);
        // To a peer that is nowhere, and back.
        lab.a.set(vec![Set::Peer(peer(3, &["10.9.0.2/32"]))]).await.unwrap();
        let before = at(&lab.b, 1).await.rx_bytes;
        a.send_to(b"lost", "10.9.0.2:9").unwrap();
        // It begins a handshake, though there is nowhere to send it.
        eventually("taken", async || (at(&lab.a, 3).await.tx_bytes > 0).then_some(())).await;
        let mut back = peer(2, &[]);
        back.allowed_ips = vec![
            PrefixSet::Remove("10.9.0.9/32".parse().unwrap()),
            PrefixSet::Add("10.9.0.2/32".parse().unwrap()),
        ];
        lab.a.set(vec![Set::Peer(back)]).await.unwrap();
        exchange(&a, &b, 100);
        // What was lost would have come first, and been counted.
        assert_eq!(at(&lab.b, 1).await.rx_bytes, before + 160);
        assert!(at(&lab.a, 3).await.allowed_ips.is_empty());
    });
}

#[test]
fn sessions_end_with_the_key_and_with_the_interface_and_begin_anew() {
    if !is_inside("sessions_end_with_the_key_and_with_the_interface_and_begin_anew", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 100);
        let first = at(&lab.a, 2).await;
        // Another key, of which the other side is told.
        lab.a.set(vec![Set::PrivateKey(Some(secret(11)))]).await.unwrap();
        lab.b.set(vec![Set::Peer(peer(11, &["10.9.0.1/32"]))]).await.unwrap();
        exchange(&a, &b, 100);
        let second = at(&lab.a, 2).await;
        assert!(second.last_handshake > first.last_handshake && second.tx_bytes > first.tx_bytes);
        // An initiation that follows another within 20 ms is taken for a flood.
        clock::sleep(std::time::Duration::from_millis(20)).await;
        // Down and up again: the counters stay, and where the other one is.
        sh("ip link set wga down && ip link set wga up && ip address replace fd09::1/64 dev wga nodad");
        let silent = async || (at(&lab.a, 2).await.tx_bytes >= second.tx_bytes).then_some(());
        eventually("back", silent).await;
        exchange(&a, &b, 100);
        let third = at(&lab.a, 2).await;
        assert!(third.last_handshake > second.last_handshake && third.tx_bytes > second.tx_bytes);
        assert_eq!(third.endpoint, first.endpoint);
    });
}

#[test]
fn a_keepalive_that_is_set_goes_out_at_once() {
    if !is_inside("a_keepalive_that_is_set_goes_out_at_once", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let mut to_b = peer(2, &[]);
        to_b.keepalive = Some(25);
        lab.a.set(vec![Set::Peer(to_b)]).await.unwrap();
        // A handshake, and the keepalive that confirms it.
        let heard = async || (at(&lab.b, 1).await.rx_bytes >= 148 + 32).then_some(());
        eventually("heard", heard).await;
        assert_eq!(at(&lab.a, 2).await.keepalive, 25);
    });
}

#[test]
fn a_mark_is_set_live_and_outlives_the_sockets() {
    if !is_inside("a_mark_is_set_live_and_outlives_the_sockets", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 100);
        lab.a.set(vec![Set::Fwmark(7)]).await.unwrap();
        // What has no mark gets no further.
        sh(
            "ip rule add fwmark 7 priority 100 lookup main && ip rule add to 192.0.2.2 priority 200 blackhole",
        );
        exchange(&a, &b, 100);
        lab.a.set(vec![Set::ListenPort(4000)]).await.unwrap();
        exchange(&a, &b, 100);
        assert_eq!(at(&lab.b, 1).await.endpoint, Some("192.0.2.1:4000".parse().unwrap()));
    });
}

#[test]
fn the_mtu_is_followed() {
    if !is_inside("the_mtu_is_followed", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        exchange(&a, &b, 1000);
        for mtu in [600, 9000, 1420] {
            sh(&format!("ip link set wga mtu {mtu} && ip -n b link set wgb mtu {mtu}"));
            for len in [mtu - 28, mtu - 29, 100] {
                exchange(&a, &b, len);
            }
        }
    });
}

#[test]
fn what_was_sent_while_there_was_no_key_is_not_sent_late() {
    if !is_inside("what_was_sent_while_there_was_no_key_is_not_sent_late", &[]) {
        return;
    }
    run(async {
        let lab = Lab::new().await;
        lab.introduce(None).await;
        let (a, b) = sockets("10.9.0.1:9", "10.9.0.2:9");
        lab.a.set(vec![Set::PrivateKey(None)]).await.unwrap();
        for _ in 0..10 {
            a.send_to(b"stale", "10.9.0.2:9").unwrap();
        }
        lab.a.set(vec![Set::PrivateKey(Some(secret(1)))]).await.unwrap();
        exchange(&a, &b, 100);
    });
}
