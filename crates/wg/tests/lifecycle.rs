//! When a device is there, when it is silent, and what ends it. Needs root.
#![cfg(target_os = "linux")]

mod lab;

use std::path::Path;

use lab::{eventually, is_inside, peer, run, secret, sh, try_sh};
use tidewire_transport::Fault;
use tidewire_wg::{
    Config, CreateError, Device, Ended,
    uapi::{Errno, Set},
};

const SOCKET: &str = "/var/run/wireguard/wg7.sock";

fn device() -> Device {
    Device::create(&Config::new("wg7")).unwrap()
}

/// The UDP ports that are bound in the namespace.
fn ports() -> Vec<u16> {
    let table = sh("cat /proc/net/udp");
    let port = |line: &str| u16::from_str_radix(line.split_whitespace().nth(1)?.rsplit_once(':')?.1, 16).ok();
    table.lines().skip(1).filter_map(port).collect()
}

#[test]
fn a_new_device_is_down_and_says_nothing() {
    if !is_inside("a_new_device_is_down_and_says_nothing", &[]) {
        return;
    }
    run(async {
        let device = device();
        assert_eq!(device.interface(), "wg7");
        let shown = sh("ip link show wg7");
        assert!(shown.contains("mtu 1420") && !shown.contains("UP"), "{shown}");
        assert_eq!(device.status().await.unwrap(), Default::default());
        assert!(ports().is_empty() && Path::new(SOCKET).exists());
    });
}

#[test]
fn sockets_are_open_while_there_is_a_key_and_the_interface_is_up() {
    if !is_inside("sockets_are_open_while_there_is_a_key_and_the_interface_is_up", &[]) {
        return;
    }
    run(async {
        let device = device();
        device.set(vec![Set::ListenPort(4000), Set::PrivateKey(Some(secret(1)))]).await.unwrap();
        assert!(ports().is_empty());
        for _ in 0..3 {
            sh("ip link set wg7 up");
            eventually("open", async || (ports() == [4000]).then_some(())).await;
            sh("ip link set wg7 down");
            eventually("closed", async || ports().is_empty().then_some(())).await;
        }
        sh("ip link set wg7 up");
        eventually("open", async || (ports() == [4000]).then_some(())).await;
        device.set(vec![Set::PrivateKey(None)]).await.unwrap();
        assert!(ports().is_empty());
        device.set(vec![Set::PrivateKey(Some(secret(2)))]).await.unwrap();
        assert_eq!(ports(), [4000]);
    });
}

#[test]
fn a_chosen_port_is_told_and_kept_while_the_interface_is_down() {
    if !is_inside("a_chosen_port_is_told_and_kept_while_the_interface_is_down", &[]) {
        return;
    }
    run(async {
        let device = device();
        device.set(vec![Set::PrivateKey(Some(secret(1)))]).await.unwrap();
        sh("ip link set wg7 up");
        let port = eventually("a port", async || ports().pop()).await;
        assert_eq!(device.status().await.unwrap().listen_port, port);
        sh("ip link set wg7 down");
        eventually("closed", async || ports().is_empty().then_some(())).await;
        assert_eq!(device.status().await.unwrap().listen_port, port);
        sh("ip link set wg7 up");
        assert_eq!(eventually("a port", async || ports().pop()).await, port);
    });
}

#[test]
fn a_taken_port_is_refused_and_the_old_one_stays() {
    if !is_inside("a_taken_port_is_refused_and_the_old_one_stays", &[]) {
        return;
    }
    run(async {
        let device = device();
        device.set(vec![Set::PrivateKey(Some(secret(1))), Set::ListenPort(4000)]).await.unwrap();
        sh("ip link set wg7 up");
        eventually("open", async || (ports() == [4000]).then_some(())).await;
        let taken = std::net::UdpSocket::bind("0.0.0.0:4001").unwrap();
        // What stands behind the port in the request is not done.
        let result = device.set(vec![Set::ListenPort(4001), Set::Fwmark(7)]).await;
        assert_eq!(result, Err(Errno::PortInUse));
        let status = device.status().await.unwrap();
        assert_eq!((status.listen_port, status.fwmark), (4000, 0));
        drop(taken);
        device.set(vec![Set::ListenPort(4001), Set::Fwmark(7)]).await.unwrap();
        let status = device.status().await.unwrap();
        assert_eq!((status.listen_port, status.fwmark, ports()), (4001, 7, vec![4001]));
    });
}

#[test]
fn a_device_that_could_not_listen_does_when_it_gets_another_port() {
    if !is_inside("a_device_that_could_not_listen_does_when_it_gets_another_port", &[]) {
        return;
    }
    run(async {
        let taken = std::net::UdpSocket::bind("0.0.0.0:4000").unwrap();
        let device = device();
        device.set(vec![Set::ListenPort(4000)]).await.unwrap();
        sh("ip link set wg7 up");
        let refused = eventually("refused", async || {
            // Until the device has seen that the interface is up, there is nothing to refuse.
            let result = device.set(vec![Set::PrivateKey(None), Set::PrivateKey(Some(secret(1)))]).await;
            result.err()
        });
        assert_eq!(refused.await, Errno::PortInUse);
        device.set(vec![Set::ListenPort(4001)]).await.unwrap();
        assert_eq!(ports(), [4000, 4001]);
        drop(taken);
    });
}

#[test]
fn deleting_the_interface_ends_the_device() {
    if !is_inside("deleting_the_interface_ends_the_device", &[]) {
        return;
    }
    run(async {
        for up in [false, true] {
            let device = device();
            device
                .set(vec![Set::PrivateKey(Some(secret(1))), Set::Peer(peer(2, &["10.9.0.0/24"]))])
                .await
                .unwrap();
            if up {
                sh("ip link set wg7 up");
                eventually("open", async || (!ports().is_empty()).then_some(())).await;
            }
            sh("ip link delete wg7");
            assert_eq!(device.ended().await, Ended::InterfaceDeleted);
            assert!(!Path::new(SOCKET).exists() && ports().is_empty());
            assert!(device.status().await.is_err());
            assert_eq!(device.set(vec![]).await, Err(Errno::Gone));
        }
    });
}

#[test]
fn a_device_whose_interface_is_moved_to_a_container_serves_it_there() {
    if !is_inside("a_device_whose_interface_is_moved_to_a_container_serves_it_there", &[]) {
        return;
    }
    run(async {
        sh("ip netns add c");
        let device = device();
        device.set(vec![Set::PrivateKey(Some(secret(1))), Set::ListenPort(4000)]).await.unwrap();
        sh("ip link set wg7 up");
        eventually("open", async || (ports() == [4000]).then_some(())).await;
        sh("ip link set wg7 netns c");
        eventually("closed", async || ports().is_empty().then_some(())).await;
        sh("ip -n c link set wg7 up");
        eventually("open again, and still outside", async || (ports() == [4000]).then_some(())).await;
        assert_eq!(device.status().await.unwrap().listen_port, 4000);
        sh("ip -n c link delete wg7");
        assert_eq!(device.ended().await, Ended::InterfaceDeleted);
        assert!(!Path::new(SOCKET).exists());
    });
}

#[test]
fn removing_the_control_socket_ends_the_device() {
    if !is_inside("removing_the_control_socket_ends_the_device", &[]) {
        return;
    }
    run(async {
        let device = device();
        sh(&format!("rm {SOCKET}"));
        assert_eq!(device.ended().await, Ended::SocketRemoved);
        assert!(!try_sh("ip link show wg7").1);
    });
}

#[test]
fn stopping_and_dropping_end_the_device() {
    if !is_inside("stopping_and_dropping_end_the_device", &[]) {
        return;
    }
    run(async {
        let first = device();
        first.stop();
        assert_eq!(first.ended().await, Ended::Stopped);
        drop(first);
        drop(device());
        eventually("gone", async || {
            (!Path::new(SOCKET).exists() && !try_sh("ip link show wg7").1).then_some(())
        })
        .await;
    });
}

#[test]
fn what_is_taken_or_impossible_is_refused_and_harms_nobody() {
    if !is_inside("what_is_taken_or_impossible_is_refused_and_harms_nobody", &[]) {
        return;
    }
    run(async {
        let first = device();
        assert!(matches!(
            Device::create(&Config::new("wg7")),
            Err(CreateError::Interface { fault: Fault::Io { .. }, .. })
        ));
        assert!(matches!(Device::create(&Config::new("../wg8")), Err(CreateError::Name(_))));
        let _listener = std::os::unix::net::UnixListener::bind("/var/run/wireguard/wg8.sock").unwrap();
        assert!(matches!(Device::create(&Config::new("wg8")), Err(CreateError::Socket { .. })));
        assert!(!try_sh("ip link show wg8").1);
        assert!(first.status().await.is_ok());
    });
}

#[test]
fn a_number_is_filled_in_and_the_control_socket_is_optional() {
    if !is_inside("a_number_is_filled_in_and_the_control_socket_is_optional", &[]) {
        return;
    }
    let (a, b) =
        (Device::create(&Config::new("wg%d")).unwrap(), Device::create(&Config::new("wg%d")).unwrap());
    assert_eq!((a.interface(), b.interface()), ("wg0", "wg1"));
    assert!(Path::new("/var/run/wireguard/wg1.sock").exists());
    let quiet = Device::create(&Config { sockets: None, ..Config::new("wg9") }).unwrap();
    assert_eq!(quiet.interface(), "wg9");
    assert!(!Path::new("/var/run/wireguard/wg9.sock").exists());
}
