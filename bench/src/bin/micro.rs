//! Prints what `tidewire_bench::micro` measured: a table, or one JSON object.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use tidewire_bench::micro::{Figures, SIZES, measure};

/// Enough that a median stands still, in about ten seconds.
const ROUNDS: usize = 400;

fn main() {
    let figures = measure(ROUNDS);
    if std::env::args().any(|arg| arg == "--json") {
        println!("{}", serde_json::to_string(&figures).expect("plain numbers"));
    } else {
        print(&figures);
    }
}

/// What ours is of the other's, at most.
const GOALS: [(&str, f64); 5] = [
    ("seal_1420_vs_ring", 1.03),
    ("open_1420_vs_ring", 1.03),
    ("seal_64_vs_ring", 1.06),
    ("open_64_vs_ring", 1.06),
    ("handshake_vs_boringtun", 0.55),
];

fn print(figures: &Figures) {
    println!("ns for one packet, medians; in brackets what ours is of theirs\n");
    println!(
        "{:<12}{:>12}{:>18}{:>18}{:>18}{:>18}",
        "", "tidewire", "ring", "boringtun", "gotatun", "ts_tunnel"
    );
    for size in SIZES {
        row(figures, &format!("seal_{size}"));
        row(figures, &format!("open_{size}"));
    }
    row(figures, "handshake");
    println!();
    for (name, ns) in &figures.ns {
        if name.starts_with("identify") || name.starts_with("route") {
            println!("{name:<24}{ns:>8.1} ns");
        }
    }
    println!();
    for (name, most) in GOALS {
        let Some(ratio) = figures.ratios.get(name) else { continue };
        let verdict = if *ratio <= most { "met" } else { "MISSED" };
        println!("{name:<44}{ratio:>10.3}{:>12}  {verdict}", format!("<= {most}"));
    }
}

fn row(figures: &Figures, what: &str) {
    let ns = |who: &str| figures.ns.get(&format!("{what}_{who}"));
    let mut line = format!("{what:<12}{:>12.0}", ns("tidewire").copied().unwrap_or_default());
    for other in ["ring", "boringtun", "gotatun", "ts_tunnel"] {
        match (ns(other), figures.ratios.get(&format!("{what}_vs_{other}"))) {
            (Some(ns), Some(ratio)) => line += &format!("{:>18}", format!("{ns:.0} ({ratio:.3})")),
            _ => line += &format!("{:>18}", "-"),
        }
    }
    println!("{line}");
}
