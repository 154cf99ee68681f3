//! What is done to a pair of devices, and what is read of it.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    super::{iperf, report::Report},
    bed::{Bed, Device, INNER, Link},
};
use crate::interop::kit::process::Process;

/// A socket buffer that holds a flood: with less, iperf3's own socket drops and hides the tunnel.
const BUFFER: &str = "4M";
/// Pings, a hundredth of a second apart.
const PINGS: &str = "500";
/// Peers beside the one that is connected.
const PEERS: usize = 1000;

/// Everything, on one pair.
pub(super) fn all(bed: &Bed, secs: u32, report: &mut Report) -> Result<()> {
    let server = server(bed)?;
    tcp(bed, "tcp", secs, &[], report)?;
    tcp(bed, "tcp_back", secs, &["--reverse"], report)?;
    tcp(bed, "tcp_4_streams", secs, &["--parallel", "4"], report)?;
    flood(bed, secs, report)?;
    ping(bed, report)?;
    report.add(bed.name, "rss_after_load_mb", bed.resident_mb()?);
    drop(server);
    Ok(())
}

/// One stream, on a link where something else than the device may decide.
pub(super) fn tcp_alone(bed: &Bed, secs: u32, report: &mut Report) -> Result<()> {
    let server = server(bed)?;
    let name = match bed.link {
        Link::Veth => "tcp",
        Link::Sw => "tcp_sw",
        Link::Nic => "tcp_nic",
    };
    tcp(bed, name, secs, &[], report)?;
    drop(server);
    Ok(())
}

/// How long a thousand peers take to configure, and what they cost while nothing happens.
pub(super) fn many_peers(device: &Device, report: &mut Report) -> Result<()> {
    let bed = Bed::with_peers(Link::Veth, device, PEERS)?;
    report.add(device.name, "setconf_1000_ms", bed.setconf.as_secs_f64() * 1e3);
    report.add(device.name, "rss_1000_peers_mb", bed.resident_mb()?);
    Ok(())
}

/// Starts the far end of all loads.
fn server(bed: &Bed) -> Result<Process> {
    let mut server = bed.spawn(1, "iperf3", &iperf::SERVER)?;
    iperf::listens(&mut server)?;
    Ok(server)
}

fn tcp(bed: &Bed, name: &str, secs: u32, arguments: &[&str], report: &mut Report) -> Result<()> {
    let before = bed.cpu_seconds()?;
    let sums = load(bed, secs, arguments)?;
    iperf::add_tcp(report, bed.name, name, &sums, bed.cpu_seconds()? - before)
}

fn flood(bed: &Bed, secs: u32, report: &mut Report) -> Result<()> {
    let sums = load(bed, secs, &["--udp", "--length", "64", "--bitrate", "0", "--window", BUFFER])?;
    let number = |name: &str| iperf::number(&sums["sum"][name]);
    let received = number("packets")? - number("lost_packets")?;
    report.add(bed.name, "udp64_kpps", received / number("seconds")? / 1e3);
    Ok(())
}

fn load(bed: &Bed, secs: u32, arguments: &[&str]) -> Result<Value> {
    let time = secs.to_string();
    let common = ["--client", INNER[1], "--json", "--time", &time];
    let printed = bed.run(0, "iperf3", &[&common, arguments].concat())?;
    iperf::sums(&printed).context(bed.name)
}

fn ping(bed: &Bed, report: &mut Report) -> Result<()> {
    let arguments = ["-i", "0.01", "-c", PINGS, INNER[1]];
    // Once for what sleeps.
    bed.run(0, "ping", &["-i", "0.01", "-c", "100", "-q", INNER[1]])?;
    let printed = bed.run(0, "ping", &arguments)?;
    let mut times = round_trips(&printed);
    if times.len() < 100 {
        bail!("{}: only {} pings were answered", bed.name, times.len());
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[(times.len() as f64 * part) as usize];
    report.add(bed.name, "ping_p50_us", at(0.5));
    report.add(bed.name, "ping_p99_us", at(0.99));
    Ok(())
}

/// The round trip times that ping printed, in microseconds.
fn round_trips(printed: &str) -> Vec<f64> {
    let time = |line: &str| line.split("time=").nth(1)?.split(' ').next()?.parse::<f64>().ok();
    printed.lines().filter_map(time).map(|ms| ms * 1e3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_read() {
        let printed =
            "PING 10.0.0.1\n64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.217 ms\n\n1 packets, time 0ms\n";
        assert_eq!(round_trips(printed), [217.0]);
    }
}
