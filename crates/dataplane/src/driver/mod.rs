//! The loop that joins the core with time, transports and the caller: it polls, calls and flushes, and decides nothing.

mod attached;
mod flush;
mod handle;
mod limits;

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use tidewire_clock::{self as clock, Sleep};
use tidewire_keys::Seed;
use tidewire_transport::{Fault, FromOverlay, FromUnderlay, Overlay, OverlayId, Rx, Tx, Underlay, queue};

use self::attached::{Attached, Ids};
pub use self::{
    attached::TransportId,
    handle::{Gone, Handle, Note},
    limits::{EVENT_QUEUE, ORDER_QUEUE, PENDING_ITEMS, RESEED_EVERY, SLEPT},
};
use self::{flush::Pending, handle::Order};
use crate::{Command, DataPlane, Out, wake_up};

/// Runs one data plane: owns the core and the transports attached to it.
///
/// Everything happens in the task that polls [`run`](Self::run): no lock, no channel between the read of a device and the
/// write of a socket. One batch of each transport is worked off in turn, so none starves another.
pub struct Driver {
    core: DataPlane,
    attached: Attached,
    ids: Ids,
    orders: Rx<Order>,
    notes: Tx<Note>,
    entropy: Box<dyn FnMut() -> Option<Seed> + Send>,
    out: Out,
    pending: Pending,
    from_underlay: FromUnderlay,
    from_overlay: FromOverlay,
    sleep: Sleep,
    // Deadline of the sleep as it is armed; a later event does not re-arm it, an earlier one does.
    armed: Instant,
    reseed_at: Instant,
}

/// Batches of each transport that one poll works off before other tasks get a turn.
const BUDGET: usize = 32;

impl Driver {
    /// A driver for `core`, the handle by which it is told things, and what it tells. `entropy` makes fresh seeds, if
    /// the system has any; it is asked once an hour and after the machine slept.
    ///
    /// Needs a tokio runtime with I/O and time once it runs, not before.
    pub fn new(
        core: DataPlane,
        entropy: impl FnMut() -> Option<Seed> + Send + 'static,
    ) -> (Self, Handle, Rx<Note>) {
        let (orders_tx, orders) = queue(ORDER_QUEUE);
        let (notes, notes_rx) = queue(EVENT_QUEUE);
        let (now, ids) = (clock::now(), Ids::default());
        let driver = Self {
            core,
            attached: Attached::default(),
            ids: ids.clone(),
            orders,
            notes,
            entropy: Box::new(entropy),
            out: Out::default(),
            pending: Pending::default(),
            from_underlay: FromUnderlay::default(),
            from_overlay: FromOverlay::default(),
            sleep: Sleep::until(now),
            armed: now,
            reseed_at: now + RESEED_EVERY,
        };
        (driver, Handle::new(orders_tx, ids), notes_rx)
    }

    /// Attaches a transport of the network outside, before the driver runs; later by its [`Handle`].
    pub fn attach_underlay(&mut self, underlay: Box<dyn Underlay>) -> TransportId {
        let id = self.ids.next();
        self.attached.underlays.push((id, underlay));
        id
    }

    /// Attaches an overlay under the number `overlay`, before the driver runs; later by its [`Handle`].
    pub fn attach_overlay(&mut self, overlay: OverlayId, transport: Box<dyn Overlay>) -> TransportId {
        let id = self.ids.next();
        self.attached.overlays.push((overlay, transport, id));
        id
    }

    /// Runs until every [`Handle`] is dropped, or one says stop. Gives the core back: it knows the last time stamp.
    pub async fn run(mut self) -> DataPlane {
        poll_fn(|cx| self.poll(cx)).await;
        self.core
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BUDGET {
            let Poll::Ready(mut progress) = self.poll_orders(cx) else { return Poll::Ready(()) };
            self.flush(cx);
            progress |= self.poll_underlays(cx);
            progress |= self.poll_overlays(cx);
            progress |= self.poll_timer(cx);
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the caller ordered. `Pending` means: stop for good.
    fn poll_orders(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut progress = false;
        loop {
            match self.orders.poll_recv(cx) {
                Poll::Ready(Some(Order::Stop) | None) => return Poll::Pending,
                Poll::Ready(Some(order)) => self.obey(order),
                Poll::Pending => return Poll::Ready(progress),
            }
            progress = true;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Call(call) => call(&mut self.core, clock::now(), &mut self.out),
            Order::Underlay(id, underlay) => self.attached.underlays.push((id, underlay)),
            Order::Overlay(id, overlay, transport) => {
                self.attached.overlays.push((id, overlay, transport));
            }
            Order::Detach(id) => self.attached.remove(id),
            Order::Stop => {}
        }
    }

    /// One batch from each transport of the network outside. None is read while packets for an overlay wait.
    fn poll_underlays(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        let mut i = 0;
        while i < self.attached.underlays.len() && self.pending.to_overlay.is_empty() {
            let (id, underlay) = &mut self.attached.underlays[i];
            let id = *id;
            match underlay.poll_recv(cx, &mut self.from_underlay) {
                Poll::Ready(Ok(())) => {
                    progress = true;
                    self.core.process_inbound(clock::now(), &mut self.from_underlay, &mut self.out);
                    self.flush(cx);
                }
                Poll::Ready(Err(fault)) => {
                    progress = true;
                    self.fault(id, fault);
                }
                Poll::Pending => {}
            }
            i += 1;
        }
        progress
    }

    /// One batch from each overlay. None is read while datagrams wait for a transport: so nothing is dropped between.
    fn poll_overlays(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        let mut i = 0;
        while i < self.attached.overlays.len() && self.pending.to_underlay.is_empty() {
            let (id, overlay, transport) = &mut self.attached.overlays[i];
            let (overlay_id, id) = (*id, *transport);
            match overlay.poll_recv(cx, &mut self.from_overlay) {
                Poll::Ready(Ok(())) => {
                    progress = true;
                    self.from_overlay.from = overlay_id;
                    self.core.process_outbound(clock::now(), &mut self.from_overlay, &mut self.out);
                    self.flush(cx);
                }
                Poll::Ready(Err(fault)) => {
                    progress = true;
                    self.fault(id, fault);
                }
                Poll::Pending => {}
            }
            i += 1;
        }
        progress
    }

    /// Calls what is due, else arms the timer for what comes next.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let now = clock::now();
        self.notice_sleep(now);
        let (at, why) = wake_up(now, self.core.next_event());
        if at <= now {
            tracing::trace!(?why, "wake-up");
            self.core.process_events(now, &mut self.out);
            self.flush(cx);
            return true;
        }
        if at < self.armed || self.armed <= now {
            self.armed = at;
            self.sleep.reset(at);
        }
        std::pin::Pin::new(&mut self.sleep).poll(cx).is_ready()
    }

    /// A timer that is very late means that the machine slept: paths are stale, and fresh randomness is due.
    fn notice_sleep(&mut self, now: Instant) {
        let slept = now > self.armed + SLEPT;
        if slept || now >= self.reseed_at {
            self.reseed_at = now + RESEED_EVERY;
            self.look_at_wall_clock(now);
            if let Some(seed) = (self.entropy)() {
                self.core.command(now, Command::Reseed(seed), &mut self.out);
            }
        }
        if slept {
            tracing::info!(late = ?(now - self.armed), "the machine slept");
            self.armed = now;
            self.core.command(now, Command::NetworkChanged, &mut self.out);
            self.note(Note::Slept);
        }
    }

    /// Has the core compare its stamps with the wall clock, which may have been set since.
    fn look_at_wall_clock(&mut self, now: Instant) {
        self.core.command(now, Command::WallTime(clock::unix_time()), &mut self.out);
    }

    fn fault(&mut self, id: TransportId, fault: Fault) {
        if fault.is_final() {
            tracing::warn!(%fault, "transport detached");
            self.attached.remove(id);
        }
        self.note(Note::Fault { transport: id, fault });
    }

    fn note(&self, note: Note) {
        // Nobody listening is no fault; a listener that does not keep up loses the oldest, which is counted.
        drop(self.notes.force(note));
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("attached", &self.attached).finish_non_exhaustive()
    }
}
