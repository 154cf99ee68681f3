//! Two sets of sockets on loopback, and what the tests ask of them.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of what all share")]

use std::{
    future::poll_fn,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
};

use tidewire_packet::{Class, Pool};
use tidewire_transport::{FromUnderlay, Hop, ToUnderlay, Underlay};
use tidewire_udp::{Config, Udp};

pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

pub fn v4_only() -> Config {
    Config { v4: Some(Ipv4Addr::LOCALHOST), v6: None, ..Config::default() }
}

pub fn v6_only() -> Config {
    Config { v4: None, v6: Some(Ipv6Addr::LOCALHOST), ..Config::default() }
}

pub fn dual() -> Config {
    Config { v4: Some(Ipv4Addr::LOCALHOST), v6: Some(Ipv6Addr::LOCALHOST), ..Config::default() }
}

/// Datagrams for one hop, laid out as sealing leaves them: back to back.
pub fn item(pool: &Pool, hop: Hop, datagrams: &[Vec<u8>]) -> ToUnderlay {
    let bytes = datagrams.iter().map(Vec::len).sum();
    let mut item = ToUnderlay { batch: pool.batch(Class::holding(bytes)), ..Default::default() };
    add(&mut item, hop, datagrams);
    item
}

pub fn add(item: &mut ToUnderlay, hop: Hop, datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        item.batch.push(datagram).unwrap();
        item.address(item.batch.len() - 1, hop);
    }
}

pub async fn send(udp: &mut Udp, item: &mut ToUnderlay) {
    poll_fn(|cx| udp.poll_send(cx, item)).await.unwrap();
    assert!(item.runs.is_empty());
}

/// What came in until `count` datagrams were there: each with the hop it came from, and the runs of each call.
pub async fn receive(udp: &mut Udp, count: usize) -> (Vec<(Hop, Vec<u8>)>, Vec<Vec<(u32, u32)>>) {
    let mut datagrams = Vec::new();
    let mut runs = Vec::new();
    let mut into = FromUnderlay::default();
    while datagrams.len() < count {
        poll_fn(|cx| udp.poll_recv(cx, &mut into)).await.unwrap();
        let covered: u32 = into.runs.iter().map(|run| run.count).sum();
        assert_eq!(covered as usize, into.batch.len(), "runs cover every datagram");
        for run in &into.runs {
            datagrams.extend(run.range().map(|i| (run.hop, into.batch.get(i).unwrap().to_vec())));
        }
        runs.push(into.runs.iter().map(|run| (run.count, run.stride)).collect());
    }
    (datagrams, runs)
}

pub fn bytes(datagrams: Vec<(Hop, Vec<u8>)>) -> Vec<Vec<u8>> {
    datagrams.into_iter().map(|(_, bytes)| bytes).collect()
}

pub fn v4(udp: &Udp) -> SocketAddr {
    udp.local_addrs().v4.unwrap()
}

pub fn v6(udp: &Udp) -> SocketAddr {
    udp.local_addrs().v6.unwrap()
}

/// Datagrams that can be told apart.
pub fn numbered(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| (0..len).map(|j| (i * 31 + j) as u8).collect()).collect()
}

const INSIDE: &str = "TIDEWIRE_TEST_INSIDE_NAMESPACE";

/// Whether the test named `name` is inside a network namespace of its own, with a loopback that `setup` has changed. Outside,
/// runs the test again inside; where that cannot be, for want of root, says so in one line and lets the test pass.
#[allow(clippy::print_stderr, reason = "says why it was skipped")]
pub fn is_inside(name: &str, setup: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let can = Command::new("unshare")
        .args(["--net", "tc", "-Version"])
        .output()
        .is_ok_and(|out| out.status.success());
    if !can {
        eprintln!("skipped {name}: needs root, unshare, ip and tc");
        return false;
    }
    let script = format!("ip link set lo up && {setup} && exec \"$@\"");
    let again = Command::new("unshare")
        .args(["--net", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
    false
}
