//! Whether the interface is what was asked for, and whether what others do to it is told. Needs root.
#![cfg(target_os = "linux")]

mod namespace;

use std::{future::poll_fn, io::ErrorKind};

use namespace::{Other, is_inside, sh};
use tidewire_packet::{Class, Pool};
use tidewire_transport::{Fault, FromOverlay, Overlay, OverlayId, ToOverlay};
use tidewire_tun::{Config, Discard, Tun, TunEvent};

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn create(config: Config) -> Tun {
    Tun::create(&config, Pool::default(), OverlayId(0)).unwrap()
}

fn named(name: &str) -> Config {
    Config { name: Some(name.into()), ..Config::default() }
}

#[test]
fn addresses_and_routes_are_as_asked_for() {
    if !is_inside("addresses_and_routes_are_as_asked_for") {
        return;
    }
    run(async {
        let addresses =
            [("100.64.0.1", 32), ("fd7a::1", 128)].map(|(ip, len)| (ip.parse().unwrap(), len)).into();
        let tun = create(Config { mtu: 1400, addresses, ..named("tw0") });
        let shown = sh("ip address show dev tw0");
        assert!(shown.contains("mtu 1400") && shown.contains("UP"), "{shown}");
        assert!(shown.contains("inet 100.64.0.1/32") && shown.contains("inet6 fd7a::1/128"), "{shown}");
        assert!(shown.contains("inet6 fd7a::1/128 scope global nodad \n"), "usable at once: {shown}");

        let control = tun.control();
        for (prefix, len) in [("100.64.7.0", 24), ("fd7a:7::", 48)] {
            control.add_route(prefix.parse().unwrap(), len).unwrap();
            let again = control.add_route(prefix.parse().unwrap(), len).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        }
        assert!(sh("ip route").contains("100.64.7.0/24 dev tw0"));
        assert!(sh("ip -6 route").contains("fd7a:7::/48 dev tw0"));
        control.remove_route("100.64.7.0".parse().unwrap(), 24).unwrap();
        control.remove_route("fd7a:7::".parse().unwrap(), 48).unwrap();
        assert!(!sh("ip route; ip -6 route").contains("fd7a:7::"));
        assert!(control.remove_route("fd7a:7::".parse().unwrap(), 48).is_err());

        control.add_address("100.64.0.2".parse().unwrap(), 32).unwrap();
        assert_eq!(
            control.add_address("100.64.0.2".parse().unwrap(), 32).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        control.remove_address("100.64.0.1".parse().unwrap(), 32).unwrap();
        let shown = sh("ip address show dev tw0");
        assert!(shown.contains("100.64.0.2/32") && !shown.contains("100.64.0.1/32"), "{shown}");
    });
}

#[test]
fn changes_from_outside_are_told_in_order() {
    if !is_inside("changes_from_outside_are_told_in_order") {
        return;
    }
    run(async {
        let mut tun = create(Config { up: false, ..named("tw0") });
        let mut events = tun.events().unwrap();
        assert_eq!(events.next().await, Some(TunEvent::Down));
        sh("ip link set tw0 up");
        assert_eq!(events.next().await, Some(TunEvent::Up));
        sh("ip link set tw0 mtu 1399; ip link set tw0 mtu 1398");
        assert_eq!(events.next().await, Some(TunEvent::Mtu(1399)));
        assert_eq!(events.next().await, Some(TunEvent::Mtu(1398)));
        assert_eq!(tun.mtu(), 1398);
        sh(
            "ip link add other type veth peer name another; ip link set other up mtu 1000; ip link delete other",
        );
        sh("ip link set tw0 down");
        assert_eq!(events.next().await, Some(TunEvent::Down));
        sh("ip link delete tw0");
        assert_eq!(events.next().await, Some(TunEvent::Deleted));
        assert_eq!(events.next().await, None);
        let mut from = FromOverlay::default();
        let fault = poll_fn(|cx| tun.poll_recv(cx, &mut from)).await.unwrap_err();
        assert!(fault.is_final(), "{fault}");
    });
}

#[test]
fn an_mtu_that_the_device_noticed_first_is_told_all_the_same() {
    if !is_inside("an_mtu_that_the_device_noticed_first_is_told_all_the_same") {
        return;
    }
    run(async {
        let tun = create(named("tw0"));
        let mut events = tun.events().unwrap();
        assert_eq!(events.next().await, Some(TunEvent::Up));
        tun.control().set_mtu(1399).unwrap();
        assert_eq!(tun.mtu(), 1399);
        assert_eq!(events.next().await, Some(TunEvent::Mtu(1399)));
    });
}

#[test]
fn an_interface_is_followed_to_another_namespace_and_back() {
    if !is_inside("an_interface_is_followed_to_another_namespace_and_back") {
        return;
    }
    run(async {
        let other = Other::new();
        let tun = create(named("tw0"));
        let mut events = tun.events().unwrap();
        assert_eq!(events.next().await, Some(TunEvent::Up));
        sh(&format!("ip link set tw0 netns {}", other.pid()));
        assert_eq!(events.next().await, Some(TunEvent::Down));
        // Of the same name, and none of its business.
        sh("ip link add tw0 type veth peer name other");
        other.sh("ip link set tw0 up mtu 1399");
        assert_eq!(events.next().await, Some(TunEvent::Up));
        assert_eq!(events.next().await, Some(TunEvent::Mtu(1399)));
        other.sh("ip link set tw0 down");
        assert_eq!(events.next().await, Some(TunEvent::Down));
        sh("ip link delete tw0");
        other.sh(&format!("ip link set tw0 netns {}", std::process::id()));
        sh("ip link set tw0 up");
        assert_eq!(events.next().await, Some(TunEvent::Up));
        sh(&format!("ip link set tw0 netns {}", other.pid()));
        assert_eq!(events.next().await, Some(TunEvent::Down));
        other.sh("ip link delete tw0");
        assert_eq!(events.next().await, Some(TunEvent::Deleted));
        assert_eq!(events.next().await, None);
        drop(tun);
    });
}

#[test]
fn an_interface_that_is_out_of_sight_counts_as_up_until_it_is_deleted() {
    if !is_inside("an_interface_that_is_out_of_sight_counts_as_up_until_it_is_deleted") {
        return;
    }
    run(async {
        let (other, third) = (Other::new(), Other::new());
        let tun = create(named("tw0"));
        let mut events = tun.events().unwrap();
        assert_eq!(events.next().await, Some(TunEvent::Up));
        sh(&format!("ip link set tw0 netns {}", other.pid()));
        assert_eq!(events.next().await, Some(TunEvent::Down));
        other.sh(&format!("ip link set tw0 netns {}", third.pid()));
        assert_eq!(events.next().await, Some(TunEvent::Up));
        // With the last process of a namespace its interfaces go, too.
        drop(third);
        assert_eq!(events.next().await, Some(TunEvent::Deleted));
        drop(tun);
    });
}

#[test]
fn a_waiting_reader_learns_that_the_interface_is_gone() {
    if !is_inside("a_waiting_reader_learns_that_the_interface_is_gone") {
        return;
    }
    run(async {
        let mut tun = create(named("tw0"));
        let reader = tokio::spawn(async move {
            let mut from = FromOverlay::default();
            loop {
                if let Err(fault) = poll_fn(|cx| tun.poll_recv(cx, &mut from)).await {
                    return (fault, tun);
                }
            }
        });
        tokio::task::yield_now().await;
        sh("ip link delete tw0");
        let (fault, mut tun) = reader.await.unwrap();
        assert!(matches!(fault, Fault::Broken { .. }), "{fault}");
        let mut to = ToOverlay { batch: Pool::default().batch(Class::Send), ..Default::default() };
        to.batch.push(&[0x45; 40]).unwrap();
        let fault = poll_fn(|cx| tun.poll_send(cx, &mut to)).await.unwrap_err();
        assert!(matches!(fault, Fault::Broken { .. }), "{fault}");
        // It was deleted before anybody asked.
        assert_eq!(tun.events().unwrap().next().await, Some(TunEvent::Deleted));
    });
}

#[test]
fn while_it_is_down_packets_are_counted() {
    if !is_inside("while_it_is_down_packets_are_counted") {
        return;
    }
    run(async {
        let mut tun = create(Config { up: false, ..named("tw0") });
        let mut to = ToOverlay { batch: Pool::default().batch(Class::Send), ..Default::default() };
        to.batch.push(&[0x45; 40]).unwrap();
        to.batch.push(&[0x45; 40]).unwrap();
        poll_fn(|cx| tun.poll_send(cx, &mut to)).await.unwrap();
        assert!(to.batch.is_empty());
        assert_eq!(tun.control().counters().discards.get(Discard::Down), 2);
        tun.control().set_up(true).unwrap();
        to.batch.push(&[0x11; 40]).unwrap();
        poll_fn(|cx| tun.poll_send(cx, &mut to)).await.unwrap();
        assert_eq!(tun.control().counters().discards.get(Discard::Refused), 1);
    });
}

#[test]
fn the_interface_goes_with_its_last_handle() {
    if !is_inside("the_interface_goes_with_its_last_handle") {
        return;
    }
    run(async {
        let tun = create(named("tw0"));
        let (control, events) = (tun.control(), tun.events().unwrap());
        drop(tun);
        control.set_mtu(1300).unwrap();
        assert!(sh("ip link").contains("tw0: "));
        drop(control);
        assert!(!sh("ip link").contains("tw0: "));
        drop(events);
    });
}

#[test]
fn a_name_that_is_taken_or_impossible_is_an_error() {
    if !is_inside("a_name_that_is_taken_or_impossible_is_an_error") {
        return;
    }
    run(async {
        let tun = create(Config { name: None, ..Config::default() });
        let again = Tun::create(&named(tun.name()), Pool::default(), OverlayId(1));
        assert!(matches!(again, Err(Fault::Io { .. })));
        let long = Tun::create(&named("a-name-of-more-than-fifteen"), Pool::default(), OverlayId(1));
        assert!(matches!(long, Err(Fault::Io { .. })));
        let numbered = create(named("tw%d"));
        assert_eq!(numbered.name(), "tw0");
    });
}
