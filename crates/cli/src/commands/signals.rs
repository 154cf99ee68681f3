//! Which signals a command that runs on listens to: from the moment that it asks, so that none comes too early.

use anyhow::Result;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a running command is told from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// To end, by SIGINT or SIGTERM.
    Stop,
    /// To read its files again, by SIGHUP.
    #[cfg(unix)]
    Reload,
}

/// The signals that are listened to.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    /// `None`: SIGHUP has its usual meaning, and ends the program.
    #[cfg(unix)]
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on. Needs a runtime.
    #[cfg(unix)]
    pub(super) fn listen(reload: bool) -> Result<Self> {
        let hangup = if reload { Some(signal(SignalKind::hangup())?) } else { None };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    #[cfg(not(unix))]
    pub(super) fn listen(_reload: bool) -> Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> Result<Told> {
        let Self { interrupt, terminate, hangup } = self;
        let reload = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Ok(Told::Stop),
            _ = terminate.recv() => Ok(Told::Stop),
            _ = reload => Ok(Told::Reload),
        }
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> Result<Told> {
        tokio::signal::ctrl_c().await?;
        Ok(Told::Stop)
    }
}
