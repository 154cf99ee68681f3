//! What a program does that is nothing but a device: it runs in this thread until a signal or somebody ends it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::device::{
    config::{Config, CreateError},
    handle::open,
    run::Ended,
};

/// Makes a device and runs it in this thread until it ends: by SIGTERM or SIGINT, or because its interface or its control socket
/// was removed. Then both are gone. SIGHUP keeps its usual meaning, so that `nohup` has its own.
///
/// `ready` is called with the interface's name when the control socket can be used.
///
/// # Errors
/// [`CreateError`] says what could not be had.
pub fn run_foreground(config: &Config, ready: impl FnOnce(&str)) -> Result<Ended, CreateError> {
    let (runtime, opened) = open(config)?;
    let stop = {
        let _context = runtime.enter();
        Signals::new()?
    };
    ready(opened.interface());
    Ok(runtime.block_on(opened.run(stop.any())))
}

/// The signals that end a program in good order.
struct Signals([Signal; 2]);

impl Signals {
    fn new() -> Result<Self, CreateError> {
        let of = |kind| signal(kind).map_err(CreateError::system("signals"));
        Ok(Self([of(SignalKind::terminate())?, of(SignalKind::interrupt())?]))
    }

    async fn any(mut self) {
        let [terminate, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
