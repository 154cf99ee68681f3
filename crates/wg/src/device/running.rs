//! How a data plane is put to work for the device, and what is kept of it when it ends.

use std::{io, net::SocketAddr, time::Instant};

use tidewire_clock as clock;
use tidewire_dataplane::{
    Change, DataPlane, Filter, Identity, Out, Refused, Route, TunnelStatus,
    driver::{Driver, Gone, Handle, Note},
};
use tidewire_keys::{DiscoSecret, Drbg, Epoch, NodePublic, NodeSecret, Seed, Tai64N};
use tidewire_packet::Pool;
use tidewire_transport::{Hop, Overlay, OverlayId, Rx};
use tidewire_udp::{Udp, UdpControl};
use tokio::task::JoinHandle;

use crate::device::desired::Desired;

/// The device's only overlay: the interface.
pub(crate) const INTERFACE: OverlayId = OverlayId(0);

/// The largest MTU that the data plane takes; an interface may say more, and never get it.
const MOST_MTU: usize = 65_503;

/// A data plane at work in a task of its own. There is one while the device has a key and the interface is up.
pub(crate) struct Running {
    handle: Handle,
    notes: Rx<Note>,
    driver: JoinHandle<DataPlane>,
    udp: UdpControl,
}

/// What a data plane knows of a peer.
pub(crate) struct Report {
    pub(crate) key: NodePublic,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) tunnel: TunnelStatus,
}

impl Running {
    /// Binds the sockets, and starts a data plane with all peers. `floor` is the last time stamp that was sent.
    pub(crate) async fn start(
        secret: NodeSecret,
        desired: &Desired,
        overlay: Box<dyn Overlay>,
        pool: &Pool,
        floor: Option<Tai64N>,
    ) -> io::Result<Self> {
        let config =
            tidewire_udp::Config { port: desired.listen_port, mark: desired.fwmark, ..Default::default() };
        let udp = Udp::bind(config, pool.clone())?;
        let control = udp.control();
        let core = core(secret, desired, overlay.mtu(), pool, floor)?;
        let (driver, handle, notes) = Driver::new(core, fresh_seed);
        let attached = async {
            handle.attach_underlay(Box::new(udp)).await?;
            handle.attach_overlay(INTERFACE, overlay).await
        };
        attached.await.map_err(io::Error::other)?;
        // The driver has a budget of its own, and gives way by it.
        let driver = tokio::spawn(tokio::task::unconstrained(driver.run()));
        Ok(Self { handle, notes, driver, udp: control })
    }

    /// Ends it. What its peers did is told a last time, and the last time stamp that was sent.
    pub(crate) async fn stop(self) -> Option<(Vec<Report>, Option<Tai64N>)> {
        let Self { handle, notes, driver, .. } = self;
        drop((handle, notes));
        // A driver that panicked said so, and left nothing.
        let core = driver.await.ok()?;
        Some((reports(&core, clock::now()), core.last_stamp()))
    }

    /// Applies changes in order. One that is refused leaves those behind it undone.
    pub(crate) async fn apply(&self, changes: Vec<Change>) -> Result<Result<(), Refused>, Gone> {
        self.handle
            .call(move |core, now, out| {
                changes.into_iter().try_for_each(|change| core.apply(now, change, out))
            })
            .await
    }

    pub(crate) async fn set_mtu(&self, mtu: usize) -> Result<Result<(), Refused>, Gone> {
        self.handle.apply(Change::Mtu(mtu.min(MOST_MTU))).await
    }

    pub(crate) async fn reports(&self) -> Result<Vec<Report>, Gone> {
        self.handle.call(|core, now, _| reports(core, now)).await
    }

    /// The next thing that it tells; `None` if it ended by itself, which it should not.
    pub(crate) async fn note(&mut self) -> Option<Note> {
        self.notes.recv().await
    }

    pub(crate) fn port(&self) -> u16 {
        self.udp.local_addrs().port().unwrap_or(0)
    }

    /// Listens on another port.
    pub(crate) fn rebind(&self, port: u16) -> io::Result<()> {
        self.udp.rebind(Some(port)).map(drop)
    }

    pub(crate) fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.udp.set_mark(mark)
    }
}

fn core(
    secret: NodeSecret,
    desired: &Desired,
    mtu: usize,
    pool: &Pool,
    floor: Option<Tai64N>,
) -> io::Result<DataPlane> {
    let seed = Seed::try_fill(getrandom::fill)?;
    // Nobody knows this disco key, so disco messages are for nobody.
    let disco = DiscoSecret::generate(&mut Drbg::new(&seed, "wg disco"));
    let now = clock::now();
    let epoch = Epoch::new(clock::unix_time());
    let epoch = match floor {
        Some(floor) => epoch.with_floor(floor),
        None => epoch,
    };
    let identity = Identity { node: secret, disco };
    let mut core = DataPlane::new(now, identity, Filter::AllowAll, epoch, &seed, pool.clone());
    let changes = [
        Change::Mtu(mtu.min(MOST_MTU)),
        Change::DefaultOverlay(Some(INTERFACE)),
        Change::Peers(desired.all_peers()),
        Change::NewestStamps(desired.newest_stamps()),
    ];
    // Stays empty: what a new peer wants to send is due with the first event.
    let mut out = Out::default();
    for change in changes {
        core.apply(now, change, &mut out).map_err(io::Error::other)?;
    }
    Ok(core)
}

fn reports(core: &DataPlane, now: Instant) -> Vec<Report> {
    let report = |key: NodePublic| {
        let (tunnel, route) = core.status(now, &key)?;
        Some(Report { key, endpoint: endpoint(route), tunnel })
    };
    core.peers().filter_map(report).collect()
}

fn endpoint(route: Route) -> Option<SocketAddr> {
    route.hop().as_ref().and_then(Hop::socket_addr)
}

fn fresh_seed() -> Option<Seed> {
    Seed::try_fill(getrandom::fill).ok()
}
