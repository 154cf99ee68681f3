//! What a relay is started with, and why it may not start.

use std::{io, net::SocketAddr, path::PathBuf};

use tidewire_keys::RelaySecret;

use crate::{Allow, AllowError, Certificate, Limits};

/// What a relay is started with. [`Config::new`] gives one that works; change single fields.
#[derive(Debug)]
pub struct Config {
    /// Where DERP is served, over TCP. Port 0: any free one. An unspecified IPv6 address serves IPv4 too.
    pub listen: SocketAddr,
    /// Where STUN is served, over UDP; `None`: not at all.
    pub stun: Option<SocketAddr>,
    /// The DNS name or IP address under which clients know the relay. `None`: the address of `listen`, which then must
    /// be a specific one.
    pub host: Option<String>,
    /// The TCP port at which clients reach the relay, where something in front of it (a proxy, a router) has another than
    /// `listen`. `None`: the one of `listen`; for a relay without TLS that is known under another host, 443, where a proxy
    /// speaks TLS for it.
    pub public_port: Option<u16>,
    /// The relay's own key; `None`: a new one.
    pub secret: Option<RelaySecret>,
    /// How the stream is protected.
    pub tls: Tls,
    /// Who may log in.
    pub allow: Allow,
    /// Where `/metrics` (OpenMetrics) and a page for people are served, over plain HTTP; `None`: nowhere. Whoever can
    /// connect can read them.
    pub metrics: Option<SocketAddr>,
    /// Where `/generate_204` is served over plain HTTP, for clients to find captive portals; `None`: nowhere. Of use on port
    /// 80, where they look.
    pub http: Option<SocketAddr>,
    /// How many, how much, how long.
    pub limits: Limits,
}

/// How the stream between client and relay is protected. What it carries is encrypted between the peers in any case.
#[derive(Debug, Default)]
pub enum Tls {
    /// By TLS with a new self-signed certificate, which clients recognise by its hash.
    #[default]
    SelfSigned,
    /// By TLS with this certificate.
    Certificate(Certificate),
    /// Not at all, for loopback and behind a reverse proxy.
    Off,
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket could not be had there.
    #[error("cannot listen on {protocol} {address}: {source}")]
    Listen {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The list of keys cannot be used.
    #[error(transparent)]
    Allow(#[from] AllowError),
    /// The system gives no thread, or none of what its event loop needs.
    #[error("cannot start the relay's thread: {0}")]
    System(io::Error),
    /// The configuration says nothing by which clients could find the relay.
    #[error("{0} is no address that clients can connect to: say under which host they find the relay")]
    NoHost(SocketAddr),
}

/// Why a certificate cannot be used. The configuration is to blame.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A self-signed certificate could not be made for this host.
    #[error("cannot make a certificate for `{host}`: {problem}")]
    Make {
        /// The host.
        host: String,
        /// What is wrong.
        problem: String,
    },
    /// Chain and key do not fit together, or are of a kind that cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Use(String),
}

impl Config {
    /// A relay for everyone on that address, with STUN on a free port beside it, a new key, and a new self-signed
    /// certificate.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            stun: Some(SocketAddr::new(listen.ip(), 0)),
            host: None,
            public_port: None,
            secret: None,
            tls: Tls::SelfSigned,
            allow: Allow::Everyone,
            metrics: None,
            http: None,
            limits: Limits::default(),
        }
    }
}
