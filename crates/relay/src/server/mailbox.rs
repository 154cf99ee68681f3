//! How the handle of a relay asks its thread for something: the last wish of each kind counts, so nothing can pile up.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
    time::Duration,
};

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::{core::Admission, metrics::Stats};

/// Wishes, and who is woken by them.
#[derive(Debug, Default)]
pub(crate) struct Mailbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asked: Asked,
    waker: Option<Waker>,
    is_closed: bool,
}

/// What was asked for since the last look.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Who waits for the numbers; each thread and each collector waits for one answer at a time.
    pub(crate) stats: Vec<Answer>,
    pub(crate) admission: Option<Admission>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) shutdown: Option<Shutdown>,
    /// The handle is gone.
    pub(crate) is_abandoned: bool,
}

/// Where an answer goes.
pub(crate) struct Answer(pub(crate) Box<dyn FnOnce(Stats) + Send>);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// Closes a mailbox when it is dropped, however its thread ends, and lets those know who wait for that.
#[derive(Debug)]
pub(crate) struct Reader {
    mailbox: Arc<Mailbox>,
    /// Never sent to: that it is gone is the word.
    _alive: watch::Sender<()>,
}

impl Reader {
    /// A new mailbox's, and what is closed when it is dropped.
    pub(crate) fn new() -> (Self, watch::Receiver<()>) {
        let (sender, alive) = watch::channel(());
        (Self { mailbox: Arc::default(), _alive: sender }, alive)
    }

    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// How to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shutdown {
    /// How long to wait for connections to end.
    pub(crate) grace: Duration,
    /// Within which time clients are asked to come back.
    pub(crate) spread: Duration,
    /// For how long they are asked to try.
    pub(crate) try_for: Duration,
}

impl Mailbox {
    /// Asks for something. `false`: nobody is there to hear it.
    pub(crate) fn ask(&self, wish: impl FnOnce(&mut Asked)) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_closed {
            wish(&mut state.asked);
            if let Some(waker) = &state.waker {
                waker.wake_by_ref();
            }
        }
        !state.is_closed
    }

    /// What was asked for. From here on `waker` is woken by the next wish.
    pub(crate) fn take(&self, waker: &Waker) -> Asked {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.waker = Some(waker.clone());
        std::mem::take(&mut state.asked)
    }

    /// Nobody will look any more; those who wait for an answer learn so.
    fn close(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { is_closed: true, ..State::default() };
    }
}
