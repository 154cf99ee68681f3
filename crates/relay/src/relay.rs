//! A relay that runs: a thread of its own with one event loop, and the handle that stops it when it is dropped.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::ServerConfig;
use tidewire_derp::{RegionId, region::Region};
use tidewire_keys::{Drbg, RelayPublic, RelaySecret, Seed};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    Admission, Allow, Certificate,
    allow::AllowFile,
    config::{CertificateError, Config, StartError, Tls},
    core::Core,
    descriptors,
    metrics::Stats,
    region::Place,
    server::{Answer, Content, Mailbox, Reader, Server, Shutdown, serve_page, watch},
    sockets::Sockets,
};

/// Within which time clients are asked to come back after a shutdown, and for how long to try.
const SPREAD: Duration = Duration::from_secs(2);
const TRY_FOR: Duration = Duration::from_secs(30);

/// A running relay. Dropping it stops it at once, without a word to its clients; [`shutdown`](Self::shutdown) is polite.
#[derive(Debug)]
pub struct Relay {
    place: Place,
    metrics_addr: Option<SocketAddr>,
    public: RelayPublic,
    mailbox: Arc<Mailbox>,
    /// Closed when the thread has ended.
    alive: watch::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts a relay in a thread of its own. When this returns, its sockets are bound and clients can connect.
    ///
    /// The limit of open descriptors of this process is raised as far as the system allows, since each client needs one. Where
    /// that is too little for [`Limits`](crate::Limits), their numbers of connections are lowered, and the log says so.
    ///
    /// # Errors
    /// [`StartError`]: a socket, the certificate, or the system.
    pub fn start(mut config: Config) -> Result<Self, StartError> {
        descriptors::make_room(&mut config.limits);
        let host = host(&config)?;
        let seed = Seed::try_fill(getrandom::fill).map_err(StartError::Random)?;
        let sockets = Sockets::bind(&config)?;
        let (addr, stun, http, metrics_addr) =
            (sockets.addr, sockets.stun_addr, sockets.http_addr, sockets.page_addr);
        let secret =
            config.secret.unwrap_or_else(|| RelaySecret::generate(&mut Drbg::new(&seed, "relay key")));
        let certificate = certificate(config.tls, host.as_deref(), addr)?;
        let (admission, file) = admission(config.allow)?;
        let core = Core::new(secret, admission, config.limits, &seed);
        let public = core.public_key();
        let tls = certificate.as_ref().map(|certificate| certificate.server_config(&public)).transpose()?;
        let (reader, alive) = Reader::new();
        let mailbox = reader.mailbox();
        let thread = spawn(core, tls, sockets, file, reader).map_err(StartError::System)?;
        let cert_name = certificate.map(|certificate| certificate.cert_name());
        info!(%addr, stun = stun.map(tracing::field::display), "relay serves");
        let place = Place { addr, stun, http, host, public_port: config.public_port, cert_name };
        Ok(Self { place, metrics_addr, public, mailbox, alive, thread: Some(thread) })
    }

    /// Where it serves DERP.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.place.addr
    }

    /// Where it serves STUN, if it does.
    #[must_use]
    pub const fn stun_addr(&self) -> Option<SocketAddr> {
        self.place.stun
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

    /// Where it serves the check for captive portals, if it does.
    #[must_use]
    pub const fn http_addr(&self) -> Option<SocketAddr> {
        self.place.http
    }

    /// The region that has this relay as its only node, ready to be put into a map: host, ports, and the pin of a
    /// self-signed certificate. An address stands there only if it is the same for everybody; else DNS tells.
    #[must_use]
    pub fn region(&self, id: RegionId) -> Region {
        self.place.region(id)
    }

    /// Whether it serves without TLS under another host or port than its own: then clients have to find a proxy there that
    /// speaks TLS, with a certificate for the host.
    #[must_use]
    pub fn is_behind_proxy(&self) -> bool {
        self.place.is_behind_proxy()
    }

    /// Ready when its thread has ended, which without [`shutdown`](Self::shutdown) happens only by a fault in it: nothing is
    /// served then. Needs no runtime.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.alive.clone();
        async move { while alive.changed().await.is_ok() {} }
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

    /// Stops politely: no new connections, a word to each client when to come back, and what they were still to get, as far as
    /// they take it within 2 s. Blocks until all are gone, for at most `grace`.
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
    reader: Reader,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = runtime.enter();
    let Sockets { listener, stun, page, http, .. } = sockets;
    let numbers = Content::Numbers { key: core.public_key(), mailbox: reader.mailbox() };
    for (listener, content) in [(page, numbers), (http, Content::PortalCheck)] {
        if let Some(listener) = listener {
            runtime.spawn(serve_page(tokio::net::TcpListener::from_std(listener)?, content));
        }
    }
    if let Some(file) = file {
        runtime.spawn(watch(file, reader.mailbox()));
    }
    let server = Server::new(core, tls, listener, stun, reader.mailbox())?;
    drop(context);
    thread::Builder::new().name("tidewire-relay".to_owned()).spawn(move || {
        // However this ends, those who wait for an answer learn so.
        let _reader = reader;
        // It gives each connection its turn itself.
        runtime.block_on(tokio::task::unconstrained(server));
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
            Ok((file.read()?, Some(file)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever waits for it learns that it is gone, and nobody waits for ever.
    #[tokio::test]
    async fn a_fault_in_its_thread_is_noticed() {
        let relay =
            Relay::start(Config { tls: Tls::Off, ..Config::new(([127, 0, 0, 1], 0).into()) }).unwrap();
        let ended = relay.ended();
        relay.mailbox.ask(|asked| asked.stats.push(Answer(Box::new(|_| panic!("on purpose, by a test")))));
        ended.await;
        relay.ended().await;
        assert_eq!(relay.stats(), Stats::default());
        assert!(std::net::TcpStream::connect(relay.addr()).is_err());
        relay.shutdown(Duration::from_secs(600));
    }
}
