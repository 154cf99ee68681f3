//! The commands, one file each.

pub(crate) mod demo;
pub(crate) mod identify;
pub(crate) mod keys;
pub(crate) mod relay;
pub(crate) mod up;
#[cfg(unix)]
pub(crate) mod wg;

use std::future::Future;

use anyhow::{Context, Result};

/// Runs a command's future on a small runtime of its own.
fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(future)
}

/// Waits until somebody wants the program to end: SIGINT or SIGTERM.
async fn told_to_stop() -> Result<()> {
    #[cfg(unix)]
    {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done?,
            _ = term.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
