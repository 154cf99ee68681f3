//! Whether streams pass a real device whole and as super-packets: every packet that leaves by it comes back with its
//! addresses swapped, so that this machine talks to itself through it. Needs root.
#![cfg(target_os = "linux")]

mod namespace;

use std::{
    future::poll_fn,
    io::IoSliceMut,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use namespace::is_inside;
use tidewire_packet::{Batch, Plain, Pool};
use tidewire_transport::{FromOverlay, Overlay, OverlayId, ToOverlay};
use tidewire_tun::{Config, Counters, Discard, Tun};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const OWN4: &str = "10.77.0.1";
const FAR4: &str = "10.77.0.2";
const OWN6: &str = "fd77::1";
const FAR6: &str = "fd77::2";

fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn config(offload: bool) -> Config {
    let addresses = [(OWN4, 24), (OWN6, 64)].map(|(ip, len)| (ip.parse().unwrap(), len)).into();
    Config { name: Some("tw0".into()), mtu: 1420, addresses, offload, ..Config::default() }
}

fn swap(batch: &mut Batch<Plain>) {
    for i in 0..batch.len() {
        let packet = batch.get_mut(i).unwrap();
        let (a, b) =
            if packet[0] >> 4 == 4 { packet[12..20].split_at_mut(4) } else { packet[8..40].split_at_mut(16) };
        a.swap_with_slice(b);
    }
}

/// Sends every packet back with its addresses swapped, for ever.
fn mirror(mut tun: Tun) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut from = FromOverlay::default();
        let mut to = ToOverlay::default();
        loop {
            poll_fn(|cx| tun.poll_recv(cx, &mut from)).await.unwrap();
            assert_eq!(from.from, OverlayId(3));
            assert!(
                from.batch.iter().all(|packet| packet.len() <= 1420),
                "segments are no longer than the MTU"
            );
            swap(&mut from.batch);
            std::mem::swap(&mut from.batch, &mut to.batch);
            poll_fn(|cx| tun.poll_send(cx, &mut to)).await.unwrap();
            assert!(to.batch.is_empty());
        }
    })
}

async fn tcp_stream(own: &str, far: &str, bytes: usize) {
    let own: IpAddr = own.parse().unwrap();
    let listener = TcpListener::bind((own, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let far: IpAddr = far.parse().unwrap();
    let receiver = tokio::spawn(async move {
        let (mut stream, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), far);
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        stream.write_all(b"got it").await.unwrap();
        received
    });
    let sent: Vec<u8> = (0..bytes).map(|i| (i / 7 + i / 1000) as u8).collect();
    let mut stream = TcpStream::connect((far, port)).await.unwrap();
    stream.write_all(&sent).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"got it");
    assert!(receiver.await.unwrap() == sent, "the stream arrived changed");
}

fn tcp(offload: bool) -> Counters {
    run(async {
        let tun = Tun::create(&config(offload), Pool::default(), OverlayId(3)).unwrap();
        assert_eq!((tun.name(), tun.mtu()), ("tw0", 1420));
        let control = tun.control();
        let mirror = mirror(tun);
        tcp_stream(OWN4, FAR4, 20_000_000).await;
        tcp_stream(OWN6, FAR6, 20_000_000).await;
        mirror.abort();
        let counters = control.counters();
        assert_eq!(Discard::ALL.map(|reason| counters.discards.get(reason)), [0; Discard::ALL.len()]);
        assert_eq!(counters.ungathered, 0);
        counters
    })
}

#[test]
fn streams_of_tcp_pass_as_super_packets_both_ways() {
    if is_inside("streams_of_tcp_pass_as_super_packets_both_ways") {
        let counters = tcp(true);
        // 40 MB are 29,000 full packets, beside their acknowledgements.
        assert!(counters.read > 29_000, "{counters:?}");
        assert!(counters.read > 5 * counters.read_calls, "{counters:?}");
        assert!(counters.written > 5 * counters.write_calls, "{counters:?}");
    }
}

#[test]
fn without_offload_streams_pass_packet_by_packet() {
    if is_inside("without_offload_streams_pass_packet_by_packet") {
        let counters = tcp(false);
        assert_eq!((counters.read, counters.written), (counters.read_calls, counters.write_calls));
    }
}

/// Sends `datagrams` through the device with one call (UDP_SEGMENT) and receives them from it, coalesced or not.
fn udp(own: &str, far: &str) {
    run(async {
        let tun = Tun::create(&config(true), Pool::default(), OverlayId(3)).unwrap();
        let control = tun.control();
        let mirror = mirror(tun);
        // Right after it was made, an interface loses packets; TCP sees to it that this is over.
        tcp_stream(own, far, 1).await;
        let before = control.counters();
        let own: IpAddr = own.parse().unwrap();
        let (sender, receiver) = (UdpSocket::bind((own, 0)).unwrap(), UdpSocket::bind((own, 0)).unwrap());
        let state = quinn_udp::UdpSocketState::new((&sender).into()).unwrap();
        let to = SocketAddr::new(far.parse().unwrap(), receiver.local_addr().unwrap().port());
        let datagrams: Vec<Vec<u8>> = (0..20u8).map(|i| vec![i; if i == 19 { 7 } else { 1300 }]).collect();
        let receiving = quinn_udp::UdpSocketState::new((&receiver).into()).unwrap();
        let receiver = tokio::net::UdpSocket::from_std(receiver).unwrap();
        let contents = datagrams.concat();
        let transmit = quinn_udp::Transmit {
            destination: to,
            ecn: None,
            contents: &contents,
            segment_size: Some(1300),
            src_ip: None,
        };
        state.try_send((&sender).into(), &transmit).unwrap();
        let mut received = Vec::new();
        while received.len() < 20 {
            let mut buffer = vec![0; 65_536];
            let mut meta = [quinn_udp::RecvMeta::default()];
            receiver
                .async_io(tokio::io::Interest::READABLE, || {
                    receiving.recv((&receiver).into(), &mut [IoSliceMut::new(&mut buffer)], &mut meta)
                })
                .await
                .unwrap();
            received.extend(buffer[..meta[0].len].chunks(meta[0].stride).map(<[u8]>::to_vec));
        }
        assert_eq!(received, datagrams);
        mirror.abort();
        let after = control.counters();
        // Other packets may pass beside: the end of the stream, router solicitations.
        let saved = |packets: u64, calls: u64| (packets - calls) == 19;
        assert!(
            saved(after.read - before.read, after.read_calls - before.read_calls),
            "{before:?} {after:?}"
        );
        assert!(
            saved(after.written - before.written, after.write_calls - before.write_calls),
            "{before:?} {after:?}"
        );
    });
}

#[test]
fn datagrams_over_ipv4_pass_as_one_super_packet() {
    if is_inside("datagrams_over_ipv4_pass_as_one_super_packet") {
        udp(OWN4, FAR4);
    }
}

#[test]
fn datagrams_over_ipv6_pass_as_one_super_packet() {
    if is_inside("datagrams_over_ipv6_pass_as_one_super_packet") {
        udp(OWN6, FAR6);
    }
}
