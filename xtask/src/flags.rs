//! The whole command surface of `cargo xtask`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::bench::Comparison;

use crate::interop::kit::{flood, udp};

use crate::interop::kit::strangers::Strangers;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, checks and proves the Tidewire workspace", version)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything a change must pass, cheapest failure first; docs/ci.md says what each step protects
    Ci {
        /// Only fmt, layers, tidy, clippy and unit tests
        #[arg(long)]
        fast: bool,
        /// Run the other steps too after one has failed
        #[arg(long)]
        keep_going: bool,
        /// Also run all interop scenarios (they need root)
        #[arg(long)]
        interop: bool,
    },
    /// Check who depends on whom, and that the small crates stay free of std and tokio
    Layers,
    /// Check the house rules that neither rustfmt nor clippy knows
    Tidy,
    /// Fuzz one target, or `all` in turn; needs a nightly toolchain (exit status 77 where there is none)
    Fuzz {
        /// A target of fuzz/, or `all`
        target: String,
        /// How long, for each target
        #[arg(long, default_value_t = 60)]
        secs: u32,
    },
    /// Run the committed corpora through the fuzz targets, on stable
    Replay,
    /// Write the seeds of the corpora anew from their one source, fuzz/src/seeds.rs
    Seed,
    /// Run one scenario between real programs in network namespaces, or `all`; without a name: list them
    Interop {
        /// A scenario, or `all`
        name: Option<String>,
        /// This `tidewire` instead of one built here
        #[arg(long, value_name = "FILE")]
        tidewire: Option<PathBuf>,
    },

    /// Compare with other implementations, in one run on this machine
    Bench {
        #[command(subcommand)]
        comparison: Comparison,
    },

    /// The HTTP server that scenarios put into a namespace
    #[command(hide = true)]
    HttpServe {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// The HTTP client that scenarios put into a namespace; prints one JSON object
    #[command(hide = true)]
    HttpFetch {
        #[arg(long)]
        from: SocketAddr,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        seed: u64,
        /// Bytes per second, at most
        #[arg(long)]
        rate: Option<u64>,
    },
    /// The UDP server that scenarios put into a namespace: it sends back what it hears
    #[command(hide = true)]
    UdpEcho {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// The UDP client that scenarios put into a namespace; prints one JSON object
    #[command(hide = true)]
    UdpProbe(udp::Probe),
    /// The flood of WireGuard initiations that scenarios put into a namespace
    #[command(hide = true)]
    WgFlood(flood::Flood),
    /// Connections that never log in, which a scenario puts into a namespace; prints one JSON object at their end
    #[command(hide = true)]
    Strangers(Strangers),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_surface_is_consistent() {
        super::Flags::command().debug_assert();
    }
}
