//! What a node does besides carrying packets: it tells its owner, follows relays and addresses, and chooses its home.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tidewire_clock as clock;
use tidewire_dataplane::{
    Change, PingRefusal,
    driver::{Driver, Handle, Note},
};
use tidewire_derp::{
    RegionId, Regions,
    client::DerpControl,
    machine::{DownReason, Event as RelayEvent, LinkState, RegionStatus},
    region::{Family, RegionNode},
};
use tidewire_keys::Tai64N;
use tidewire_netstack::Net;
use tidewire_transport::Rx;
use tidewire_udp::UdpControl;
use tokio::sync::{oneshot, watch};

use crate::{
    error::PingError,
    event::{Event, Pong},
    parts::{STAMP_STEP, keep_stamp, local_addresses},
    shared::Shared,
};

/// What the keeper looks after.
pub(crate) struct Parts {
    pub(crate) handle: Handle,
    pub(crate) notes: Rx<Note>,
    pub(crate) relays: DerpControl,
    pub(crate) net: Net,
    pub(crate) map: watch::Receiver<Regions>,
    pub(crate) udp: UdpControl,
    pub(crate) stamp_file: Option<PathBuf>,
}

/// The node's own task.
pub(crate) struct Keeper {
    driver: Option<Driver>,
    parts: Parts,
    shared: Arc<Shared>,
    kept_stamp: Option<Tai64N>,
    local: Vec<SocketAddr>,
    started: Instant,
}

/// How often the machine's addresses are looked at.
const LOOK: Duration = Duration::from_secs(15);

/// How long the choice of a home waits for relays that have not answered yet.
const CHOICE: Duration = Duration::from_secs(3);

/// STUN servers that are asked at most.
const STUN_SERVERS: usize = 8;

impl Keeper {
    pub(crate) fn new(driver: Driver, parts: Parts, pinned: Option<RegionId>, shared: Arc<Shared>) -> Self {
        shared.state().home = pinned;
        let local = local_addresses(&parts.udp);
        Self { driver: Some(driver), parts, shared, kept_stamp: None, local, started: clock::now() }
    }

    /// Runs the node until `stopped`: then its handle is gone, or said so.
    pub(crate) async fn run(mut self, stopped: oneshot::Receiver<()>) {
        let Some(driver) = self.driver.take() else { return };
        let (handle, stamp_file) = (self.parts.handle.clone(), self.parts.stamp_file.clone());
        let running = tokio::spawn(driver.run());
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
        loop {
            tokio::select! {
                note = self.parts.notes.recv() => match note {
                    Some(note) => self.note(note).await,
                    None => return,
                },
                event = self.parts.relays.event() => match event {
                    Some(event) => self.relay_event(event).await,
                    None => return,
                },
                Ok(()) = self.parts.map.changed() => self.ask_stun_servers().await,
                () = &mut look => {
                    self.look_around().await;
                    look.reset(clock::now() + LOOK);
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
                self.look_around().await;
            }
        }
    }

    fn core_event(&self, event: tidewire_dataplane::Event) {
        use tidewire_dataplane::Event as Told;
        let shared = &self.shared;
        match event {
            Told::Switched { peer, from, to, reason } => {
                self.parts.net.nudge();
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
                self.shared.tell(Event::RelayDown { region, reason: down_reason(&why) });
            }
            RelayEvent::Failed(failure) => {
                let (region, reason) = (failure.region, failure.to_string());
                self.shared.tell(Event::RelayDown { region, reason });
            }
            RelayEvent::PeerGone { region, peer, reason } => {
                tracing::debug!(%region, %peer, ?reason, "not at that relay")
            }
            RelayEvent::Health { region, problem } => tracing::info!(%region, ?problem, "relay health"),
            RelayEvent::Restarting { region, .. } => tracing::info!(%region, "relay restarts"),
        }
        self.choose_home();
    }

    async fn relay(&self, region: RegionId, up: bool) {
        {
            let mut state = self.shared.state();
            state.relays.retain(|other| *other != region);
            if up {
                state.relays.push(region);
                state.relays.sort_unstable();
            }
        }
        self.change(Change::Relay { region, up }).await;
    }

    /// Looks whether the machine's addresses changed, whether a home can be chosen, and whether the stamp must be kept.
    async fn look_around(&mut self) {
        let local = local_addresses(&self.parts.udp);
        if local != self.local {
            tracing::info!(?local, "local addresses changed");
            self.local.clone_from(&local);
            self.change(Change::LocalAddresses(local)).await;
            self.parts.relays.network_changed();
        }
        self.choose_home();
        let Some(path) = self.parts.stamp_file.clone() else { return };
        let Ok(Some(stamp)) = self.parts.handle.call(|core, _, _| core.last_stamp()).await else { return };
        if self.kept_stamp.is_none_or(|kept| stamp > kept) {
            self.kept_stamp = Some(stamp.round_up(STAMP_STEP));
            keep_stamp(&path, stamp);
        }
    }

    fn choose_home(&self) {
        if self.shared.state().home.is_some() {
            return;
        }
        let waited = clock::now().saturating_duration_since(self.started);
        if let Some(region) = first_home(&self.parts.relays.status().regions, waited) {
            self.shared.state().home = Some(region);
            self.parts.relays.set_home(Some(region));
            self.shared.tell(Event::HomeChosen { region });
        }
    }

    async fn ask_stun_servers(&mut self) {
        let regions = self.parts.map.borrow_and_update().clone();
        let mut servers = Vec::new();
        for node in regions.iter().flat_map(|region| &region.nodes) {
            servers.extend(stun_addresses(node).await);
        }
        servers.truncate(STUN_SERVERS);
        self.change(Change::StunServers(servers)).await;
    }

    async fn change(&self, change: Change) {
        // The driver has ended, or refuses nothing of what the machine itself says.
        drop(self.parts.handle.apply(change).await);
    }
}

/// The region to begin with: the one that answers fastest, once all have answered or failed or time is up.
fn first_home(regions: &[RegionStatus], waited: Duration) -> Option<RegionId> {
    let settled = |region: &RegionStatus| match region.state {
        LinkState::Up(_) => region.rtt.is_some(),
        LinkState::Waiting(_) => true,
        LinkState::Idle | LinkState::Connecting => false,
    };
    if waited < CHOICE && !regions.iter().all(settled) {
        return None;
    }
    let up = regions.iter().filter(|region| matches!(region.state, LinkState::Up(_)));
    up.min_by_key(|region| (region.rtt.unwrap_or(Duration::MAX), region.region)).map(|region| region.region)
}

/// Where a relay answers STUN, in each family that it has.
async fn stun_addresses(node: &RegionNode) -> Vec<SocketAddr> {
    let Some(port) = node.stun_port else { return Vec::new() };
    if let Some(ip) = node.stun_test_ip {
        return vec![SocketAddr::new(ip, port)];
    }
    let (v4, v6) = (node.find_ipv4(), node.find_ipv6());
    let mut found = Vec::new();
    if let Family::Address(ip) = v4 {
        found.push(SocketAddr::from((ip, port)));
    }
    if let Family::Address(ip) = v6 {
        found.push(SocketAddr::from((ip, port)));
    }
    let (ask_v4, ask_v6) = (matches!(v4, Family::Resolve), matches!(v6, Family::Resolve));
    if ask_v4 || ask_v6 {
        match tokio::net::lookup_host((node.host_name.as_str(), port)).await {
            Ok(addresses) => found.extend(addresses.filter(|a| if a.is_ipv4() { ask_v4 } else { ask_v6 })),
            Err(error) => tracing::debug!(%error, host = node.host_name, "no address for STUN"),
        }
    }
    found
}

fn down_reason(why: &DownReason) -> String {
    match why {
        DownReason::Failed(failure) => failure.to_string(),
        DownReason::Idle => "nothing to send for a minute".to_owned(),
        DownReason::Map => "the map changed".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: u16, state: LinkState, rtt_ms: Option<u64>) -> RegionStatus {
        RegionStatus {
            region: RegionId(id),
            code: String::new(),
            state,
            node: None,
            rung: None,
            proxied: false,
            rtt: rtt_ms.map(Duration::from_millis),
            problem: None,
            last_failure: None,
        }
    }

    #[test]
    fn the_fastest_region_that_answers_is_the_first_home() {
        let t = clock::now();
        let (up, waiting) = (LinkState::Up(t), LinkState::Waiting(t));
        let early = Duration::from_millis(10);
        assert_eq!(first_home(&[], CHOICE), None);
        let all = [region(1, up, Some(30)), region(2, up, Some(20)), region(3, waiting, None)];
        assert_eq!(first_home(&all, early), Some(RegionId(2)));
        let slow = [region(1, up, Some(30)), region(2, LinkState::Connecting, None)];
        assert_eq!(first_home(&slow, early), None, "region 2 may be faster");
        assert_eq!(first_home(&slow, CHOICE), Some(RegionId(1)));
        assert_eq!(first_home(&[region(1, waiting, None)], CHOICE), None);
    }
}
