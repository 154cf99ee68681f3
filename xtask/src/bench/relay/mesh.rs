//! Two nodes with interfaces that have nothing but a relay between them, and one TCP stream.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::{
    process::cpu_seconds,
    report::{OURS, Report},
};
use crate::interop::{
    Stage,
    kit::{
        eventually,
        lab::Lab,
        mesh::{A, B, RELAY, START, configs, cut_udp, start_relay, text},
        process::Process,
    },
};

const INTERFACE: &str = "mesh0";

pub(super) fn measure(tidewire: &Path, secs: u32, report: &mut Report) -> Result<()> {
    let lab = Lab::new("bench-mesh")?;
    let stage = Stage { lab: &lab, tidewire };
    let relay_host = lab.host("relay", *RELAY.ip())?;
    let (a, b) = (lab.host(A.name, A.underlay)?, lab.host(B.name, B.underlay)?);
    cut_udp(&[&a, &b])?;
    let (relay, region) = start_relay(&stage, &relay_host, &[])?;
    let files = configs(&stage, (&a, &b), &region)?;
    let up = ["up", "--tun", INTERFACE, "--config"];
    let nodes = [
        a.spawn("up", tidewire, &[&up[..], &[text(&files[0])?]].concat())?,
        b.spawn("up", tidewire, &[&up[..], &[text(&files[1])?]].concat())?,
    ];
    let target = B.overlay.to_string();
    eventually(START, "an answer through the relay", || Ok(a.run("ping", &["-c1", "-W1", &target])))?;
    let mut server = b.spawn("iperf3", Path::new("iperf3"), &["--server", "--forceflush"])?;
    eventually(Duration::from_secs(10), "iperf3 to listen", || {
        server.check()?;
        Ok(server.printed()?.contains("listening").then_some(()).context("it says nothing"))
    })?;
    let cpu =
        || [&relay, &nodes[0], &nodes[1]].map(Process::pid).into_iter().map(cpu_seconds).sum::<Result<f64>>();
    let before = cpu()?;
    let time = secs.max(4).to_string();
    let printed = a.run("iperf3", &["--client", &target, "--json", "--time", &time])?;
    let used = cpu()? - before;
    let printed: Value = serde_json::from_str(&printed)?;
    let end = &printed["end"];
    let number = |value: &Value| value.as_f64().context("iperf3 left out a number");
    let received = &end["sum_received"];
    report.add(OURS, "relayed_tcp_gbit", number(&received["bits_per_second"])? / 1e9);
    report.add(OURS, "relayed_tcp_cpu_s_per_gb", used / (number(&received["bytes"])? / 1e9));
    report.add(OURS, "relayed_tcp_retransmits", number(&end["sum_sent"]["retransmits"])?);
    lab.forget_logs();
    Ok(())
}
