//! How a node is put together: its thread, its sockets, its core, its relays and its stack, in the one order that works.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tidewire_clock as clock;
use tidewire_dataplane::{
    Change, DataPlane, Identity, Out,
    driver::{Driver, Handle},
};
use tidewire_derp::{
    RegionId, Regions,
    client::{ClientConfig, DerpControl},
};
use tidewire_keys::{Drbg, Epoch, Seed, Tai64N};
use tidewire_packet::Pool;
use tidewire_transport::{Overlay, OverlayId, Underlay};
use tidewire_udp::{Loopback, Udp, UdpControl};
use tokio::sync::{oneshot, watch};

use crate::{
    config::{Config, fresh_seed},
    error::{MapError, StartError},
    event::RelayStatus,
    keeper::{Keeper, Parts},
    local::Local,
    node::Node,
    shared::Shared,
    tuning::Tuning,
};

/// The one overlay of a node.
const OVERLAY: OverlayId = OverlayId(0);

/// Checks what can be checked without the system, then starts the node's thread and waits until it is up.
pub(crate) async fn start(config: Config, tuning: Tuning) -> Result<Node, StartError> {
    let regions = Regions::try_from(config.map.regions.clone()).map_err(MapError::from)?;
    check_home(config.home, &regions)?;
    let seed = fresh_seed().map_err(|source| StartError::System { what: "randomness", source })?;
    let (up, node) = oneshot::channel();
    thread::Builder::new()
        .name("tidewire-node".to_owned())
        .spawn(move || run(config, regions, tuning, seed, up))
        .map_err(|source| StartError::System { what: "a thread", source })?;
    node.await.unwrap_or_else(|_| {
        let source = io::Error::other("the node's thread ended");
        Err(StartError::System { what: "a thread", source })
    })
}

/// What can be asked of the relays, with the pin that restricts their map.
#[derive(Debug)]
pub(crate) struct Relays {
    control: DerpControl,
    home: Option<RegionId>,
    regions: watch::Sender<Regions>,
}

impl Relays {
    pub(crate) fn check(&self, regions: &Regions) -> Result<(), MapError> {
        check_home(self.home, regions)
    }

    pub(crate) fn set(&self, regions: Regions) {
        self.control.set_kept(kept(self.home, &regions));
        // The keeper looks at them anew. Where only peers changed, what it knows of the relays still holds.
        self.regions.send_if_modified(|old| {
            let is_other = *old != regions;
            old.clone_from(&regions);
            is_other
        });
        self.control.set_regions(regions);
    }

    pub(crate) fn network_changed(&self) {
        self.control.network_changed();
    }

    pub(crate) fn status(&self, now: Instant) -> Vec<RelayStatus> {
        let regions = self.control.status().regions;
        regions.into_iter().map(|relay| RelayStatus::new(now, relay)).collect()
    }
}

/// Which regions a node stays connected to beside its home: all of the map, unless its home is pinned, for then peers know
/// where it is.
fn kept(home: Option<RegionId>, regions: &Regions) -> Vec<RegionId> {
    if home.is_some() { Vec::new() } else { regions.ids().collect() }
}

fn check_home(home: Option<RegionId>, regions: &Regions) -> Result<(), MapError> {
    match home {
        Some(home) if regions.get(home).is_none() => Err(MapError::Home(home)),
        _ => Ok(()),
    }
}

type Up = oneshot::Sender<Result<Node, StartError>>;

/// The node's thread: a runtime of its own, until the handle is gone.
fn run(config: Config, regions: Regions, tuning: Tuning, seed: Seed, up: Up) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            // Whoever wanted the node may have gone.
            drop(up.send(Err(StartError::System { what: "a runtime", source })));
            return;
        }
    };
    runtime.block_on(async move {
        match assemble(config, regions, tuning, &seed) {
            Ok((node, stopped, ended, keeper)) => {
                if up.send(Ok(node)).is_ok() {
                    keeper.run(stopped).await;
                }
                drop(ended);
            }
            Err(error) => drop(up.send(Err(error))),
        }
    });
}

type Assembled = (Node, oneshot::Receiver<()>, watch::Sender<()>, Keeper);

/// Everything but time: nothing here waits. The map is in the core before the first datagram can arrive.
fn assemble(config: Config, regions: Regions, tuning: Tuning, seed: &Seed) -> Result<Assembled, StartError> {
    let mut random = Drbg::new(seed, "node");
    let pool = Pool::default();
    let now = clock::now();
    let keys = &config.keys;
    let shared = Arc::new(Shared::new(keys.node.public(), keys.disco.public(), config.addresses.clone()));

    let udp = bind(config.listen, pool.clone())?;
    let udp_control = udp.control();
    let identity = Identity { node: keys.node.clone(), disco: keys.disco.clone() };
    let epoch = epoch(config.stamp_file.as_deref());
    let mut core = DataPlane::new(now, identity, config.filter, epoch, &random.seed(), pool.clone());
    configure(&mut core, now, &config, &udp_control)?;
    shared.take_names(&config.map);

    let mut derp = ClientConfig::new(keys.node.clone(), regions.clone(), random.seed());
    derp.home = config.home;
    derp.kept = kept(config.home, &regions);
    derp.proxies = tidewire_derp::client::proxies_from_env()?;
    derp.extra_roots.clone_from(&config.extra_roots);
    derp.force_websocket = config.force_websocket;
    let (names, proxies) = (derp.names.clone(), derp.proxies.clone());
    let (derp_underlay, control, relays_task) = tidewire_derp::client::client(derp, pool.clone())?;

    let (mut driver, handle, notes) = Driver::new(core, || fresh_seed().ok());
    let udp: Box<dyn Underlay> = Box::new(udp);
    driver.attach_underlay(match tuning.udp {
        Some(wrap) => wrap(udp),
        None => udp,
    });
    driver.attach_underlay(Box::new(derp_underlay));
    let (overlay, local) = overlay(&config, pool, random.array(), &handle, &shared, &udp_control)?;
    driver.attach_overlay(OVERLAY, overlay);

    let (stop, stopped) = oneshot::channel();
    let (ended_tx, ended) = watch::channel(());
    let (regions, map) = watch::channel(regions);
    let relays = Relays { control: control.clone(), home: config.home, regions };
    let parts = Parts {
        handle: handle.clone(),
        notes,
        relays: control,
        local: local.clone(),
        map,
        udp: udp_control,
        stamp_file: config.stamp_file,
        names,
        proxies,
        extra_roots: config.extra_roots,
        random: Drbg::new(&random.seed(), "node keeper"),
    };
    let keeper = Keeper::new(driver, parts, config.home, Arc::clone(&shared));
    tokio::spawn(relays_task);
    let node = Node { shared, handle, local, relays, stop: Mutex::new(Some(stop)), ended };
    Ok((node, stopped, ended_tx, keeper))
}

/// The node's overlay, at work: an interface where one is wanted, else a stack in user space.
fn overlay(
    config: &Config,
    pool: Pool,
    seed: [u8; 32],
    handle: &Handle,
    shared: &Arc<Shared>,
    udp: &UdpControl,
) -> Result<(Box<dyn Overlay>, Local), StartError> {
    #[cfg(all(feature = "tun", unix))]
    if let Some(name) = &config.interface {
        use crate::interface::Interface;
        let (interface, tun, events) =
            Interface::create(name, &config.addresses, config.mtu, pool, OVERLAY, udp.clone())?;
        interface.follow(&config.map);
        tokio::spawn(interface.clone().watch(events, handle.clone(), Arc::clone(shared)));
        return Ok((Box::new(tun), Local::Interface(interface)));
    }
    // What only an interface needs.
    let _ = (handle, shared, udp);
    let mut stack = tidewire_netstack::Config::new(config.addresses.iter().map(IpNet::addr).collect(), seed);
    stack.overlay = OVERLAY;
    stack.mtu = config.mtu;
    let (overlay, net, task) = tidewire_netstack::netstack(stack, pool)?;
    tokio::spawn(task);
    Ok((Box::new(overlay), Local::Stack(net)))
}

/// A port that is taken is no reason not to start where any will do; a named one is.
fn bind(port: u16, pool: Pool) -> Result<Udp, StartError> {
    let config = tidewire_udp::Config { port, ..Default::default() };
    Udp::bind(config, pool).map_err(|source| StartError::System { what: "a UDP socket", source })
}

fn configure(
    core: &mut DataPlane,
    now: Instant,
    config: &Config,
    udp: &UdpControl,
) -> Result<(), StartError> {
    // Nothing can be sent before there are peers, so nothing is lost with this.
    let out = &mut Out::default();
    let own = config.addresses.iter().map(|net| (IpNet::from(net.addr()), OVERLAY)).collect();
    let peers = config.map.peers.iter().cloned().map(Into::into).collect();
    // The node's own interface does not exist yet.
    let local = Change::LocalAddresses(local_addresses(udp, None));
    for change in [Change::Own(own), Change::Mtu(config.mtu), Change::Peers(peers), local] {
        core.apply(now, change, out).map_err(MapError::from)?;
    }
    Ok(())
}

/// This machine's UDP addresses, without those of the node's own `interface`. Loopback counts where there is nothing else.
pub(crate) fn local_addresses(udp: &UdpControl, interface: Option<&str>) -> Vec<std::net::SocketAddr> {
    match tidewire_udp::local_addresses(Loopback::IfAlone, interface.as_slice()) {
        Ok(ips) => udp.local_addrs().reachable_at(&ips),
        Err(error) => {
            tracing::warn!(%error, "the interfaces' addresses cannot be read");
            Vec::new()
        }
    }
}

/// Wall time, not before what the file says was sent in an earlier life.
fn epoch(stamp_file: Option<&Path>) -> Epoch {
    let epoch = Epoch::new(clock::unix_time());
    let floor: Option<Tai64N> = stamp_file
        .and_then(|path| std::fs::read_to_string(path).ok())
        .and_then(|text| text.trim().parse().ok());
    match floor {
        Some(floor) => epoch.with_floor(floor),
        None => epoch,
    }
}

/// Keeps a stamp for the next life, rounded up so that it need not be written for every handshake.
pub(crate) fn keep_stamp(path: &Path, stamp: Tai64N) {
    let text = format!("{}\n", stamp.round_up(STAMP_STEP));
    if let Err(error) = std::fs::write(path, text) {
        tracing::warn!(%error, path = %path.display(), "the last time stamp cannot be kept");
    }
}

/// How far a kept stamp is rounded up, and so how seldom it must be written.
pub(crate) const STAMP_STEP: Duration = Duration::from_secs(600);
