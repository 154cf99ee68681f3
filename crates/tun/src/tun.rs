//! The overlay that a TUN device is: when it reads, when it writes, and when it is over.

use std::{
    fmt, io,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::io::Errno;
use tidewire_packet::{Class, Pool};
use tidewire_transport::{Fault, FromOverlay, Overlay, OverlayId, ToOverlay};
use tun_rs::AsyncDevice;

use crate::{
    config::Config,
    control::TunControl,
    counters::{Counters, Discard},
    device::{self, Device},
    errors::is_gone,
    events::TunEvents,
    reader::Reader,
    writer::Writer,
};

/// A TUN device as an overlay. The interface goes when this and all of its [`TunControl`]s are dropped.
pub struct Tun {
    shared: Arc<Shared>,
    pool: Pool,
    id: OverlayId,
    reader: Reader,
    writer: Writer,
}

/// What the device and its handles share.
pub(crate) struct Shared {
    pub(crate) io: AsyncDevice,
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mtu: AtomicUsize,
    counters: Mutex<Counters>,
}

impl Tun {
    /// Makes the interface. Slabs for what is read come from `pool`; `id` names this overlay in what it hands over.
    ///
    /// # Errors
    /// [`Fault::Configuration`] if there is no tokio runtime around; else what the system said: the process may not
    /// (`CAP_NET_ADMIN` on Linux), the name is taken, an address is impossible.
    ///
    /// # Panics
    /// If the runtime around was built without I/O.
    pub fn create(config: &Config, pool: Pool, id: OverlayId) -> Result<Self, Fault> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Fault::Configuration("a TUN device needs a tokio runtime around it"));
        }
        let device = Device::open(config).map_err(|source| Fault::Io { what: "making the TUN device", source })?;
        device.configure(config).map_err(|source| Fault::Io { what: "setting up the interface", source })?;
        let Device { io, has_header, offload } = device;
        let shared = Shared::new(io).map_err(|source| Fault::Io { what: "looking at the new interface", source })?;
        let (reader, writer) = (Reader::new(has_header), Writer::new(has_header, offload));
        Ok(Self { shared: Arc::new(shared), pool, id, reader, writer })
    }

    /// The interface's name, as it was when it was made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A handle for another thread: addresses, routes, MTU, counters.
    #[must_use]
    pub fn control(&self) -> TunControl {
        TunControl::new(Arc::clone(&self.shared))
    }

    /// Drops up to `most` packets that wait to be read, what was written to the interface while nobody read it. Asks the
    /// device itself, whether or not the runtime has noticed that there is something to read.
    pub fn discard_waiting(&mut self, most: usize) {
        self.reader.forget_left();
        let mut stale = 0;
        // The rest of a packet goes with its first bytes.
        let mut start = [0; 64];
        while stale < most && matches!(rustix::io::read(self.shared.io.as_fd(), &mut start), Ok(1..)) {
            stale += 1;
        }
        self.shared.counters().discards.add(Discard::Stale, stale as u64);
    }

    /// What happens to the interface from outside: up, down, another MTU, deleted. The first event says whether it is up.
    ///
    /// # Errors
    /// What the system said when asked to tell.
    ///
    /// # Panics
    /// If there is no tokio runtime around.
    pub fn events(&self) -> io::Result<TunEvents> {
        TunEvents::new(Arc::clone(&self.shared))
    }
}

impl Overlay for Tun {
    /// As the system last said: live while somebody polls [`Tun::events`].
    fn mtu(&self) -> usize {
        self.shared.mtu()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut FromOverlay) -> Poll<Result<(), Fault>> {
        into.from = self.id;
        into.batch.clear();
        if into.batch.capacity() != Class::Send.bytes() {
            into.batch = self.pool.batch(Class::Send);
        }
        loop {
            if !self.reader.has_left() {
                // It fails only when the runtime is gone.
                ready!(self.shared.io.poll_readable(cx)).map_err(|_| Fault::Closed)?;
            }
            let mut counters = self.shared.counters();
            let io = &self.shared.io;
            let mtu = self.shared.mtu();
            let filled = self.reader.fill(&mut into.batch, mtu, &mut counters, |places| io.try_recv_vectored(places));
            drop(counters);
            if self.reader.take_seen_longer() {
                self.shared.look_at_mtu();
            }
            match filled {
                Ok(()) if into.batch.is_empty() => {}
                Ok(()) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(source) if is_over(&source) => {
                    return Poll::Ready(Err(Fault::Broken { what: "the TUN device", source }));
                }
                Err(source) => return Poll::Ready(Err(Fault::Io { what: "reading from the TUN device", source })),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, item: &mut ToOverlay) -> Poll<Result<(), Fault>> {
        loop {
            let io = &self.shared.io;
            let mut counters = self.shared.counters();
            let drained = self.writer.drain(&mut item.batch, &mut counters, |slices| io.try_send_vectored(slices));
            drop(counters);
            match drained {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match io.poll_writable(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Closed)),
                    // Linux calls a device that is down not writable, and nobody shall wait until it is up.
                    Poll::Pending if self.shared.is_here() && device::is_off(io) => {
                        self.shared.counters().discards.add(Discard::Down, item.batch.len() as u64);
                        item.batch.clear();
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => return Poll::Pending,
                },
                Err(source) => return Poll::Ready(Err(Fault::Broken { what: "the TUN device", source })),
            }
        }
    }
}

impl Shared {
    fn new(io: AsyncDevice) -> io::Result<Self> {
        let (name, index) = (io.name()?, io.if_index()?);
        let mtu = AtomicUsize::new(io.mtu()?.into());
        Ok(Self { io, name, index, mtu, counters: Mutex::default() })
    }

    pub(crate) fn mtu(&self) -> usize {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Asks the system for the MTU; what cannot be asked stays as it was.
    pub(crate) fn look_at_mtu(&self) {
        if let Ok(mtu) = self.io.mtu()
            && self.is_here()
        {
            self.mtu.store(mtu.into(), Ordering::Relaxed);
        }
    }

    /// Whether what the system says of the interface's name is about this interface: in another network namespace it is not, and
    /// here may be one of the same name.
    fn is_here(&self) -> bool {
        self.io.if_index().is_ok_and(|index| index == self.index)
    }

    // A panic while the lock was held left numbers.
    pub(crate) fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error of a read says that the interface was deleted: Linux says EFAULT or EIO while it goes.
fn is_over(error: &io::Error) -> bool {
    let going = [Errno::FAULT, Errno::IO].map(|errno| Some(errno.raw_os_error()));
    is_gone(error) || going.contains(&error.raw_os_error())
}

impl fmt::Debug for Tun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tun").field("name", &self.shared.name).field("id", &self.id).finish_non_exhaustive()
    }
}
