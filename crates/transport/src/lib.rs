//! What passes between the data plane and those who carry its packets: hops, items, bounded queues, two traits.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod fault;
mod hop;
mod item;
mod queue;
mod queued;
mod run;

use std::task::{Context, Poll};

pub use fault::{Blame, Fault};
pub use hop::{Hop, RegionId, Vni};
pub use item::{FromOverlay, FromUnderlay, OverlayId, ToOverlay, ToUnderlay};
pub use queue::{Depth, Refused, Rx, Tx, Weight, queue};
pub use queued::{QueuedOverlay, QueuedUnderlay, queued, queued_overlay};
pub use run::{Run, Runs};

/// A transport of the network outside: it carries datagrams to hops. The driver polls it inline, so no method blocks.
///
/// It can only claim who sent a datagram; identity is proven by cryptography, elsewhere.
pub trait Underlay: Send {
    /// Whether datagrams for `hop` are this transport's to send. Must not change while it is attached.
    fn carries(&self, hop: &Hop) -> bool;

    /// Fills `into` with datagrams and the runs that say where they came from. What `into` held before is replaced; its
    /// slab may be used again. `Ready(Ok)` means at least one datagram; `Pending` that the task will be woken.
    ///
    /// # Errors
    /// A [`Fault`]: the driver reports it, and detaches the transport if it [is final](Fault::is_final).
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromUnderlay) -> Poll<Result<(), Fault>>;

    /// Sends the runs it carries and removes them from `item`; leaves the others. `Pending` means that it took what it
    /// could, keeps the rest in `item`, and will wake the task: the driver offers the same item again.
    ///
    /// # Errors
    /// A [`Fault`], as for receiving. The runs it was about are removed.
    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToUnderlay) -> Poll<Result<(), Fault>>;
}

/// A transport of the private side: it takes packets from, and hands them to, an operating system or a stack.
pub trait Overlay: Send {
    /// Largest packet in bytes that this overlay takes.
    fn mtu(&self) -> usize;

    /// Fills `into` with packets for other nodes. As [`Underlay::poll_recv`].
    ///
    /// # Errors
    /// A [`Fault`]: the driver reports it, and detaches the transport if it [is final](Fault::is_final).
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromOverlay) -> Poll<Result<(), Fault>>;

    /// Delivers the packets of `item`, and leaves it empty. `Pending` means that it keeps the rest in `item` and will
    /// wake the task.
    ///
    /// # Errors
    /// A [`Fault`], as for receiving.
    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToOverlay) -> Poll<Result<(), Fault>>;
}
