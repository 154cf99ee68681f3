//! The commands, one file each.

pub(crate) mod demo;
pub(crate) mod identify;
pub(crate) mod keys;
pub(crate) mod netcheck;
pub(crate) mod relay;
mod signals;
pub(crate) mod up;
#[cfg(unix)]
pub(crate) mod wg;

use std::future::Future;

use anyhow::{Context, Result};

use self::signals::{Signals, Told};

/// Runs a command's future on a small runtime of its own.
fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(future)
}

/// Waits until somebody wants the program to end: SIGINT or SIGTERM.
async fn told_to_stop() -> Result<()> {
    let mut signals = Signals::listen(false)?;
    while signals.next().await? != Told::Stop {}
    Ok(())
}
