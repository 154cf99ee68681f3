//! What a program sees of listeners and UDP through the handles, and that dropping them frees everything.
#![cfg(feature = "tokio")]

mod common;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    A, B, address,
    pair::{Pair, run},
};
use tidewire_netstack::{BindError, Local, SendError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Waits for something that other threads bring about; `run` bounds it.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tidewire_clock::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_burst_of_fifty_connects_is_served() {
    run(async {
        let pair = Pair::new();
        let listener = pair.b.listen_tcp(80).unwrap();
        let serve = tokio::spawn(async move {
            for _ in 0..50 {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let number = stream.read_u32().await.unwrap();
                    stream.write_u32(number * 2).await.unwrap();
                    stream.shutdown().await.unwrap();
                });
            }
        });
        let clients = (0..50_u32).map(|number| {
            let (net, to) = (pair.a.clone(), pair.at_b(80));
            tokio::spawn(async move {
                let mut stream = net.dial_tcp(to).await.unwrap();
                stream.write_u32(number).await.unwrap();
                assert_eq!(stream.read_u32().await.unwrap(), number * 2);
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        serve.await.unwrap();
    });
}

#[test]
fn a_listener_can_be_waited_for_by_several_tasks() {
    run(async {
        let pair = Pair::new();
        let listener = Arc::new(pair.b.listen_tcp(80).unwrap());
        let accepting: Vec<_> = (0..4)
            .map(|_| {
                let listener = Arc::clone(&listener);
                tokio::spawn(async move { listener.accept().await.unwrap().1 })
            })
            .collect();
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(pair.a.dial_tcp(pair.at_b(80)).await.unwrap());
        }
        let mut peers = Vec::new();
        for task in accepting {
            peers.push(task.await.unwrap());
        }
        peers.sort();
        let mut own: Vec<_> = streams.iter().map(tidewire_netstack::TcpStream::local_addr).collect();
        own.sort();
        assert_eq!(peers, own);
    });
}

#[test]
fn places_are_given_once_and_freed_by_dropping() {
    run(async {
        let pair = Pair::new();
        let listener = pair.b.listen_tcp(80).unwrap();
        assert_eq!(listener.local(), Local::from(80));
        assert_eq!(pair.b.listen_tcp(80).unwrap_err(), BindError::InUse(Local::from(80)));
        drop(listener);
        let again = pair.b.listen_tcp(80).unwrap();
        let (a, b) = tokio::join!(pair.a.dial_tcp(pair.at_b(80)), again.accept());
        assert!(a.is_ok() && b.is_ok());
        let socket = pair.b.udp_bind(53).unwrap();
        assert_eq!(pair.b.udp_bind(53).unwrap_err(), BindError::InUse(Local::from(53)));
        drop(socket);
        assert!(pair.b.udp_bind(53).is_ok());
        let any = pair.b.listen_tcp(0).unwrap().local();
        assert!(any.port >= 49_152);
        let elsewhere: SocketAddr = "9.9.9.9:80".parse().unwrap();
        assert_eq!(pair.b.listen_tcp(elsewhere).unwrap_err(), BindError::NotOwn(elsewhere.ip()));
    });
}

#[test]
fn datagrams_go_both_ways() {
    run(async {
        let pair = Pair::new();
        let a = pair.a.udp_bind(0).unwrap();
        let b = pair.b.udp_bind(53).unwrap();
        let mut buffer = [0; 2000];
        for v6 in [false, true] {
            let to = SocketAddr::new(address(B, v6), 53);
            for text in [&b"question"[..], b"", &[3; 1200]] {
                a.send_to(text, to).await.unwrap();
                let (len, from) = b.recv_from(&mut buffer).await.unwrap();
                assert_eq!((&buffer[..len], from), (text, SocketAddr::new(address(A, v6), a.local().port)));
                b.send_to(b"answer", from).await.unwrap();
                let (len, from) = a.recv_from(&mut buffer).await.unwrap();
                assert_eq!((&buffer[..len], from), (&b"answer"[..], to));
            }
        }
    });
}

#[test]
fn a_datagram_that_does_not_fit_is_refused_with_the_size_that_does() {
    run(async {
        let pair = Pair::new();
        let a = pair.a.udp_bind(0).unwrap();
        let error = a.send_to(&[0; 1253], pair.at_b(53)).await.unwrap_err();
        assert_eq!(error, SendError::TooLarge { len: 1253, most: 1252 });
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
        assert_eq!(a.send_to(b"x", pair.at_b(0)).await, Err(SendError::Unaddressable));
    });
}

#[test]
fn more_datagrams_than_may_wait_hold_the_sender_back_and_all_arrive() {
    run(async {
        let pair = Pair::new();
        let a = pair.a.udp_bind(0).unwrap();
        let b = pair.b.udp_bind(53).unwrap();
        let to = pair.at_b(53);
        // In lockstep of 100, which is less than what the receiver keeps.
        let mut buffer = [0; 1000];
        for round in 0..20_u8 {
            for _ in 0..100 {
                a.send_to(&[round; 1000], to).await.unwrap();
            }
            for _ in 0..100 {
                assert_eq!(b.recv_from(&mut buffer).await.unwrap().0, 1000);
                assert_eq!(buffer, [round; 1000]);
            }
        }
    });
}

#[test]
fn dropping_everything_frees_every_socket() {
    run(async {
        let mut configs = [common::config(A), common::config(B)];
        configs[0].limits.sockets = 16;
        let pair = Pair::with(configs);
        let listener = pair.b.listen_tcp(80).unwrap();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let (a, b) = tokio::join!(pair.a.dial_tcp(pair.at_b(80)), listener.accept());
            ours.push(a.unwrap());
            theirs.push(b.unwrap().0);
        }
        let socket = pair.b.udp_bind(0).unwrap();
        until(|| pair.b.tally().sockets() == 11).await;
        // The side that closes first, which is B, answers late packets for a while.
        drop((theirs, listener, socket));
        for stream in &mut ours {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
        drop(ours);
        until(|| pair.a.tally().sockets() == 0).await;
        until(|| pair.b.tally().sockets() == 10).await;
    });
}

#[test]
fn a_dial_that_is_dropped_leaves_nothing() {
    run(async {
        let pair = Pair::new();
        let nobody = "100.64.0.99:80".parse().unwrap();
        {
            let dial = std::pin::pin!(pair.a.dial_tcp(nobody));
            let short = tidewire_clock::timeout(Duration::from_millis(20), dial).await;
            assert!(short.is_err());
        }
        until(|| pair.a.tally().sockets() == 0).await;
    });
}

#[test]
fn connections_that_nobody_accepts_are_reset_with_the_listener() {
    run(async {
        let pair = Pair::new();
        let listener = pair.b.listen_tcp(80).unwrap();
        let mut stream = pair.a.dial_tcp(pair.at_b(80)).await.unwrap();
        drop(listener);
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        until(|| pair.b.tally().sockets() == 0).await;
    });
}

#[test]
fn a_reader_that_stops_bounds_what_is_taken_from_the_writer() {
    run(async {
        const LEN: usize = 24 << 20;
        // Both stacks' buffers, both handles' pieces, and what is in hands.
        const BOUND: usize = 4 << 20;
        let pair = Pair::new();
        let listener = pair.b.listen_tcp(80).unwrap();
        let (a, b) = tokio::join!(pair.a.dial_tcp(pair.at_b(80)), listener.accept());
        let (mut a, mut b) = (a.unwrap(), b.unwrap().0);
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let writer = tokio::spawn(async move {
            let chunk = vec![5; 64 << 10];
            while count.load(Ordering::Relaxed) < LEN {
                let taken = a.write(&chunk).await.unwrap();
                count.fetch_add(taken, Ordering::Relaxed);
            }
            a.shutdown().await.unwrap();
        });
        until(|| written.load(Ordering::Relaxed) > 1 << 20).await;
        let mut read = 0;
        let mut buffer = vec![0; 10_000];
        loop {
            let count = b.read(&mut buffer).await.unwrap();
            read += count;
            let ahead = written.load(Ordering::Relaxed) - read;
            assert!(ahead < BOUND, "the writer is {ahead} bytes ahead");
            if count == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        writer.await.unwrap();
        assert_eq!(read, written.load(Ordering::Relaxed));
    });
}

#[test]
fn handles_work_on_a_runtime_with_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let pair = Pair::new();
        let listener = pair.b.listen_tcp(80).unwrap();
        let serve = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(&mut stream);
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let clients: Vec<_> = (0..8_u8)
            .map(|n| {
                let (net, to) = (pair.a.clone(), pair.at_b(80));
                tokio::spawn(async move {
                    let (mut reader, mut writer) = net.dial_tcp(to).await.unwrap().into_split();
                    let write = tokio::spawn(async move {
                        for _ in 0..50 {
                            writer.write_all(&[n; 20_000]).await.unwrap();
                        }
                        writer
                    });
                    let mut back = vec![0; 1_000_000];
                    reader.read_exact(&mut back).await.unwrap();
                    assert!(back.iter().all(|byte| *byte == n));
                    drop(write.await.unwrap());
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        serve.abort();
    });
}
