//! `tidewire demo`: the whole story on loopback: relay first, direct soon, cut, relay again, direct again.

mod gate;
mod service;
mod story;
mod teller;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::block_on;
use crate::output::print_json;

/// Shows two nodes that talk through a relay at once, then directly, and survive the loss of the direct path
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Size of each bulk transfer
    #[arg(long, value_name = "N", default_value_t = 64 << 20)]
    bytes: u64,
    /// Print one JSON object on one line, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// What the demo measured. Times in milliseconds, rates in megabits per second.
#[derive(Debug, Default, Serialize)]
struct Measured {
    ok: bool,
    relay_first_reply_ms: f64,
    direct_after_ms: f64,
    direct_mbps: f64,
    fallback_ms: f64,
    relay_mbps: f64,
    back_to_direct_ms: f64,
    bytes_verified: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<()> {
        let mut measured = Measured::default();
        let told = block_on(story::tell(self.bytes, self.json, &mut measured));
        measured.ok = told.is_ok();
        measured.error = told.as_ref().err().map(|error| format!("{error:#}"));
        if self.json {
            print_json(&measured)?;
        }
        told
    }
}
