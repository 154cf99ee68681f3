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

use super::{
    Load,
    client::{Client, Reader},
};

/// Packets that have not arrived when nothing has for so long are lost.
const LOST_AFTER: Duration = Duration::from_millis(300);

/// Of so many packets one has its delay kept.
const SAMPLED: u64 = 16;

/// Counts of one sender and its receiver. Their tasks end with it.
pub(super) struct Pair {
    epoch: Instant,
    sent: Cell<u64>,
    received: Cell<u64>,
    lost: Cell<u64>,
    arrived: Notify,
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
            arrived: Notify::new(),
            delays: RefCell::new(Vec::new()),
        });
        tokio::task::spawn_local(Rc::clone(&pair).send(sender, to, *load));
        tokio::task::spawn_local(Rc::clone(&pair).receive(receiver));
        pair
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.get()
    }

    pub(super) fn forget_delays(&self) {
        self.delays.borrow_mut().clear();
    }

    pub(super) fn take_delays(&self, into: &mut Vec<u64>) {
        into.append(&mut self.delays.borrow_mut());
    }

    async fn send(self: Rc<Self>, sender: Client, to: NodePublic, load: Load) -> io::Result<()> {
        let Client { mut writer, reader: mut own } = sender;
        // Pings and keep-alives are for it too.
        tokio::task::spawn_local(async move { while own.read(|_| Ok(())).await.is_ok() {} });
        let (mut out, mut packet) = (Vec::new(), vec![0; load.size]);
        loop {
            let on_the_way = self.sent.get() - self.received.get() - self.lost.get();
            let room = load.window.saturating_sub(on_the_way);
            if room == 0 {
                self.wait().await;
                continue;
            }
            out.clear();
            for _ in 0..if load.is_batching { room } else { 1 } {
                let now = (clock::now() - self.epoch).as_nanos() as u64;
                packet[..8].copy_from_slice(&now.to_le_bytes());
                Frame::SendPacket { to, packet: &packet }.encode(&mut out).map_err(io::Error::other)?;
                self.sent.set(self.sent.get() + 1);
            }
            writer.write_all(&out).await?;
            writer.flush().await?;
        }
    }

    /// Until something arrives, or nothing will.
    async fn wait(&self) {
        let before = self.received.get();
        let is_late = clock::timeout(LOST_AFTER, self.arrived.notified()).await.is_err();
        if is_late && self.received.get() == before {
            self.lost.set(self.sent.get() - before);
        }
    }

    async fn receive(self: Rc<Self>, receiver: Client) -> io::Result<()> {
        let Client { reader: mut from, writer: _open } = receiver;
        loop {
            let pair = &self;
            let reader: &mut Reader = &mut from;
            reader
                .read(|frame| {
                    if let Frame::RecvPacket { packet, .. } = frame {
                        pair.arrived(packet);
                    }
                    Ok(())
                })
                .await?;
            self.arrived.notify_one();
        }
    }

    fn arrived(&self, packet: &[u8]) {
        self.received.set(self.received.get() + 1);
        if self.received.get().is_multiple_of(SAMPLED)
            && let Some(then) = packet.first_chunk()
        {
            let now = (clock::now() - self.epoch).as_nanos() as u64;
            self.delays.borrow_mut().push((now - u64::from_le_bytes(*then)) / 1000);
        }
    }
}
