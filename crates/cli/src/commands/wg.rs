//! `tidewire wg`: a WireGuard device in the place of wireguard-go, in the foreground.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tidewire_wg::{Config, DEFAULT_MTU, Ended, run_foreground};

/// Runs a WireGuard device for `wg` to configure, in the place of wireguard-go
#[derive(Debug, Args)]
pub(crate) struct Wg {
    /// The interface to make, such as wg0
    interface: String,
    /// The interface's MTU at the start
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MTU, value_parser = clap::value_parser!(u16).range(68..))]
    mtu: u16,
    /// Stays in the foreground, as it does in any case: for scripts written for wireguard-go
    #[arg(short, long)]
    foreground: bool,
    /// Leaves the session, says on standard output when the device can be configured, and falls silent
    #[arg(long, hide = true)]
    detached: bool,
}

impl Wg {
    pub(crate) fn run(&self) -> Result<()> {
        if self.detached {
            rustix::process::setsid().context("cannot leave the session")?;
        }
        let config = Config { mtu: self.mtu, ..Config::new(&self.interface) };
        let ended = run_foreground(&config, |interface| {
            tell_name(interface);
            if self.detached {
                report(interface);
            }
        })?;
        match ended {
            Ended::Failed => bail!("the data plane failed"),
            Ended::Stopped | Ended::InterfaceDeleted | Ended::SocketRemoved => Ok(()),
        }
    }

    /// What is logged unless `RUST_LOG` says otherwise: what the variables of other userspace WireGuards say, else changes of state.
    pub(crate) fn log_level() -> &'static str {
        match LEVELS.iter().find_map(|name| std::env::var(name).ok()).as_deref() {
            Some("trace") => "trace",
            Some("verbose" | "debug") => "debug",
            Some("error") => "error",
            Some("silent") => "off",
            _ => "info",
        }
    }
}

/// The names by which wireguard-go, and boringtun and gotatun, are told how much to log.
const LEVELS: [&str; 2] = ["LOG_LEVEL", "WG_LOG_LEVEL"];

/// Writes the interface's name to where wg-quick wants it on systems that choose the name themselves.
fn tell_name(interface: &str) {
    if let Some(path) = std::env::var_os("WG_TUN_NAME_FILE")
        && let Err(error) = fs::write(&path, format!("{interface}\n"))
    {
        tracing::warn!(?path, %error, "WG_TUN_NAME_FILE cannot be written");
    }
}

/// Tells who started this that the device is there, and holds on to nothing of theirs: whoever waits for the end of their output
/// waits no longer. Who sets a level wants to read on.
fn report(interface: &str) {
    let nowhere = || OpenOptions::new().read(true).write(true).open("/dev/null");
    let silence = || -> io::Result<()> {
        if LEVELS.iter().all(|name| std::env::var_os(name).is_none()) {
            rustix::stdio::dup2_stderr(nowhere()?)?;
        }
        Ok(())
    };
    if let Err(error) = silence() {
        tracing::warn!(%error, "standard error stays as it is");
    }
    // If nobody reads, nobody waits.
    drop(writeln!(io::stdout().lock(), "{interface}"));
    drop(nowhere().map(rustix::stdio::dup2_stdout));
}
