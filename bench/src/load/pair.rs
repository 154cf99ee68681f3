//! A sender and its receiver: how many packets are on the way, which are lost, how long they take.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tidewire_clock as clock;
use tidewire_derp::Frame;
use tidewire_keys::NodePublic;
use tokio::{io::AsyncWriteExt, sync::Notify};

use super::{Load, client::Client};

/// A full window from which nothing arrives for so long is lost.
const LOST_AFTER: Duration = Duration::from_millis(300);

/// Of so many packets one has its delay kept.
const SAMPLED: u64 = 16;

/// Counts of one sender and its receiver. Packets of one sender arrive in order, so that a gap in their numbers is a loss.
pub(super) struct Pair {
    epoch: Instant,
    sent: Cell<u64>,
    received: Cell<u64>,
    /// Packets that are known not to come.
    lost: Cell<u64>,
    is_stopped: Cell<bool>,
    failure: RefCell<Option<io::Error>>,
    progress: Notify,
    delays: RefCell<Vec<u64>>,
}

impl Pair {
    /// Starts both on the local set around.
    pub(super) fn start(sender: Client, receiver: Client, to: NodePublic, load: &Load) -> Rc<Self> {
        let pair = Rc::new(Self {
            epoch: clock::now(),
            sent: Cell::new(0),
            received: Cell::new(0),
            lost: Cell::new(0),
            is_stopped: Cell::new(false),
            failure: RefCell::new(None),
            progress: Notify::new(),
            delays: RefCell::new(Vec::new()),
        });
        let (sending, receiving, load) = (Rc::clone(&pair), Rc::clone(&pair), *load);
        tokio::task::spawn_local(async move {
            let result = sending.send(sender, to, load).await;
            sending.ended(result);
        });
        tokio::task::spawn_local(async move {
            let result = receiving.receive(receiver).await;
            receiving.ended(result);
        });
        pair
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    /// Sends no more. What is on the way still arrives.
    pub(super) fn stop(&self) {
        self.is_stopped.set(true);
        self.progress.notify_one();
    }

    /// Why one of the clients ended, if one did.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.borrow_mut().take()
    }

    pub(super) fn forget_delays(&self) {
        self.delays.borrow_mut().clear();
    }

    pub(super) fn take_delays(&self, into: &mut Vec<u64>) {
        into.append(&mut self.delays.borrow_mut());
    }

    fn ended(&self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure.borrow_mut().get_or_insert(error);
        }
    }

    async fn send(&self, sender: Client, to: NodePublic, load: Load) -> io::Result<()> {
        let Client { mut writer, reader: mut own } = sender;
        // Pings and keep-alives are for it too.
        tokio::task::spawn_local(async move { while own.read(|_| Ok(())).await.is_ok() {} });
        let (mut out, mut packet) = (Vec::new(), vec![0; load.size]);
        while !self.is_stopped.get() {
            let on_the_way = self.sent.get().saturating_sub(self.received.get() + self.lost.get());
            let room = load.window.saturating_sub(on_the_way);
            if room == 0 {
                self.wait().await;
                continue;
            }
            out.clear();
            for _ in 0..if load.is_batching { room } else { 1 } {
                let now = (clock::now() - self.epoch).as_nanos() as u64;
                packet[..8].copy_from_slice(&now.to_le_bytes());
                packet[8..16].copy_from_slice(&self.sent.get().to_le_bytes());
                Frame::SendPacket { to, packet: &packet }.encode(&mut out).map_err(io::Error::other)?;
                self.sent.set(self.sent.get() + 1);
            }
            writer.write_all(&out).await?;
            writer.flush().await?;
        }
        // The connection stays open until the pair is gone.
        std::future::pending().await
    }

    /// Until something arrives, or nothing will.
    async fn wait(&self) {
        let before = self.received.get();
        let is_late = clock::timeout(LOST_AFTER, self.progress.notified()).await.is_err();
        if is_late && self.received.get() == before {
            self.lost.set(self.sent.get() - before);
        }
    }

    async fn receive(&self, receiver: Client) -> io::Result<()> {
        let Client { mut reader, writer: _open } = receiver;
        loop {
            reader
                .read(|frame| {
                    if let Frame::RecvPacket { packet, .. } = frame {
                        self.arrived(packet);
                    }
                    Ok(())
                })
                .await?;
            self.progress.notify_one();
        }
    }

    fn arrived(&self, packet: &[u8]) {
        let Some((then, rest)) = packet.split_first_chunk() else { return };
        let Some(number) = rest.first_chunk() else { return };
        // All before it either came or never will.
        self.lost.set(u64::from_le_bytes(*number).saturating_sub(self.received.get()));
        self.received.set(self.received.get() + 1);
        if self.received.get().is_multiple_of(SAMPLED) {
            let now = (clock::now() - self.epoch).as_nanos() as u64;
            self.delays.borrow_mut().push(now.saturating_sub(u64::from_le_bytes(*then)) / 1000);
        }
    }
}
