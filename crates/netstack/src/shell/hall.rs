//! Where connections wait to be accepted, between a listener and the task.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use super::{
    lock,
    mailbox::{Mailbox, Woken},
    net::Facts,
    stream::TcpStream,
};
use crate::{DialError, Local};

/// The hall of one listener.
pub(super) struct Hall {
    pub(super) local: Local,
    facts: Arc<Facts>,
    state: Mutex<State>,
    mailbox: Arc<Mailbox>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<TcpStream>,
    wakers: Vec<Waker>,
    /// The task has more than fit.
    more: bool,
    dropped: bool,
    gone: bool,
}

impl Hall {
    pub(super) fn new(local: Local, facts: Arc<Facts>, mailbox: Arc<Mailbox>) -> Arc<Self> {
        Arc::new(Self { local, facts, state: Mutex::default(), mailbox })
    }

    /// Asks the task to listen. Returns whether there is one.
    pub(super) fn announce(self: &Arc<Self>) -> bool {
        self.mailbox.notify(Woken::Listener(Arc::clone(self)))
    }

    pub(super) fn poll_accept(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let mut state = lock(&self.state);
        let stream = state.waiting.pop_front();
        if std::mem::take(&mut state.more) {
            self.announce();
        }
        match stream {
            Some(stream) => Poll::Ready(Ok(stream)),
            None if state.gone => Poll::Ready(Err(DialError::Closed.into())),
            None => {
                register(&mut state.wakers, cx);
                Poll::Pending
            }
        }
    }

    /// The listener is gone.
    pub(super) fn drop_listener(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.dropped = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for stream in waiting {
            stream.abort();
        }
        self.announce();
        // Only then, so that the task is done with this one before the next.
        self.facts.free_listener(self.local);
    }
}

/// What the task does.
impl Hall {
    /// Whether there is a place for one more; if not, the task is woken when there is.
    pub(super) fn has_room(&self) -> bool {
        let mut state = lock(&self.state);
        state.more = state.waiting.len() >= self.facts.limits.backlog;
        !state.more
    }

    pub(super) fn is_dropped(&self) -> bool {
        lock(&self.state).dropped
    }

    pub(super) fn push(&self, stream: TcpStream) {
        let mut state = lock(&self.state);
        state.waiting.push_back(stream);
        wake_all(&mut state.wakers);
    }

    /// The task is gone.
    pub(super) fn fail(&self) {
        let mut state = lock(&self.state);
        state.gone = true;
        wake_all(&mut state.wakers);
    }
}

/// Several tasks may wait for the same thing.
pub(super) fn register(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

pub(super) fn wake_all(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(Waker::wake);
}
