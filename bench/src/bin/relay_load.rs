//! One case of load on a relay, as a program; prints one JSON object.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::{io, net::SocketAddr, time::Duration};

use clap::Parser;
use tidewire_bench::load::{Load, idle};

#[derive(Parser)]
struct Flags {
    /// Where the relay serves, over TLS
    #[arg(long)]
    addr: SocketAddr,
    /// The relay's process
    #[arg(long)]
    pid: u32,
    /// So many clients that do nothing, instead of load
    #[arg(long)]
    idle: Option<usize>,
    #[arg(long, default_value_t = 1)]
    pairs: usize,
    /// Bytes of a packet
    #[arg(long, default_value_t = 1400)]
    size: usize,
    /// Packets that each sender has on the way
    #[arg(long, default_value_t = 32)]
    window: u64,
    /// Write all that the window allows at once
    #[arg(long)]
    batch: bool,
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
}

fn main() -> io::Result<()> {
    let flags = Flags::parse();
    // A receiver and a sender for each pair, and what else is open.
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            ..rustix::process::getrlimit(rustix::process::Resource::Nofile)
        },
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(clients) = flags.idle {
            let kb = idle(flags.addr, flags.pid, clients).await?;
            println!("{}", serde_json::json!({ "clients": clients, "kb_each": kb }));
            return Ok(());
        }
        let load = Load {
            addr: flags.addr,
            pid: flags.pid,
            pairs: flags.pairs,
            size: flags.size.max(16),
            window: flags.window.max(1),
            is_batching: flags.batch,
            time: Duration::from_secs_f64(flags.secs),
        };
        println!("{}", serde_json::to_string(&load.run().await?)?);
        Ok(())
    })
}
