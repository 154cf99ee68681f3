//! Two nodes with interfaces that have nothing but a relay between them, and one TCP stream.

use std::path::Path;

use anyhow::Result;

use super::super::{
    iperf,
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
    let mut server = b.spawn("iperf3", Path::new("iperf3"), &iperf::SERVER)?;
    iperf::listens(&mut server)?;
    let cpu =
        || [&relay, &nodes[0], &nodes[1]].map(Process::pid).into_iter().map(cpu_seconds).sum::<Result<f64>>();
    let before = cpu()?;
    let time = secs.max(4).to_string();
    let printed = a.run("iperf3", &["--client", &target, "--json", "--time", &time])?;
    iperf::add_tcp(report, OURS, "relayed_tcp", &iperf::sums(&printed)?, cpu()? - before)?;
    lab.forget_logs();
    Ok(())
}
