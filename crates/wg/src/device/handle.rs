//! The device as a library: a thread of its own, and the handle that ends it when dropped.

use std::{io, sync::mpsc, thread};

use tidewire_transport::Tx;
use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
};

use crate::{
    device::{
        config::{Config, CreateError},
        run::{Ended, Opened, Order},
    },
    uapi::{Errno, Set, Status},
};

/// The device ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the device is gone")]
pub struct Gone;

/// A WireGuard device that runs in a thread of its own. Dropping it ends it, without waiting: the interface and the control
/// socket go at once.
///
/// Its methods can be awaited on any runtime. It is configured by them, by `wg` through its control socket, or by both.
#[derive(Debug)]
pub struct Device {
    interface: String,
    orders: Tx<Order>,
    // Says stop when set, and when dropped.
    stop: watch::Sender<bool>,
    ended: watch::Receiver<Option<Ended>>,
}

impl Device {
    /// Makes the interface and the control socket, and starts the device. It has no key and no peers yet, and the interface
    /// is down: packets are dropped until that is changed.
    ///
    /// # Errors
    /// [`CreateError`] says what could not be had.
    pub fn create(config: &Config) -> Result<Self, CreateError> {
        let config = config.clone();
        let (tell, told) = mpsc::sync_channel(1);
        let (tell_end, ended) = watch::channel(None);
        let (stop, mut stopped) = watch::channel(false);
        // The thread makes everything itself: what is dropped if something fails may not be dropped by an async caller.
        thread::Builder::new()
            .name(format!("tidewire-{}", config.interface))
            .spawn(move || match open(&config) {
                Ok((runtime, opened)) => {
                    let _ = tell.send(Ok((opened.interface().to_owned(), opened.orders())));
                    let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
                    let _ = tell_end.send(Some(runtime.block_on(opened.run(stop))));
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            })
            .map_err(CreateError::system("a thread"))?;
        // It says something, unless it panics.
        let silent = || CreateError::system("a thread")(io::ErrorKind::BrokenPipe.into());
        let (interface, orders) = told.recv().map_err(|_| silent())??;
        Ok(Self { interface, orders, stop, ended })
    }

    /// The interface's name, as it was when it was made.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Changes the configuration, in order, up to the first thing that cannot be.
    ///
    /// # Errors
    /// [`Errno`], as a client of the control socket is told; [`Errno::Gone`] if the device ended.
    pub async fn set(&self, sets: Vec<Set>) -> Result<(), Errno> {
        set(&self.orders, sets).await
    }

    /// Everything, as it is at the moment.
    ///
    /// # Errors
    /// [`Gone`] if the device ended.
    pub async fn status(&self) -> Result<Status, Gone> {
        status(&self.orders).await
    }

    /// Ends the device. Does not wait for it; [`ended`](Self::ended) does.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the device has ended, by whoever's doing.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        let told = ended.wait_for(Option::is_some).await.map(|ended| *ended);
        told.ok().flatten().unwrap_or(Ended::Failed)
    }
}

pub(crate) async fn set(orders: &Tx<Order>, sets: Vec<Set>) -> Result<(), Errno> {
    let (answer, answered) = oneshot::channel();
    orders.send(Order::Set(sets, answer)).await.map_err(|_| Errno::Gone)?;
    answered.await.unwrap_or(Err(Errno::Gone))
}

pub(crate) async fn status(orders: &Tx<Order>) -> Result<Status, Gone> {
    let (answer, answered) = oneshot::channel();
    orders.send(Order::Status(answer)).await.map_err(|_| Gone)?;
    answered.await.map_err(|_| Gone)
}

/// Makes the device, and the runtime that it runs on.
pub(crate) fn open(config: &Config) -> Result<(Runtime, Opened), CreateError> {
    // While there is much to do one way, what arrives the other way is looked for after every turn, not after every 61st.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(1).build();
    let runtime = runtime.map_err(CreateError::system("an event loop"))?;
    let opened = {
        let _context = runtime.enter();
        Opened::open(config)?
    };
    Ok((runtime, opened))
}
