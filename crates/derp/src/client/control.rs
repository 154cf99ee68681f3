//! What the rest of a program may ask of the client while it runs, and what it may learn: a handle for any thread.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tidewire_keys::Seed;
use tidewire_transport::RegionId;

use crate::{
    machine::{Counters, Event, Status, events::Events},
    region::Regions,
};

/// A handle to a running client. Cheap to clone; all clones speak of the same client, and each event goes to one of them.
///
/// What is asked for takes effect soon after; the last wish of a kind counts. The client itself ends with its underlay, not with its handles.
#[derive(Clone)]
pub struct DerpControl(Arc<Mutex<Inner>>);

/// What is wished for and not yet done.
#[derive(Default, Debug)]
pub(super) struct Wishes {
    pub(super) regions: Option<Regions>,
    pub(super) home: Option<Option<RegionId>>,
    pub(super) kept: Option<Vec<RegionId>>,
    pub(super) network_changed: bool,
    pub(super) seed: Option<Seed>,
}

#[derive(Default)]
struct Inner {
    wishes: Wishes,
    wished: bool,
    task: Option<Waker>,
    status: Status,
    events: Events,
    listeners: Vec<Waker>,
    ended: bool,
}

impl DerpControl {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Replaces the map. Regions that are described as before keep their connections.
    pub fn set_regions(&self, regions: Regions) {
        self.wish(|wishes| wishes.regions = Some(regions));
    }

    /// Makes another region the home, or none.
    pub fn set_home(&self, home: Option<RegionId>) {
        self.wish(|wishes| wishes.home = Some(home));
    }

    /// Replaces the regions to stay connected to beside the home.
    pub fn set_kept(&self, kept: Vec<RegionId>) {
        self.wish(|wishes| wishes.kept = Some(kept));
    }

    /// The local network is another one: connections are asked whether they still live.
    pub fn network_changed(&self) {
        self.wish(|wishes| wishes.network_changed = true);
    }

    /// Mixes fresh random bytes into the client's generator.
    pub fn reseed(&self, seed: Seed) {
        self.wish(|wishes| wishes.seed = Some(seed));
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lock().status.clone()
    }

    /// Waits for the next event; `None` when the client has ended. Events that nobody fetches are kept up to
    /// [`EVENTS`](crate::machine::limits::EVENTS), those about peers that are gone up to
    /// [`EVENTS_GONE`](crate::machine::limits::EVENTS_GONE); then the oldest go and are counted. The [`status`](Self::status) is
    /// never older than the event that was fetched last.
    pub async fn event(&self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event, as [`event`](Self::event).
    pub fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut inner = self.lock();
        match inner.events.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if inner.ended => Poll::Ready(None),
            None => {
                if !inner.listeners.iter().any(|waker| waker.will_wake(cx.waker())) {
                    inner.listeners.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// What was wished for since the last call; the task is woken by the next wish.
    pub(super) fn take_wishes(&self, cx: &Context<'_>) -> Option<Wishes> {
        let mut inner = self.lock();
        if inner.task.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            inner.task = Some(cx.waker().clone());
        }
        std::mem::take(&mut inner.wished).then(|| std::mem::take(&mut inner.wishes))
    }

    pub(super) fn publish(&self, status: Status) {
        self.lock().status = status;
    }

    pub(super) fn publish_counters(&self, counters: &Counters) {
        self.lock().status.counters = *counters;
    }

    /// Returns how many older events had to go.
    pub(super) fn tell(&self, event: Event) -> u64 {
        let mut inner = self.lock();
        let lost = inner.events.push(event);
        wake(inner);
        lost
    }

    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        wake(inner);
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        let mut inner = self.lock();
        change(&mut inner.wishes);
        inner.wished = true;
        let task = inner.task.clone();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave it half changed: each change is an assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let listeners = std::mem::take(&mut inner.listeners);
    drop(inner);
    listeners.into_iter().for_each(Waker::wake);
}

impl std::fmt::Debug for DerpControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DerpControl").finish_non_exhaustive()
    }
}
