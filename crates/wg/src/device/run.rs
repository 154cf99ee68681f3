//! The device's loop: whose turn it is, and when it is over.

use tidewire_packet::Pool;
use tidewire_transport::{Depth, Rx, Tx, Weight, queue};
use tidewire_tun::{Tun, TunEvent, TunEvents};
use tokio::sync::oneshot;

use crate::{
    device::{
        config::{Config, CreateError, check_name},
        control::Listener,
        engine::{Engine, Failed},
        running::INTERFACE,
    },
    uapi::{Errno, Set, Status},
};

/// Why a device ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its owner wanted it to.
    Stopped,
    /// Somebody deleted the interface.
    InterfaceDeleted,
    /// Somebody removed the control socket, which is how a userspace WireGuard is told to end.
    SocketRemoved,
    /// The data plane failed, which is a defect of this library.
    Failed,
}

/// What is asked of the loop.
pub(crate) enum Order {
    Set(Vec<Set>, oneshot::Sender<Result<(), Errno>>),
    Status(oneshot::Sender<Status>),
}

/// Orders that wait; who has one more waits.
const ORDERS: Depth = Depth { items: 16, bytes: usize::MAX };

impl Weight for Order {
    fn weight(&self) -> usize {
        0
    }
}

/// A device that is complete and does not run yet.
pub(crate) struct Opened {
    interface: String,
    engine: Engine,
    events: TunEvents,
    orders: Rx<Order>,
    listener: Option<Listener>,
    // For clients; kept, so that a device without any goes on.
    sender: Tx<Order>,
}

impl Opened {
    /// Makes the interface and the control socket. Needs a tokio runtime with I/O around.
    pub(crate) fn open(config: &Config) -> Result<Self, CreateError> {
        check_name(&config.interface)?;
        let tun_config = tidewire_tun::Config {
            // What asks macOS for the next number.
            name: Some(config.interface.clone()).filter(|name| name != "utun"),
            mtu: config.mtu,
            up: false,
            ..Default::default()
        };
        let pool = Pool::default();
        let refused = |fault| CreateError::Interface { name: config.interface.clone(), fault };
        let tun = Tun::create(&tun_config, pool.clone(), INTERFACE).map_err(refused)?;
        let interface = tun.name().to_owned();
        let events = tun.events().map_err(CreateError::system("events of the interface"))?;
        let listener = match &config.sockets {
            Some(directory) => {
                let path = directory.join(format!("{interface}.sock"));
                Some(Listener::bind(&path).map_err(|source| CreateError::Socket { path, source })?)
            }
            None => None,
        };
        let (sender, orders) = queue(ORDERS);
        Ok(Self { interface, engine: Engine::new(tun, pool), events, orders, listener, sender })
    }

    pub(crate) fn interface(&self) -> &str {
        &self.interface
    }

    pub(crate) fn orders(&self) -> Tx<Order> {
        self.sender.clone()
    }

    /// Runs until something ends it, or `stop` is done. Then the socket is gone, and the interface with the value itself.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Ended {
        tracing::info!(interface = self.interface, "device ready");
        let ended = self.until_ended(stop).await;
        // First, so that no client waits for an answer that will not come.
        drop(self.listener.take());
        drop(self.orders);
        self.engine.stop().await;
        tracing::info!(interface = self.interface, ?ended, "device ended");
        ended
    }

    async fn until_ended(&mut self, stop: impl Future<Output = ()>) -> Ended {
        let Self { engine, events, orders, listener, sender, .. } = self;
        let control = async {
            match listener {
                Some(listener) => listener.serve(sender).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(stop, control);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Set(sets, answer)) => drop(answer.send(engine.set(sets).await)),
                    Some(Order::Status(answer)) => drop(answer.send(engine.status().await)),
                    None => return Ended::Stopped,
                },
                event = events.next() => match event {
                    Some(TunEvent::Up) => engine.set_up(true).await,
                    Some(TunEvent::Down) => engine.set_up(false).await,
                    Some(TunEvent::Mtu(mtu)) => engine.set_mtu(mtu).await,
                    Some(TunEvent::Deleted) | None => return Ended::InterfaceDeleted,
                },
                Failed = engine.listen() => return Ended::Failed,
                () = &mut control => return Ended::SocketRemoved,
                () = &mut stop => return Ended::Stopped,
            }
        }
    }
}
