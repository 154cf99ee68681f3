//! `tidewire-wg IFACE`: starts `tidewire wg IFACE` detached and returns when `wg` can talk to it, which is what wg-quick wants of
//! a userspace implementation.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    match detach::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody is left to be told if that fails.
            drop(writeln!(std::io::stderr().lock(), "tidewire-wg: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}

#[cfg(unix)]
mod detach {
    //! How the device is started, and how it is known to be there.

    use std::{
        io::{BufRead, BufReader},
        os::unix::process::CommandExt,
        path::PathBuf,
        process::{Command, Stdio},
    };

    use anyhow::{Context, Result, bail};
    use clap::Parser;

    /// Starts a WireGuard device in the background, for wg-quick: WG_QUICK_USERSPACE_IMPLEMENTATION=tidewire-wg
    #[derive(Debug, Parser)]
    #[command(name = "tidewire-wg", version, arg_required_else_help = true)]
    struct Cli {
        /// The interface to make, such as wg0
        interface: String,
        /// Stays in the foreground; so does WG_PROCESS_FOREGROUND=1
        #[arg(short, long)]
        foreground: bool,
    }

    pub(super) fn run() -> Result<()> {
        let cli = Cli::parse();
        let mut command = Command::new(program());
        command.arg("wg");
        if cli.foreground || std::env::var_os("WG_PROCESS_FOREGROUND").is_some_and(|value| value == "1") {
            let error = command.arg("--").arg(&cli.interface).exec();
            return Err(error).context("cannot start tidewire");
        }
        command.args(["--detached", "--"]).arg(&cli.interface);
        // It keeps no directory in use.
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start tidewire")?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).context("cannot hear from tidewire")?;
        }
        // Without a word it has ended, and has said why.
        if line.is_empty() {
            let status = child.wait().context("cannot wait for tidewire")?;
            bail!("the device could not be made ({status})");
        }
        Ok(())
    }

    /// The `tidewire` that stands beside this program, else the one that is found by name.
    fn program() -> PathBuf {
        let beside = std::env::current_exe().ok().map(|path| path.with_file_name("tidewire"));
        beside.filter(|path| path.is_file()).unwrap_or_else(|| "tidewire".into())
    }
}
