//! What a process has used, as the system counts it.

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// User and system time, all threads.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    ensure!(fields.len() > 12, "a process without times");
    // Ticks are hundredths of a second for every program, whatever the kernel counts in.
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

/// Resident memory in megabytes (10^6 bytes).
pub(super) fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kb * 1024.0 / 1e6)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_times_and_memory() {
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
        assert!(resident_mb(std::process::id()).unwrap() > 0.1);
    }
}
