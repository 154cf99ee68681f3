//! How the demo cuts direct UDP: an underlay around the real one that a switch can close, both ways, as a firewall would.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tidewire_node::{Fault, FromUnderlay, Hop, ToUnderlay, Underlay};

/// Opens and closes gates.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch(Arc<AtomicBool>);

/// A UDP underlay that loses everything while its switch is closed.
pub(super) struct Gate {
    inner: Box<dyn Underlay>,
    switch: Switch,
}

impl Switch {
    pub(super) fn open(&self, open: bool) {
        self.0.store(open, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gate {
    pub(super) fn around(inner: Box<dyn Underlay>, switch: Switch) -> Box<dyn Underlay> {
        Box::new(Self { inner, switch })
    }
}

impl Underlay for Gate {
    fn carries(&self, hop: &Hop) -> bool {
        self.inner.carries(hop)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>> {
        loop {
            match self.inner.poll_recv(cx, into) {
                Poll::Ready(Ok(())) if !self.switch.is_open() => into.clear(),
                other => return other,
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<Result<(), Fault>> {
        if self.switch.is_open() {
            return self.inner.poll_send(cx, item);
        }
        let lost = item.take_runs(|hop| self.inner.carries(hop), |_, _| Poll::Ready(()));
        lost.map(Ok)
    }
}
