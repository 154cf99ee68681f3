//! `tidewire netcheck`: what the network lets through, which relays answer how fast, and which of them would be home.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use tidewire_derp::{
    RegionId, Regions,
    client::{Names, proxies_from_env},
    home::{Choice, HomeLink},
};
use tidewire_keys::Seed;
use tidewire_netcheck::{Extent, Netcheck, RegionReport, Report, Rounds};
use tidewire_node::{clock, read_regions};

use super::block_on;
use crate::output::{print, print_json};

/// Checks what the network lets through: relays, own addresses, NAT, captive portals
#[derive(Debug, Args)]
pub(crate) struct NetcheckCommand {
    /// The relays: a file with `[[region]]` entries (TOML, such as a node's configuration, or what `tidewire relay` prints), or
    /// Tailscale's DERPMap (JSON)
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Prints one JSON object, times in milliseconds
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// The region that a node without a home would choose.
    home: Option<u16>,
    /// Why that one, or why none.
    why: &'a str,
}

impl NetcheckCommand {
    pub(crate) fn run(&self) -> Result<()> {
        let Some(map) = &self.map else {
            bail!(
                "--map FILE is required: there are no public relays to check. The file holds the [[region]] entries that \
                 `tidewire relay` prints (a node's configuration has them), or Tailscale's DERPMap as JSON"
            );
        };
        block_on(self.check(map))
    }

    async fn check(&self, map: &Path) -> Result<()> {
        let map = read_regions(map)?;
        let seed = Seed::try_fill(getrandom::fill)?;
        let netcheck = Netcheck::new(Names::new(), proxies_from_env()?, Vec::new());
        let report = netcheck.run(&map, Extent::Everything, None, &seed).await;
        let (home, why) = choose(&map, &report);
        if self.json {
            return print_json(&Output { report: &report, home: home.map(|home| home.0), why: &why });
        }
        summary(&report, &why)?;
        table(&report, home)
    }
}

/// The home that a node would choose that has none yet.
fn choose(map: &Regions, report: &Report) -> (Option<RegionId>, String) {
    let now = clock::now();
    let mut rounds = Rounds::new();
    rounds.learn(now, now, report.clone(), report.latencies());
    let Choice::Move(home, _) = rounds.choose(now, map, None, HomeLink::Unknown) else {
        return (None, "no relay answered".to_owned());
    };
    let others = report.latencies().filter(|(region, _)| *region != home);
    let why = match others.min_by_key(|(region, latency)| (*latency, *region)) {
        Some((next, latency)) => format!("the nearest; the next is {next} with {}", ms(latency)),
        None => "the only one that answered".to_owned(),
    };
    (Some(home), why)
}

fn summary(report: &Report, why: &str) -> Result<()> {
    let varies = match report.mapping_varies {
        Some(true) => "yes: a peer cannot use what a relay sees; direct paths are hard to find",
        Some(false) => "no: what a relay sees is good for peers too",
        None => "unknown: fewer than two relays answered by IPv4",
    };
    let hairpin = match report.hairpin {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not tried: no IPv4 address is known",
    };
    let portal = match report.captive_portal {
        Some(true) => "yes: something else answers in the place of a relay",
        Some(false) => "no",
        None => "unknown: no relay answers plain HTTP",
    };
    let lines = [
        ("UDP by IPv4", udp(report.udp_v4, "IPv4", report.global_v4)),
        ("UDP by IPv6", udp(report.udp_v6, "IPv6", report.global_v6)),
        ("Mapping varies", varies.to_owned()),
        ("Hairpinning", hairpin.to_owned()),
        ("Captive portal", portal.to_owned()),
        ("Home", home_line(report, why)),
    ];
    lines.into_iter().try_for_each(|(name, value)| print(format_args!("{name:<16}{value}")))
}

fn udp(works: Option<bool>, family: &str, address: Option<impl Display>) -> String {
    match (works, address) {
        (Some(true), Some(address)) => format!("yes, seen as {address}"),
        (Some(true), None) => "yes".to_owned(),
        (Some(false), _) => "no".to_owned(),
        (None, _) => format!("not tried: no relay is known to answer STUN by {family}"),
    }
}

fn home_line(report: &Report, why: &str) -> String {
    match report.latencies().min_by_key(|(region, latency)| (*latency, *region)) {
        Some((home, latency)) => format!("{home} ({}), {}: {why}", code(report, home), ms(latency)),
        None => format!("none: {why}"),
    }
}

fn code(report: &Report, region: RegionId) -> &str {
    report.region(region).map_or("", |region| region.code.as_str())
}

/// The regions, the nearest first; the home has a star.
fn table(report: &Report, home: Option<RegionId>) -> Result<()> {
    let mut rows: Vec<&RegionReport> = report.regions.iter().collect();
    rows.sort_by_key(|row| (row.latency().unwrap_or(Duration::MAX), row.region));
    let width = rows.iter().map(|row| row.code.chars().count()).max().unwrap_or(0).max(4) + 2;
    print(format_args!(
        "\n  {:<8}{:<width$}{:<12}{:<12}{}",
        "Region", "Code", "STUN IPv4", "STUN IPv6", "HTTPS"
    ))?;
    for row in rows {
        let star = if Some(row.region) == home { '*' } else { ' ' };
        let https = row.https_failure.clone().unwrap_or_else(|| cell(row.https));
        let (region, v4, v6) = (row.region.to_string(), cell(row.stun_v4), cell(row.stun_v6));
        print(format_args!("{star} {region:<8}{:<width$}{v4:<12}{v6:<12}{https}", row.code))?;
    }
    Ok(())
}

fn cell(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), ms)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
