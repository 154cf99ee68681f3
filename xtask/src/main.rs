//! `cargo xtask`: which command runs, and with which exit status it ends.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bench;
mod cargo;
mod ci;
mod flags;
mod fuzz;
mod interop;
mod layers;
mod report;
mod tidy;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use flags::{Command, Flags};

/// How a command that did not fail has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did its work.
    Done,
    /// It could not run here, and has said why in one line.
    Skipped,
}

/// The status of a command that could not run here: neither success nor failure, as test harnesses have it by custom.
const EXIT_SKIPPED: u8 = 77;

fn main() -> ExitCode {
    match run(Flags::parse().command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped) => ExitCode::from(EXIT_SKIPPED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<Outcome> {
    let sh = xshell::Shell::new()?;
    sh.change_dir(cargo::root());
    match command {
        Command::Ci { fast, keep_going, interop } => ci::run(&sh, ci::Wanted { fast, keep_going, interop }),
        Command::Layers => layers::run(&sh),
        Command::Tidy => tidy::run(&sh),
        Command::Fuzz { target, secs } => fuzz::run(&sh, &target, secs),
        Command::Replay => fuzz::replay(&sh),
        Command::Seed => fuzz::seed(&sh),
        Command::Interop { name, tidewire } => interop::run(&sh, name.as_deref(), tidewire),
        Command::Bench { comparison } => bench::run(&sh, &comparison),
        Command::HttpServe { listen } => interop::kit::http::serve(listen),
        Command::HttpFetch { from, bytes, seed, rate } => {
            interop::kit::http::fetch_and_print(from, bytes, seed, rate)
        }
        Command::UdpEcho { listen } => interop::kit::udp::echo(listen),
        Command::UdpProbe(probe) => interop::kit::udp::probe_and_print(&probe),
        Command::WgFlood(flood) => interop::kit::flood::run(&flood),
        Command::Strangers(strangers) => interop::kit::strangers::gather_and_print(&strangers),
    }
}
