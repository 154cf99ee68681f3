//! Parts that cost time on every packet or handshake, one thread, no sockets: ours and the others', round by round.

mod boringtun;
mod gotatun;
mod lookup;
mod ring;
mod tailscale_rs;
mod tidewire;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tidewire_clock as clock;

/// Packet sizes before sealing, in bytes.
pub const SIZES: [usize; 3] = [64, 512, 1420];

/// Packets that are sealed and opened in one go: as many as one UDP send holds of the longest.
const BATCH: usize = 44;

/// Prefixes in the routing tables that are measured.
const PREFIXES: [usize; 3] = [10, 1_000, 100_000];

/// Two ends of a session, in one thread.
trait Session {
    /// Takes [`BATCH`] packets of `size` bytes through the session once. Says how long sealing took, and opening.
    fn pass(&mut self, size: usize) -> (Duration, Duration);
}

/// Shakes hands once, and says how long it took.
type Handshake = Box<dyn FnMut() -> Duration>;

/// What was measured: medians over all rounds, and what one is of the other.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Ratios by name, `OURS_vs_OTHER`: ours through the other's, so less is better.
    #[serde(flatten)]
    pub ratios: BTreeMap<String, f64>,
    /// Nanoseconds for one packet, handshake or lookup, by name.
    pub ns: BTreeMap<String, f64>,
}

/// Measures everything, `rounds` times each in turn.
#[must_use]
pub fn measure(rounds: usize) -> Figures {
    let mut ns = BTreeMap::new();
    sessions(rounds, &mut ns);
    handshakes(rounds, &mut ns);
    lookup::measure(rounds, &mut ns);
    Figures { ratios: ratios(&ns), ns }
}

fn sessions(rounds: usize, ns: &mut BTreeMap<String, f64>) {
    let mut all: [(&str, Box<dyn Session>); 5] = [
        ("ring", Box::new(ring::Ring::new())),
        ("tidewire", Box::new(tidewire::Pair::connected())),
        ("boringtun", Box::new(boringtun::Pair::connected())),
        ("gotatun", Box::new(gotatun::Pair::connected())),
        ("ts_tunnel", Box::new(tailscale_rs::Pair::connected())),
    ];
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for size in SIZES {
        for round in 0..rounds {
            // Who comes first pays for what the others left in the caches, so that everybody is first in turn.
            let first = round % all.len();
            for at in 0..all.len() {
                let at = (first + at) % all.len();
                let (name, session) = &mut all[at];
                // Once for the caches.
                session.pass(size);
                let (seal, open) = session.pass(size);
                for (what, took) in [("seal", seal), ("open", open)] {
                    let key = format!("{what}_{size}_{name}");
                    samples.entry(key).or_default().push(took.as_nanos() as f64 / BATCH as f64);
                }
            }
        }
    }
    ns.extend(samples.into_iter().map(|(name, samples)| (name, median(samples))));
}

fn handshakes(rounds: usize, ns: &mut BTreeMap<String, f64>) {
    let mut ours = tidewire::Pair::connected();
    let mut all: [(&str, Handshake); 4] = [
        ("tidewire", Box::new(move || ours.shake())),
        ("boringtun", Box::new(boringtun::handshake)),
        ("gotatun", Box::new(gotatun::handshake)),
        ("ts_tunnel", Box::new(tailscale_rs::handshake)),
    ];
    let mut samples = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for ((_, shake), samples) in all.iter_mut().zip(&mut samples) {
            samples.push(shake().as_nanos() as f64);
        }
    }
    for ((name, _), samples) in all.iter().zip(samples) {
        ns.insert(format!("handshake_{name}"), median(samples));
    }
}

/// What is ours through what is another's, for all that both did.
fn ratios(ns: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let ours = ns.iter().filter_map(|(name, ns)| Some((name.strip_suffix("_tidewire")?, ns)));
    let others = ["ring", "boringtun", "gotatun", "ts_tunnel"];
    ours.flat_map(|(what, ours)| {
        others.into_iter().filter_map(move |other| {
            let theirs = ns.get(&format!("{what}_{other}"))?;
            Some((format!("{what}_vs_{other}"), ours / theirs))
        })
    })
    .collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// How long `work` takes, and what it made.
fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = clock::now();
    let made = work();
    (clock::now() - start, made)
}

/// An IPv4 packet of `size` bytes: who opens one looks at its header.
fn packet(size: usize) -> Vec<u8> {
    let mut packet = vec![0; size];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(size as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = 17;
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    packet
}

/// The length that WireGuard seals: padded to 16 bytes, but no longer than the MTU.
fn padded(size: usize) -> usize {
    size.next_multiple_of(16).min(1420)
}
