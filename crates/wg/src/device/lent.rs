//! How one interface serves one data plane after the other.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tidewire_transport::{Fault, FromOverlay, Overlay, ToOverlay};
use tidewire_tun::Tun;

/// An overlay that is lent to a driver, which drops what it was given when it ends. Never shared by two at a time, so that
/// the lock is never waited for.
pub(crate) struct Lent<O>(Arc<Mutex<O>>);

impl<O: Overlay> Lent<O> {
    pub(crate) fn new(overlay: O) -> Self {
        Self(Arc::new(Mutex::new(overlay)))
    }

    /// The same overlay, for the next driver.
    pub(crate) fn lend(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    // A panic while the lock was held ended the driver; what it left is as good as the device itself.
    fn lock(&self) -> MutexGuard<'_, O> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<Tun> {
    /// Drops up to `most` packets that wait to be read: what was written while nobody read is stale.
    pub(crate) fn discard_waiting(&self, most: usize) {
        self.lock().discard_waiting(most);
    }
}

impl<O: Overlay> Overlay for Lent<O> {
    fn mtu(&self) -> usize {
        self.lock().mtu()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromOverlay) -> Poll<Result<(), Fault>> {
        self.lock().poll_recv(cx, into)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToOverlay) -> Poll<Result<(), Fault>> {
        self.lock().poll_send(cx, item)
    }
}
