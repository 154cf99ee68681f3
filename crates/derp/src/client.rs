//! The client: sockets, TLS, names and WebSocket around the machine, attached to a data plane by a queue pair.

mod cache;
mod cert;
mod control;
mod dial;
mod gather;
mod names;
mod probe;
mod shell;
mod stream;
mod tls;
mod websocket;

use std::future::Future;

use rustls::pki_types::CertificateDer;
use tidewire_clock as clock;
use tidewire_keys::{NodeSecret, Seed};
use tidewire_packet::Pool;
use tidewire_transport::{Depth, Hop, QueuedUnderlay, RegionId, queued};

pub use self::{
    control::DerpControl,
    names::{Kind, Names},
    probe::{NoAnswer, Probe},
};
use self::{dial::Dialer, shell::Shell, tls::TlsDialer};
use crate::{
    machine::{self, Machine},
    proxy::{Proxies, ProxyError},
    region::Regions,
};

/// How much waits between the data plane and the client, in each direction. As much as for one relay
/// ([`DATA_BYTES`](machine::limits::DATA_BYTES)): the whole window of a TCP connection may arrive before this task has its turn.
pub const QUEUE: Depth = Depth { items: 1024, bytes: 4 << 20 };

/// What a client is made with.
#[derive(Debug)]
pub struct ClientConfig {
    /// Who logs in at the relays.
    pub key: NodeSecret,
    /// The relays.
    pub regions: Regions,
    /// The region where peers look for us: always connected.
    pub home: Option<RegionId>,
    /// Further regions to stay connected to.
    pub kept: Vec<RegionId>,
    /// 32 random bytes from the system.
    pub seed: Seed,
    /// Finds the relays' addresses; may be shared with others who need some.
    pub names: Names,
    /// Through which proxy which relay is reached; see [`proxies_from_env`].
    pub proxies: Proxies,
    /// Certificates (DER) of authorities that are trusted beside the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// Take fast start where a relay offers it.
    pub fast_start: bool,
    /// Take nothing but WebSocket.
    pub force_websocket: bool,
    /// Name of the program, for the relay's operator.
    pub app_name: Option<String>,
}

impl ClientConfig {
    /// A client of these relays with nothing special about it: no proxy, and home in no region.
    #[must_use]
    pub fn new(key: NodeSecret, regions: Regions, seed: Seed) -> Self {
        Self {
            key,
            regions,
            home: None,
            kept: Vec::new(),
            seed,
            names: Names::new(),
            proxies: Proxies::none(),
            extra_roots: Vec::new(),
            fast_start: true,
            force_websocket: false,
            app_name: None,
        }
    }
}

/// Why there is no client. The configuration is to blame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a certificate in extra_roots cannot be used: {0}")]
pub struct BadRoot(String);

/// A client: the underlay to attach to a data plane, a handle, and the task that does the work. The task needs a tokio
/// runtime with I/O and time; it ends when the underlay is dropped. Until it is polled nothing happens.
///
/// # Errors
/// [`BadRoot`] if a certificate of `extra_roots` is none.
pub fn client(
    config: ClientConfig,
    pool: Pool,
) -> Result<(QueuedUnderlay, DerpControl, impl Future<Output = ()> + Send + use<>), BadRoot> {
    let ClientConfig { key, regions, home, kept, seed, names, proxies, extra_roots, .. } = config;
    let ClientConfig { fast_start, force_websocket, app_name, .. } = config;
    let extra: Vec<CertificateDer<'static>> = extra_roots.into_iter().map(CertificateDer::from).collect();
    let tls = TlsDialer::new(&extra).map_err(|error| BadRoot(error.to_string()))?;
    let (underlay, up, down) = queued(QUEUE, pool.clone(), |hop| matches!(hop, Hop::Derp { .. }));
    let control = DerpControl::new();
    let handle = control.clone();
    let task = async move {
        let config =
            machine::Config { key, regions, home, kept, proxies, fast_start, force_websocket, app_name };
        let machine = Machine::new(clock::now(), config, &seed);
        let dialer = Dialer { names, tls };
        Shell::new(machine, dialer, (up, down), pool, control).await;
    };
    Ok((underlay, handle, task))
}

/// What `HTTPS_PROXY` and `NO_PROXY` say (lower case counts first, as curl has it).
///
/// # Errors
/// [`ProxyError`] if the proxy cannot be used.
pub fn proxies_from_env() -> Result<Proxies, ProxyError> {
    let read = |name: &str| {
        std::env::var(name.to_ascii_lowercase()).or_else(|_| std::env::var(name)).unwrap_or_default()
    };
    Proxies::from_settings(&read("HTTPS_PROXY"), &read("NO_PROXY"))
}
