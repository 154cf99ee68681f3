//! What a node's handle and its own thread both look at: who waits for a pong, what peers are called, who listens.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tidewire_derp::RegionId;
use tidewire_keys::{DiscoPublic, NodePublic};
use tokio::sync::{broadcast, oneshot};

use crate::{
    config::Map,
    error::PingError,
    event::{Event, Pong},
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) key: NodePublic,
    pub(crate) disco: DiscoPublic,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) events: broadcast::Sender<Event>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) names: BTreeMap<NodePublic, String>,
    pub(crate) home: Option<RegionId>,
    pub(crate) own_addresses: Vec<SocketAddr>,
    pings: BTreeMap<u64, oneshot::Sender<Result<Pong, PingError>>>,
    next_token: u64,
}

/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 1024;

/// Pings that may be waited for at a time.
const PINGS: usize = 1024;

impl Shared {
    pub(crate) fn new(key: NodePublic, disco: DiscoPublic, addresses: Vec<IpNet>) -> Self {
        Self { key, disco, addresses, events: broadcast::channel(EVENTS).0, state: Mutex::default() }
    }

    /// The state. Held for a few assignments, never across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all who listen.
    pub(crate) fn tell(&self, event: Event) {
        // Nobody listening is no fault.
        drop(self.events.send(event));
    }

    pub(crate) fn take_names(&self, map: &Map) {
        self.state().names = map.peers.iter().map(|peer| (peer.key, peer.name.clone())).collect();
    }

    /// A token for a new ping and where its answer comes; `None` if too many are waited for.
    pub(crate) fn new_ping(&self) -> Option<(u64, oneshot::Receiver<Result<Pong, PingError>>)> {
        let mut state = self.state();
        state.pings.retain(|_, waiting| !waiting.is_closed());
        if state.pings.len() >= PINGS {
            return None;
        }
        let (tx, rx) = oneshot::channel();
        state.next_token += 1;
        let token = state.next_token;
        state.pings.insert(token, tx);
        Some((token, rx))
    }

    pub(crate) fn answer_ping(&self, token: u64, answer: Result<Pong, PingError>) {
        if let Some(waiting) = self.state().pings.remove(&token) {
            // Whoever asked may have given up.
            let _ = waiting.send(answer);
        }
    }
}
