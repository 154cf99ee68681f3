//! How handles wake the task, from any thread: whoever did something is on a list, once.

use std::{
    sync::{Arc, Mutex},
    task::Waker,
};

use super::{hall::Hall, lock, pipe::Pipe, post::Post};

/// Who did something.
pub(super) enum Woken {
    Stream(Arc<Pipe>),
    Listener(Arc<Hall>),
    Udp(Arc<Post>),
}

/// The list. It is bounded by the number of sockets: what is on it already does not put itself there again.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    woken: Vec<Woken>,
    nudged: bool,
    waker: Option<Waker>,
    gone: bool,
}

impl Mailbox {
    /// Puts `who` on the list and wakes the task. Returns whether there is one.
    pub(super) fn notify(&self, who: Woken) -> bool {
        let mut inner = lock(&self.0);
        if inner.gone {
            return false;
        }
        inner.woken.push(who);
        let waker = inner.waker.take();
        drop(inner);
        wake(waker);
        true
    }

    /// Says that a path was replaced.
    pub(super) fn nudge(&self) {
        let mut inner = lock(&self.0);
        inner.nudged = true;
        let waker = inner.waker.take();
        drop(inner);
        wake(waker);
    }

    /// Moves the list to `into`, which is empty, and says who is to be woken when there is more. Returns whether a path was
    /// replaced.
    pub(super) fn collect(&self, waker: &Waker, into: &mut Vec<Woken>) -> bool {
        let mut inner = lock(&self.0);
        match &mut inner.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        std::mem::swap(&mut inner.woken, into);
        std::mem::take(&mut inner.nudged)
    }

    /// The task is gone: nobody is put on the list any more. Returns who is on it.
    pub(super) fn close(&self) -> Vec<Woken> {
        let mut inner = lock(&self.0);
        inner.gone = true;
        std::mem::take(&mut inner.woken)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
