//! What a program sees of TCP through the handles: bytes both ways, halves, refusals and ends.
#![cfg(feature = "tokio")]

mod common;

use std::io;

use common::pair::{Pair, run};
use tidewire_netstack::{DialError, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn connect(pair: &Pair) -> (TcpStream, TcpStream, TcpListener) {
    let listener = pair.b.listen_tcp(80).unwrap();
    let (a, b) = tokio::join!(pair.a.dial_tcp(pair.at_b(80)), listener.accept());
    let (b, peer) = b.unwrap();
    let a = a.unwrap();
    assert_eq!((a.peer_addr(), a.local_addr()), (b.local_addr(), b.peer_addr()));
    assert_eq!(peer, a.local_addr());
    (a, b, listener)
}

#[test]
fn what_is_written_is_echoed() {
    run(async {
        let pair = Pair::new();
        let (mut a, mut b, _listener) = connect(&pair).await;
        let echo = tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(&mut b);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            b.shutdown().await.unwrap();
        });
        for text in ["a", "few", "short", "messages"] {
            a.write_all(text.as_bytes()).await.unwrap();
            let mut back = vec![0; text.len()];
            a.read_exact(&mut back).await.unwrap();
            assert_eq!(back, text.as_bytes());
        }
        a.shutdown().await.unwrap();
        assert_eq!(a.read(&mut [0]).await.unwrap(), 0);
        echo.await.unwrap();
    });
}

/// FNV-1a, so that ten megabytes compare by a number.
fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

async fn pour(mut writer: impl tokio::io::AsyncWrite + Unpin, seed: u64, len: usize) -> u64 {
    let mut dice = common::Dice(seed);
    let (mut left, mut sum) = (len, 0xcbf2_9ce4_8422_2325);
    while left > 0 {
        let mut chunk: Vec<u8> = (0..20_000).flat_map(|_| dice.roll().to_le_bytes()).collect();
        chunk.truncate(left);
        sum = hash(sum, &chunk);
        writer.write_all(&chunk).await.unwrap();
        left -= chunk.len();
    }
    writer.shutdown().await.unwrap();
    sum
}

async fn drain(mut reader: impl tokio::io::AsyncRead + Unpin) -> (u64, usize) {
    let mut buffer = vec![0; 100_000];
    let (mut sum, mut len) = (0xcbf2_9ce4_8422_2325, 0);
    loop {
        let count = reader.read(&mut buffer).await.unwrap();
        if count == 0 {
            return (sum, len);
        }
        sum = hash(sum, &buffer[..count]);
        len += count;
    }
}

#[test]
fn ten_megabytes_each_way_at_once_arrive_whole() {
    run(async {
        const LEN: usize = 10_000_000;
        let pair = Pair::new();
        let (a, b, _listener) = connect(&pair).await;
        let ((a_in, a_out), (b_in, b_out)) = (a.into_split(), b.into_split());
        let ends = tokio::join!(pour(a_out, 1, LEN), drain(b_in), pour(b_out, 2, LEN), drain(a_in));
        assert_eq!((ends.0, LEN), ends.1);
        assert_eq!((ends.2, LEN), ends.3);
    });
}

#[test]
fn a_closed_half_leaves_the_other_open() {
    run(async {
        let pair = Pair::new();
        let (mut a, mut b, _listener) = connect(&pair).await;
        a.write_all(b"question").await.unwrap();
        a.shutdown().await.unwrap();
        let error = a.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let mut text = String::new();
        b.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        b.write_all(b"answer").await.unwrap();
        b.shutdown().await.unwrap();
        text.clear();
        a.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "answer");
    });
}

#[test]
fn dropping_the_writing_half_closes_it() {
    run(async {
        let pair = Pair::new();
        let (a, mut b, _listener) = connect(&pair).await;
        let (mut reader, mut writer) = a.into_split();
        writer.write_all(b"last words").await.unwrap();
        drop(writer);
        let mut text = String::new();
        b.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
        b.write_all(b"heard").await.unwrap();
        drop(b);
        text.clear();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "heard");
    });
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    run(async {
        let pair = Pair::new();
        let error = pair.a.dial_tcp(pair.at_b(81)).await.unwrap_err();
        assert_eq!(error, DialError::Refused);
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_dial_that_nobody_answers_times_out() {
    run(async {
        let mut config = common::config(common::A);
        config.timeouts.dial = std::time::Duration::from_millis(50);
        let pair = Pair::with([config, common::config(common::B)]);
        let nobody = "100.64.0.99:80".parse().unwrap();
        assert_eq!(pair.a.dial_tcp(nobody).await.unwrap_err(), DialError::TimedOut);
    });
}

#[test]
fn what_cannot_be_dialled_is_refused_at_once() {
    run(async {
        let v4_only = tidewire_netstack::Config::new(vec![common::address(common::A, false)], [1; 32]);
        let pair = Pair::with([v4_only, common::config(common::B)]);
        let dial = async |to: &str| pair.a.dial_tcp(to.parse().unwrap()).await.unwrap_err();
        assert_eq!(dial("100.64.0.2:0").await, DialError::Unaddressable);
        assert_eq!(dial("0.0.0.0:80").await, DialError::Unaddressable);
        assert_eq!(dial("224.0.0.1:80").await, DialError::Unaddressable);
        assert_eq!(dial("[fd00::1]:80").await, DialError::NoAddress);
    });
}

#[test]
fn bytes_left_unread_reset_the_connection() {
    run(async {
        let pair = Pair::new();
        let (mut a, mut b, _listener) = connect(&pair).await;
        a.write_all(b"never read").await.unwrap();
        b.read_exact(&mut [0; 5]).await.unwrap();
        drop(b);
        let error = a.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let error = a.write_all(b"too late").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_abort_resets_the_connection() {
    run(async {
        let pair = Pair::new();
        let (mut a, b, _listener) = connect(&pair).await;
        b.abort();
        assert_eq!(a.read(&mut [0; 10]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_arrived_before_a_reset_can_still_be_read() {
    run(async {
        let pair = Pair::new();
        let (mut a, mut b, _listener) = connect(&pair).await;
        b.write_all(b"first this").await.unwrap();
        let mut text = [0; 10];
        a.read_exact(&mut text[..5]).await.unwrap();
        b.abort();
        a.read_exact(&mut text[5..]).await.unwrap();
        assert_eq!(&text, b"first this");
        assert_eq!(a.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn everything_ends_when_the_stack_does() {
    run(async {
        let mut pair = Pair::new();
        let (mut a, mut b, listener) = connect(&pair).await;
        let socket = pair.a.udp_bind(0).unwrap();
        let net = pair.a.clone();
        let reading = tokio::spawn(async move { a.read(&mut [0]).await.unwrap_err().kind() });
        let accepting = tokio::spawn(async move { listener.accept().await.unwrap_err().kind() });
        let receiving = tokio::spawn(async move { socket.recv_from(&mut [0]).await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || pair.stop()).await.unwrap();
        assert_eq!(reading.await.unwrap(), io::ErrorKind::NotConnected);
        assert_eq!(accepting.await.unwrap(), io::ErrorKind::NotConnected);
        assert_eq!(receiving.await.unwrap(), io::ErrorKind::NotConnected);
        assert_eq!(b.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(b.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(net.dial_tcp("100.64.0.2:80".parse().unwrap()).await.unwrap_err(), DialError::Closed);
        assert!(net.listen_tcp(80).is_err() && net.udp_bind(0).is_err());
    });
}
