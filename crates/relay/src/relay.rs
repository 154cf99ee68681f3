//! A relay that runs: a thread of its own with one event loop, and the handle that stops it when it is dropped.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::ServerConfig;
use tidewire_derp::{
    RegionId,
    region::{CertName, Family, Region, RegionNode},
};
use tidewire_keys::{Drbg, RelayPublic, RelaySecret, Seed};
use tracing::{info, warn};

use crate::{
    Admission, Allow, Certificate,
    allow::AllowFile,
    config::{CertificateError, Config, StartError, Tls},
    core::Core,
    metrics::Stats,
    server::{Answer, Mailbox, Server, Shutdown, serve_page, watch},
    sockets::Sockets,
};

/// Within which time clients are asked to come back after a shutdown, and for how long to try.
const SPREAD: Duration = Duration::from_secs(2);
const TRY_FOR: Duration = Duration::from_secs(30);

/// A running relay. Dropping it stops it at once, without a word to its clients; [`shutdown`](Self::shutdown) is polite.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    stun_addr: Option<SocketAddr>,
    metrics_addr: Option<SocketAddr>,
    public: RelayPublic,
    host: Option<String>,
    /// How clients check its certificate; `None`: it has none.
    cert_name: Option<CertName>,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay in a thread of its own. When this returns, its sockets are bound and clients can connect.
    ///
    /// The limit of open descriptors of this process is raised as far as the system allows, since each client needs one.
    ///
    /// # Errors
    /// [`StartError`]: a socket, the certificate, or the system.
    pub fn start(config: Config) -> Result<Self, StartError> {
        raise_descriptor_limit();
        let host = host(&config)?;
        let seed = Seed::try_fill(getrandom::fill).map_err(StartError::Random)?;
        let sockets = Sockets::bind(&config)?;
        let (addr, stun_addr, metrics_addr) = (sockets.addr, sockets.stun_addr, sockets.page_addr);
        let secret =
            config.secret.unwrap_or_else(|| RelaySecret::generate(&mut Drbg::new(&seed, "relay key")));
        let certificate = certificate(config.tls, host.as_deref(), addr)?;
        let (admission, file) = admission(config.allow)?;
        let core = Core::new(secret, admission, config.limits, &seed);
        let public = core.public_key();
        let tls = certificate.as_ref().map(|certificate| certificate.server_config(&public)).transpose()?;
        let mailbox = Arc::new(Mailbox::default());
        let thread = spawn(core, tls, sockets, file, Arc::clone(&mailbox)).map_err(StartError::System)?;
        let cert_name = certificate.map(|certificate| certificate.cert_name());
        info!(%addr, stun = stun_addr.map(tracing::field::display), "relay serves");
        Ok(Self { addr, stun_addr, metrics_addr, public, host, cert_name, mailbox, thread: Some(thread) })
    }

    /// Where it serves DERP.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it serves STUN, if it does.
    #[must_use]
    pub const fn stun_addr(&self) -> Option<SocketAddr> {
        self.stun_addr
    }

    /// Where its numbers can be read, if they can.
    #[must_use]
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// Its public key.
    #[must_use]
    pub const fn public_key(&self) -> RelayPublic {
        self.public
    }

    /// The region that has this relay as its only node, ready to be put into a map: host, ports, and the pin of a
    /// self-signed certificate.
    #[must_use]
    pub fn region(&self, id: RegionId) -> Region {
        let ip = self.addr.ip().to_canonical();
        let host = self.host.clone().unwrap_or_else(|| ip.to_string());
        let mut node = RegionNode::new(format!("{id}a"), host);
        // Where the host is a name and the address is known, nobody needs to ask DNS.
        if node.host_ip().is_none() && !ip.is_unspecified() {
            (node.ipv4, node.ipv6) = match ip {
                IpAddr::V4(ip) => (Family::Address(ip), Family::Off),
                IpAddr::V6(ip) => (Family::Off, Family::Address(ip)),
            };
        }
        node.derp_port = self.addr.port();
        node.stun_port = self.stun_addr.map(|addr| addr.port());
        node.plain = self.cert_name.is_none();
        node.cert_name = self.cert_name.clone().unwrap_or_default();
        Region::new(id, format!("relay-{id}"), vec![node])
    }

    /// What it has counted. Waits for its thread, which answers within a turn; after the relay has ended, nothing but zeros.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (answer, stats) = mpsc::sync_channel(1);
        // This thread waits for it.
        self.mailbox.ask(|asked| asked.stats.push(Answer(Box::new(move |stats| drop(answer.send(stats))))));
        stats.recv().unwrap_or_default()
    }

    /// Changes who may log in. Clients that may not any more are disconnected. Where the list stands in a file, the next
    /// change to that file holds again.
    pub fn set_admission(&self, admission: Admission) {
        self.mailbox.ask(|asked| asked.admission = Some(admission));
    }

    /// Shows another certificate from the next connection on: a renewed one, for the same host. A relay without TLS
    /// ignores it.
    ///
    /// # Errors
    /// [`CertificateError::Use`] if it cannot be used; the old one stays.
    pub fn set_certificate(&self, certificate: &Certificate) -> Result<(), CertificateError> {
        let tls = certificate.server_config(&self.public)?;
        self.mailbox.ask(|asked| asked.tls = Some(tls));
        Ok(())
    }

    /// Stops politely: no new connections, a word to each client when to come back, and what they were still to get.
    /// Blocks until all are gone, for at most `grace`.
    pub fn shutdown(mut self, grace: Duration) {
        self.mailbox.ask(|asked| asked.shutdown = Some(Shutdown { grace, spread: SPREAD, try_for: TRY_FOR }));
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.mailbox.ask(|asked| asked.is_abandoned = true);
    }
}

/// Starts the thread that everything runs in.
fn spawn(
    core: Core,
    tls: Option<Arc<ServerConfig>>,
    sockets: Sockets,
    file: Option<AllowFile>,
    mailbox: Arc<Mailbox>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = runtime.enter();
    let Sockets { listener, stun, page, .. } = sockets;
    if let Some(page) = page {
        let page = tokio::net::TcpListener::from_std(page)?;
        runtime.spawn(serve_page(page, core.public_key(), Arc::clone(&mailbox)));
    }
    if let Some(file) = file {
        runtime.spawn(watch(file, Arc::clone(&mailbox)));
    }
    let server = Server::new(core, tls, listener, stun, Arc::clone(&mailbox))?;
    drop(context);
    thread::Builder::new().name("tidewire-relay".to_owned()).spawn(move || {
        // It gives each connection its turn itself.
        runtime.block_on(tokio::task::unconstrained(server));
        mailbox.close();
        // Not held up by a file system that does not answer.
        runtime.shutdown_background();
    })
}

/// What clients are told, if it is anything but the address.
fn host(config: &Config) -> Result<Option<String>, StartError> {
    if config.host.is_none() && config.listen.ip().to_canonical().is_unspecified() {
        return Err(StartError::NoHost(config.listen));
    }
    Ok(config.host.clone())
}

fn certificate(tls: Tls, host: Option<&str>, addr: SocketAddr) -> Result<Option<Certificate>, StartError> {
    let ip = addr.ip().to_canonical().to_string();
    let host = host.unwrap_or(&ip);
    match tls {
        Tls::Off => Ok(None),
        Tls::SelfSigned => Ok(Some(Certificate::self_signed(host)?)),
        Tls::Certificate(certificate) => {
            if !certificate.is_for(host) {
                warn!(
                    host,
                    "the certificate is for another host: clients that check its name will refuse it"
                );
            }
            Ok(Some(certificate))
        }
    }
}

/// Who may log in at first, and the file to be watched.
fn admission(allow: Allow) -> Result<(Admission, Option<AllowFile>), StartError> {
    match allow {
        Allow::Everyone => Ok((Admission::Everyone, None)),
        Allow::Keys(keys) => Ok((Admission::Keys(keys), None)),
        Allow::File(path) => {
            let mut file = AllowFile::new(path);
            let admission = file.read_if_changed()?.unwrap_or(Admission::Keys(BTreeSet::new()));
            Ok((admission, Some(file)))
        }
    }
}

/// As far as the system allows; a relay with fewer descriptors serves fewer clients, and says so when it meets the limit.
fn raise_descriptor_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}
