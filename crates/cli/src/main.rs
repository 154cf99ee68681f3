//! The `tidewire` program: which command runs, and how its failure is told.
#![forbid(unsafe_code)]

mod commands;
mod output;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

#[cfg(unix)]
use crate::commands::wg::Wg;
use crate::commands::{
    demo::Demo,
    identify::Identify,
    keys::{Keygen, Pubkey},
    netcheck::NetcheckCommand,
    relay::RelayCommand,
    up::Up,
};

/// A mesh of machines that know each other's keys: through a relay from the first packet, directly as soon as a path is proven
#[derive(Debug, Parser)]
#[command(name = "tidewire", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(Demo),
    Keygen(Keygen),
    Pubkey(Pubkey),
    Relay(RelayCommand),
    Up(Up),
    #[cfg(unix)]
    Wg(Wg),
    Netcheck(NetcheckCommand),
    Identify(Identify),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(cli.command.log_level()));
    let in_colour = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(in_colour).with_writer(std::io::stderr);
    match &cli.command {
        Command::Relay(relay) if relay.logs_json() => log.json().flatten_event(true).init(),
        _ => log.init(),
    }
    let done = match &cli.command {
        Command::Demo(demo) => demo.run(),
        Command::Keygen(keygen) => keygen.run(),
        Command::Pubkey(pubkey) => pubkey.run(),
        Command::Relay(relay) => relay.run(),
        Command::Up(up) => up.run(),
        #[cfg(unix)]
        Command::Wg(wg) => wg.run(),
        Command::Netcheck(netcheck) => netcheck.run(),
        Command::Identify(identify) => identify.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::debug!(?error, "failed");
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

impl Command {
    /// What is logged unless `RUST_LOG` says otherwise: changes of state for what runs on, failures for the rest.
    fn log_level(&self) -> &'static str {
        match self {
            Self::Relay(_) | Self::Up(_) => "info",
            #[cfg(unix)]
            Self::Wg(_) => Wg::log_level(),
            _ => "error",
        }
    }
}
