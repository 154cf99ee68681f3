//! Who is to be polled: each socket's waker puts its number into one list, and wakes the one task that serves them all.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// What is to be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The listening socket.
    Listener,
    /// The STUN socket.
    Stun,
    /// What the handle asks for.
    Mailbox,
    /// The timer.
    Timer,
    /// The connection with this [index](crate::core::ClientId::index).
    Link(usize),
}

/// The list of those that are ready.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    sources: Vec<Source>,
    task: Option<Waker>,
}

#[derive(Debug)]
struct SourceWaker {
    source: Source,
    is_listed: AtomicBool,
    ready: Arc<Ready>,
}

/// A waker of one source.
#[derive(Debug)]
pub(super) struct Token {
    waker: Waker,
    inner: Arc<SourceWaker>,
}

impl Ready {
    /// Exchanges the list with `taken`, which is empty. From here on `task` is woken when something is listed.
    pub(super) fn take(&self, task: &Waker, taken: &mut Vec<Source>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut list.sources, taken);
        match &mut list.task {
            Some(known) => known.clone_from(task),
            none => *none = Some(task.clone()),
        }
    }

    fn list(&self, source: Source) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.sources.push(source);
        if list.sources.len() == 1
            && let Some(task) = &list.task
        {
            task.wake_by_ref();
        }
    }
}

impl Wake for SourceWaker {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_listed.swap(true, Ordering::AcqRel) {
            self.ready.list(self.source);
        }
    }
}

impl Token {
    pub(super) fn new(source: Source, ready: &Arc<Ready>) -> Self {
        let inner =
            Arc::new(SourceWaker { source, is_listed: AtomicBool::new(false), ready: Arc::clone(ready) });
        Self { waker: Waker::from(Arc::clone(&inner)), inner }
    }

    /// Lists the source when it is woken.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// The source is about to be polled: from here on a wake lists it again.
    pub(super) fn taken(&self) {
        self.inner.is_listed.store(false, Ordering::Release);
    }
}
