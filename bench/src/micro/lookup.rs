//! What a packet costs before any cryptography: saying what it is, and whose its address is.

use std::{collections::BTreeMap, hint::black_box, net::Ipv4Addr, time::Duration};

use tidewire_clock as clock;
use tidewire_dataplane::{Change, DataPlane, Filter, Identity, Out, Peer};
use tidewire_keys::{DiscoSecret, Epoch, NodePublic, NodeSecret, PresharedKey, Seed};
use tidewire_packet::Pool;
use tidewire_packet_ident::identify;

use super::{PREFIXES, median, time};

/// Datagrams or addresses that one sample asks for.
const ASKED: usize = 1024;

pub(super) fn measure(rounds: usize, ns: &mut BTreeMap<String, f64>) {
    let data: Vec<Vec<u8>> = (0..ASKED).map(|_| data()).collect();
    let mixed: Vec<Vec<u8>> = (0..ASKED).map(mix).collect();
    ns.insert("identify_data".into(), each(rounds, || data.iter().for_each(|datagram| ask(datagram))));
    ns.insert("identify_mix".into(), each(rounds, || mixed.iter().for_each(|datagram| ask(datagram))));
    for prefixes in PREFIXES {
        let (core, addresses) = routed(prefixes);
        let look_up = || {
            for address in &addresses {
                assert!(core.peer_at(black_box(*address).into()).is_some());
            }
        };
        ns.insert(format!("route_lookup_{prefixes}"), each(rounds, look_up));
    }
}

fn ask(datagram: &[u8]) {
    black_box(identify(black_box(datagram)));
}

fn each(rounds: usize, mut work: impl FnMut()) -> f64 {
    work();
    median((0..rounds).map(|_| time(&mut work).0.as_nanos() as f64 / ASKED as f64).collect())
}

/// A node with `prefixes` prefixes of 10 peers, every second one a single address; and addresses inside them, in no order.
fn routed(prefixes: usize) -> (DataPlane, Vec<Ipv4Addr>) {
    let now = clock::now();
    let identity = Identity { node: secret(0), disco: DiscoSecret::from_bytes([1; 32]) };
    let epoch = Epoch::new(Duration::from_secs(1_700_000_000));
    let mut core =
        DataPlane::new(now, identity, Filter::AllowAll, epoch, &Seed::new([1; 32]), Pool::default());
    let mut peers: Vec<Peer> = (1..=10).map(|n| peer(secret(n).public())).collect();
    let net = |at: usize| Ipv4Addr::from((0x0a00_0000 + at * 256) as u32);
    for at in 0..prefixes {
        let len = if at % 2 == 0 { 32 } else { 24 };
        peers[at % 10].prefixes.push(format!("{}/{len}", net(at)).parse().expect("a prefix"));
    }
    core.apply(now, Change::Peers(peers), &mut Out::default()).expect("valid prefixes");
    (core, (0..ASKED).map(|n| net(n * 7919 % prefixes)).collect())
}

fn peer(key: NodePublic) -> Peer {
    Peer {
        key,
        psk: PresharedKey::from_bytes([0; 32]),
        disco: None,
        prefixes: Vec::new(),
        candidates: Vec::new(),
        home: None,
        keepalive: None,
    }
}

fn secret(n: u8) -> NodeSecret {
    NodeSecret::from_bytes([n + 1; 32])
}

fn data() -> Vec<u8> {
    [&[4, 0, 0, 0][..], &[7; 1448]].concat()
}

/// Mostly data, as on a busy node.
fn mix(at: usize) -> Vec<u8> {
    match at * 7 % 64 {
        0 => [&b"TS\xf0\x9f\x92\xac"[..], &[9; 118]].concat(),
        1 => [&[1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42][..], &[3; 24]].concat(),
        2 => [&[0, 0, 0x7a, 0x12, 0, 0, 7, 0][..], &data()].concat(),
        3 => vec![0xa5; 200],
        4 => [&[1, 0, 0, 0][..], &[0; 144]].concat(),
        _ => data(),
    }
}
