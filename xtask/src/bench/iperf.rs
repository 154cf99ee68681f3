//! iperf3 as the comparisons use it: its far end, and what it says of a load.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::report::Report;
use crate::interop::kit::{eventually, process::Process};

/// What makes it the far end. Dropping its process ends it.
pub(super) const SERVER: [&str; 2] = ["--server", "--forceflush"];

/// Waits until a far end can be reached.
pub(super) fn listens(server: &mut Process) -> Result<()> {
    eventually(Duration::from_secs(10), "iperf3 to listen", || {
        server.check()?;
        Ok(server.printed()?.contains("listening").then_some(()).context("it says nothing"))
    })
}

/// The sums in what a client printed with `--json`.
pub(super) fn sums(printed: &str) -> Result<Value> {
    let mut value: Value = serde_json::from_str(printed).context("the JSON of iperf3")?;
    if let Some(error) = value["error"].as_str() {
        bail!("iperf3: {error}");
    }
    Ok(value["end"].take())
}

pub(super) fn number(value: &Value) -> Result<f64> {
    value.as_f64().context("iperf3 left out a number")
}

/// Adds what came of TCP, with the CPU seconds that it took `program`.
pub(super) fn add_tcp(
    report: &mut Report,
    program: &'static str,
    name: &str,
    sums: &Value,
    cpu: f64,
) -> Result<()> {
    let received = &sums["sum_received"];
    report.add(program, format!("{name}_gbit"), number(&received["bits_per_second"])? / 1e9);
    report.add(program, format!("{name}_cpu_s_per_gb"), cpu / (number(&received["bytes"])? / 1e9));
    report.add(program, format!("{name}_retransmits"), number(&sums["sum_sent"]["retransmits"])?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_no_load() {
        assert_eq!(sums(r#"{"end": {"sum": {"packets": 3}}}"#).unwrap()["sum"]["packets"], 3);
        assert!(sums(r#"{"end": {}, "error": "refused"}"#).unwrap_err().to_string().contains("refused"));
    }
}
