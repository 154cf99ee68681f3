//! What a node does besides carrying packets: it tells its owner, follows relays and addresses, and chooses its home.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tidewire_clock as clock;
use tidewire_dataplane::{
    Change, MessageKind, PingRefusal,
    driver::{Driver, Handle, Note},
};
use tidewire_derp::{
    RegionId, Regions,
    client::{DerpControl, Names},
    home::{Choice, UNREACHABLE},
    machine::Event as RelayEvent,
    proxy::Proxies,
    region::RegionNode,
};
use tidewire_keys::{Drbg, Tai64N};
use tidewire_netcheck::{Netcheck, Report};
use tidewire_transport::Rx;
use tidewire_udp::{AddressChanges, UdpControl};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    error::PingError,
    event::{Event, Pong},
    home::{CHOICE, Home},
    job::Job,
    local::Local,
    parts::{STAMP_STEP, keep_stamp, local_addresses},
    shared::Shared,
    told::Told,
};

/// What the keeper looks after.
pub(crate) struct Parts {
    pub(crate) handle: Handle,
    pub(crate) notes: Rx<Note>,
    pub(crate) relays: DerpControl,
    pub(crate) local: Local,
    pub(crate) map: watch::Receiver<Regions>,
    pub(crate) udp: UdpControl,
    pub(crate) stamp_file: Option<PathBuf>,
    /// Shared with the relays' client.
    pub(crate) names: Names,
    pub(crate) proxies: Proxies,
    pub(crate) extra_roots: Vec<Vec<u8>>,
    pub(crate) random: Drbg,
}

/// The node's own task.
pub(crate) struct Keeper {
    driver: Option<Driver>,
    parts: Parts,
    shared: Arc<Shared>,
    kept_stamp: Option<Tai64N>,
    local: Vec<SocketAddr>,
    started: Instant,
    /// Whether the configuration says which region is home.
    is_pinned: bool,
    home: Home,
    told: Told,
    netcheck: Netcheck,
    check: Job<Report>,
    stun_servers: Job<Vec<SocketAddr>>,
    /// Data messages that peers had sent when the last check began.
    received: u64,
}

/// How often the machine's addresses are looked at where nobody says that they changed.
const LOOK: Duration = Duration::from_secs(15);

/// How often what else may be due is looked at, where somebody does.
const LOOK_SELDOM: Duration = Duration::from_secs(60);

/// How long addresses settle after a change: several follow one another.
const SETTLE: Duration = Duration::from_secs(1);

/// STUN servers that are asked at most.
const STUN_SERVERS: usize = 8;

impl Keeper {
    pub(crate) fn new(driver: Driver, parts: Parts, pinned: Option<RegionId>, shared: Arc<Shared>) -> Self {
        shared.state().home = pinned;
        let started = clock::now();
        Self {
            driver: Some(driver),
            shared,
            kept_stamp: None,
            local: local_addresses(&parts.udp, parts.local.interface()),
            started,
            is_pinned: pinned.is_some(),
            home: Home::new(started),
            told: Told::default(),
            netcheck: Netcheck::new(parts.names.clone(), parts.proxies.clone(), parts.extra_roots.clone()),
            check: Job::none(),
            stun_servers: Job::none(),
            received: 0,
            parts,
        }
    }

    /// Runs the node until `stopped`: then its handle is gone, or said so.
    pub(crate) async fn run(mut self, stopped: oneshot::Receiver<()>) {
        let Some(driver) = self.driver.take() else { return };
        let (handle, stamp_file) = (self.parts.handle.clone(), self.parts.stamp_file.clone());
        // The driver has a budget of its own, and gives way by it.
        let running = tokio::spawn(tokio::task::unconstrained(driver.run()));
        tokio::select! {
            _ = stopped => {}
            () = self.keep() => {}
        }
        handle.stop();
        if let (Ok(core), Some(path)) = (running.await, stamp_file)
            && let Some(stamp) = core.last_stamp()
        {
            keep_stamp(&path, stamp);
        }
    }

    /// Follows what happens, for as long as the driver runs.
    async fn keep(&mut self) {
        self.parts.map.mark_changed();
        let mut look = clock::Sleep::until(self.started + CHOICE);
        let mut changes = AddressChanges::new().ok();
        loop {
            tokio::select! {
                note = self.parts.notes.recv() => match note {
                    Some(note) => self.note(note).await,
                    None => return,
                },
                event = self.parts.relays.event() => match event {
                    Some(event) => {
                        let is_loss = matches!(event, RelayEvent::Down { .. } | RelayEvent::Failed(_));
                        self.relay_event(event).await;
                        if is_loss && !self.is_pinned {
                            look.reset(look.deadline().min(clock::now() + UNREACHABLE));
                        }
                    }
                    None => return,
                },
                Ok(()) = self.parts.map.changed() => self.start_over().await,
                report = self.check.done() => self.checked(report),
                servers = self.stun_servers.done() => self.change(Change::StunServers(servers)).await,
                still_heard = changed(changes.as_mut()) => {
                    if !still_heard {
                        changes = None;
                    }
                    look.reset(look.deadline().min(clock::now() + SETTLE));
                }
                () = &mut look => {
                    self.look_around().await;
                    look.reset(clock::now() + if changes.is_some() { LOOK_SELDOM } else { LOOK });
                }
            }
        }
    }

    async fn note(&mut self, note: Note) {
        match note {
            Note::Event(event) => self.core_event(event),
            Note::Fault { fault, .. } => self.shared.tell(Event::Fault { fault: fault.to_string() }),
            Note::Slept => {
                self.shared.tell(Event::Slept);
                self.parts.relays.network_changed();
                self.start_over().await;
                self.look_around().await;
            }
        }
    }

    fn core_event(&self, event: tidewire_dataplane::Event) {
        use tidewire_dataplane::Event as Told;
        let shared = &self.shared;
        match event {
            Told::Switched { peer, from, to, reason } => {
                self.parts.local.nudge();
                shared.tell(Event::PathChanged { peer, from, to, reason: reason.to_string() });
            }
            Told::Established { peer } => shared.tell(Event::Connected { peer }),
            Told::GaveUp { peer } => shared.tell(Event::Unreachable { peer }),
            Told::Expired { peer } => tracing::debug!(%peer, "session keys wiped"),
            Told::OwnAddresses(addresses) => {
                shared.state().own_addresses.clone_from(&addresses);
                shared.tell(Event::OwnAddresses(addresses));
            }
            Told::Pong { token, hop, rtt, .. } => shared.answer_ping(token, Ok(Pong { hop, rtt })),
            Told::PingTimeout { token, .. } => shared.answer_ping(token, Err(PingError::Timeout)),
            Told::PingRefused { token, reason, .. } => shared.answer_ping(token, Err(refusal(reason))),
        }
    }

    async fn relay_event(&mut self, event: RelayEvent) {
        match event {
            RelayEvent::Up { region, .. } => {
                self.relay(region, true).await;
                self.shared.tell(Event::RelayUp { region });
            }
            RelayEvent::Down { region, why } => {
                self.relay(region, false).await;
                self.shared.tell(Event::RelayDown { region, reason: why.to_string() });
            }
            RelayEvent::Failed(failure) => {
                let region = failure.region;
                self.home.link(clock::now(), region, false);
                if self.told.is_news(&failure) {
                    self.shared.tell(Event::RelayFailed { region, reason: failure.to_string() });
                }
            }
            // What follows from it the relays' client does itself.
            RelayEvent::PeerGone { .. } => return,
            RelayEvent::Health { region, problem } => {
                return self.shared.tell(Event::RelayHealth { region, problem });
            }
            RelayEvent::Restarting { region, reconnect_in, .. } => {
                return self.shared.tell(Event::RelayRestarting { region, reconnect_in });
            }
        }
        self.choose_home();
    }

    async fn relay(&mut self, region: RegionId, up: bool) {
        self.home.link(clock::now(), region, up);
        self.told.link(region, up);
        self.change(Change::Relay { region, up }).await;
    }

    /// Tells the core what it may have missed: events wait for a limited time only.
    async fn reconcile(&mut self) {
        let relays = self.parts.relays.status().regions;
        for (region, up) in self.told.differences(&relays) {
            tracing::debug!(%region, up, "a relay's event was late");
            self.relay(region, up).await;
        }
    }

    /// Looks whether the machine's addresses changed, whether a home can be chosen, and whether the stamp must be kept.
    async fn look_around(&mut self) {
        let local = local_addresses(&self.parts.udp, self.parts.local.interface());
        if local != self.local {
            tracing::info!(?local, "local addresses changed");
            self.local.clone_from(&local);
            self.change(Change::LocalAddresses(local)).await;
            self.parts.relays.network_changed();
            self.start_over().await;
        }
        self.reconcile().await;
        self.choose_home();
        self.check_if_wanted().await;
        let Some(path) = self.parts.stamp_file.clone() else { return };
        let Ok(Some(stamp)) = self.parts.handle.call(|core, _, _| core.last_stamp()).await else { return };
        if self.kept_stamp.is_none_or(|kept| stamp > kept) {
            self.kept_stamp = Some(stamp.round_up(STAMP_STEP));
            keep_stamp(&path, stamp);
        }
    }

    /// Another map, or another network: what is known of the relays is found out anew.
    async fn start_over(&mut self) {
        let map = self.parts.map.borrow_and_update().clone();
        self.home.forget(clock::now(), &map);
        self.told.keep(&map);
        // What it finds is of the past.
        self.check = Job::none();
        self.ask_stun_servers();
        self.check_if_wanted().await;
    }

    /// Begins a check of the network, if there is a home to be chosen and it is time.
    async fn check_if_wanted(&mut self) {
        let (now, home) = (clock::now(), self.shared.state().home);
        let map = self.parts.map.borrow().clone();
        if self.is_pinned || self.check.is_running() || !self.home.wants_check(now, &map, home, true) {
            return;
        }
        let received = self.parts.handle.call(|core, _, _| core.counters().messages(MessageKind::Data)).await;
        let received = received.unwrap_or(self.received);
        if self.home.wants_check(now, &map, home, received != self.received) {
            self.received = received;
            let (extent, seed) = (self.home.check(now), self.parts.random.seed());
            self.check.start(self.netcheck.run(&map, extent, home, &seed));
        }
    }

    fn checked(&mut self, report: Report) {
        let (now, home) = (clock::now(), self.shared.state().home);
        tracing::debug!(?report, "network checked");
        let map = self.parts.map.borrow().clone();
        let choice = self.home.learn(now, report, &map, home, &self.parts.relays.status().regions);
        self.settle(choice);
    }

    /// Chooses the first home, or another one where the map has lost it.
    fn choose_home(&mut self) {
        let home = self.shared.state().home;
        let is_known = |map: &Regions| home.is_some_and(|home| map.get(home).is_some());
        if self.is_pinned || is_known(&self.parts.map.borrow()) {
            return;
        }
        let map = self.parts.map.borrow().clone();
        let choice = self.home.first(clock::now(), &map, &self.parts.relays.status().regions);
        choice.into_iter().for_each(|choice| self.settle(choice));
    }

    fn settle(&mut self, choice: Choice) {
        let Choice::Move(region, why) = choice else { return };
        tracing::info!(%region, ?why, "home region chosen");
        self.shared.state().home = Some(region);
        self.parts.relays.set_home(Some(region));
        self.shared.tell(Event::HomeChosen { region });
        self.ask_stun_servers();
    }

    /// Finds where the nearest relays answer STUN.
    fn ask_stun_servers(&mut self) {
        let map = self.parts.map.borrow().clone();
        let nearest = self.home.nearest_first(&map, self.shared.state().home);
        let nodes = nearest.iter().filter_map(|region| map.get(*region)).flat_map(|region| &region.nodes);
        let nodes = nodes.filter(|node| node.stun_port.is_some()).take(STUN_SERVERS).cloned().collect();
        self.stun_servers.start(stun_addresses(self.parts.names.clone(), nodes));
    }

    async fn change(&self, change: Change) {
        // The driver has ended, or refuses nothing of what the machine itself says.
        drop(self.parts.handle.apply(change).await);
    }
}

/// Where these relays answer STUN, in their order.
async fn stun_addresses(names: Names, nodes: Vec<RegionNode>) -> Vec<SocketAddr> {
    let mut jobs = JoinSet::new();
    for (place, node) in nodes.into_iter().enumerate() {
        let names = names.clone();
        jobs.spawn(async move { (place, names.stun(&node).await) });
    }
    let mut found = jobs.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    let mut servers: Vec<SocketAddr> = found.into_iter().flat_map(|(_, servers)| servers).collect();
    servers.truncate(STUN_SERVERS);
    servers
}

/// Waits until the machine's addresses may have changed. Whether the next change will be heard, too.
async fn changed(changes: Option<&mut AddressChanges>) -> bool {
    match changes {
        Some(changes) => changes.next().await.is_ok(),
        None => std::future::pending().await,
    }
}

const fn refusal(reason: PingRefusal) -> PingError {
    match reason {
        PingRefusal::UnknownPeer => PingError::NoPeer,
        PingRefusal::NoDisco => PingError::Refused("it is a plain WireGuard peer"),
        PingRefusal::NoHop => PingError::Refused("neither an address nor a relay is known"),
        PingRefusal::Busy => PingError::Busy,
    }
}
