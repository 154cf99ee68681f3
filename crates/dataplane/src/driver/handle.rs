//! How other tasks and threads talk to a driver: orders in, notes out, both bounded.

use std::time::Instant;

use tidewire_transport::{Fault, Overlay, OverlayId, Tx, Underlay, Weight};
use tokio::sync::oneshot;

use super::{TransportId, attached::Ids};
use crate::{Change, Command, DataPlane, Event, Out, Refused};

/// The driver ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the data plane is stopped")]
pub struct Gone;

/// What a driver tells.
#[derive(Debug)]
pub enum Note {
    /// The core's event.
    Event(Event),
    /// A transport failed; if the fault [is final](Fault::is_final) it was detached.
    Fault {
        /// Which one.
        transport: TransportId,
        /// How.
        fault: Fault,
    },
    /// The machine slept. The core knows already; the shells of transports may want to look at their sockets.
    Slept,
}

type Call = Box<dyn FnOnce(&mut DataPlane, Instant, &mut Out) + Send>;

pub(super) enum Order {
    Call(Call),
    Underlay(TransportId, Box<dyn Underlay>),
    Overlay(OverlayId, Box<dyn Overlay>, TransportId),
    Detach(TransportId),
    Stop,
}

/// Talks to a driver, from any thread. The driver ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: Tx<Order>,
    ids: Ids,
}

impl Handle {
    pub(super) fn new(orders: Tx<Order>, ids: Ids) -> Self {
        Self { orders, ids }
    }

    /// Runs `call` on the core and returns what it returned. What it puts into the [`Out`] is sent.
    ///
    /// # Errors
    /// [`Gone`] if the driver ended.
    pub async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut DataPlane, Instant, &mut Out) -> R + Send + 'static,
    ) -> Result<R, Gone> {
        let (tx, rx) = oneshot::channel();
        let call: Call = Box::new(move |core, now, out| drop(tx.send(call(core, now, out))));
        self.order(Order::Call(call)).await?;
        rx.await.map_err(|_| Gone)
    }

    /// Changes the configuration of the core: wholly, or not at all.
    ///
    /// # Errors
    /// [`Gone`] if the driver ended; inside, [`Refused`] if the change cannot be.
    pub async fn apply(&self, change: Change) -> Result<Result<(), Refused>, Gone> {
        self.call(|core, now, out| core.apply(now, change, out)).await
    }

    /// Asks the core for something; answers come as notes.
    ///
    /// # Errors
    /// [`Gone`] if the driver ended.
    pub async fn command(&self, command: Command) -> Result<(), Gone> {
        self.call(|core, now, out| core.command(now, command, out)).await
    }

    /// Attaches a transport of the network outside; it is polled at once.
    ///
    /// # Errors
    /// [`Gone`] if the driver ended.
    pub async fn attach_underlay(&self, underlay: Box<dyn Underlay>) -> Result<TransportId, Gone> {
        let id = self.ids.next();
        self.order(Order::Underlay(id, underlay)).await.map(|()| id)
    }

    /// Attaches an overlay under the number `overlay`; it is polled at once.
    ///
    /// # Errors
    /// [`Gone`] if the driver ended.
    pub async fn attach_overlay(
        &self,
        overlay: OverlayId,
        transport: Box<dyn Overlay>,
    ) -> Result<TransportId, Gone> {
        let id = self.ids.next();
        self.order(Order::Overlay(overlay, transport, id)).await.map(|()| id)
    }

    /// Detaches a transport and drops it. Nothing happens if it is gone already.
    ///
    /// # Errors
    /// [`Gone`] if the driver ended.
    pub async fn detach(&self, id: TransportId) -> Result<(), Gone> {
        self.order(Order::Detach(id)).await
    }

    /// Ends the driver, though other handles may remain. Does not wait for it.
    pub fn stop(&self) {
        // A full queue of orders is being worked off, and the driver ends with the last handle in any case.
        drop(self.orders.offer(Order::Stop));
    }

    async fn order(&self, order: Order) -> Result<(), Gone> {
        self.orders.send(order).await.map_err(|_| Gone)
    }
}

impl Weight for Order {
    fn weight(&self) -> usize {
        0
    }
}

impl Weight for Note {
    fn weight(&self) -> usize {
        0
    }
}
