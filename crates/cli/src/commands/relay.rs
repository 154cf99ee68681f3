//! `tidewire relay`: a DERP and STUN server, with its region printed ready to paste.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use tidewire_derp::RegionId;
use tidewire_relay::{Allow, Certificate, Config, Relay, State, Tls};

use super::{
    block_on,
    signals::{Signals, Told},
};
use crate::output::print;

/// Runs a relay (DERP and STUN) and prints its region, ready to paste into a node's configuration
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RelayCommand {
    /// Where to serve DERP, such as 0.0.0.0:443
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Where to serve STUN; without it, UDP port 3478 of the same address
    #[arg(long, value_name = "ADDR")]
    stun: Option<SocketAddr>,
    /// The name or address under which nodes reach it; required where the listen address is unspecified
    #[arg(long, value_name = "NAME|IP")]
    host: Option<String>,
    /// Keeps key and self-signed certificate here, so that pins survive a restart
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A certificate chain (PEM) instead of a self-signed one; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The secret key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Serves plain HTTP, for loopback and behind a reverse proxy
    #[arg(long, conflicts_with_all = ["cert", "key"])]
    plain: bool,
    /// Lets in only the keys of this file: one `nodekey:` a line, `#` comments; read again when it changes
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Serves OpenMetrics and a status page here, over plain HTTP to whoever can connect
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// The number of the printed region
    #[arg(long, value_name = "N", default_value_t = 900, value_parser = clap::value_parser!(u16).range(1..))]
    region: u16,
}

const EXAMPLES: &str = "\
Examples:
  On this machine, to try it:
    tidewire relay --listen 127.0.0.1:3443
  On a server, with a certificate of its own that nodes know by its hash; let in TCP 443 and UDP 3478:
    tidewire relay --listen 0.0.0.0:443 --host 203.0.113.7 --state /var/lib/tidewire-relay
  The same under a name, with a certificate that an authority issued and somebody renews:
    tidewire relay --listen [::]:443 --host relay.example.net --state /var/lib/tidewire-relay \\
      --cert fullchain.pem --key privkey.pem

The region goes to standard output, the log to standard error. SIGTERM ends it politely: clients are told to come back.";

/// How long clients have to leave at the end.
const GRACE: Duration = Duration::from_secs(5);

/// The port of STUN where none is named (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;

impl RelayCommand {
    pub(crate) fn run(&self) -> Result<()> {
        let config = self.config()?;
        block_on(self.serve_until_stopped(config))
    }

    /// Where the certificate is in files, SIGHUP has them read again.
    async fn serve_until_stopped(&self, config: Config) -> Result<()> {
        let files = self.cert.as_ref().zip(self.key.as_ref());
        let mut signals = Signals::listen(files.is_some())?;
        let relay = Relay::start(config)?;
        let region = relay.region(RegionId(self.region));
        print(format_args!("{}", region.to_toml().trim_end()))?;
        tracing::info!(derp = %relay.addr(), stun = ?relay.stun_addr(), key = %relay.public_key(), "relay up");
        while signals.next().await? != Told::Stop {
            if let Some((chain, key)) = files {
                renew(&relay, chain, key);
            }
        }
        tracing::info!("relay down");
        relay.shutdown(GRACE);
        Ok(())
    }

    fn config(&self) -> Result<Config> {
        let mut config = Config::new(self.listen);
        config.stun = Some(self.stun.unwrap_or_else(|| SocketAddr::new(self.listen.ip(), STUN_PORT)));
        config.host.clone_from(&self.host);
        if let Some(path) = &self.allow {
            config.allow = Allow::File(path.clone());
        }
        config.metrics = self.metrics;
        let host = self.host_for_certificate()?;
        config.tls = match (&self.cert, &self.key) {
            _ if self.plain => Tls::Off,
            (Some(chain), Some(key)) => Tls::Certificate(Certificate::from_files(chain, key)?),
            _ => Tls::SelfSigned,
        };
        match &self.state {
            Some(directory) if matches!(config.tls, Tls::SelfSigned) => {
                let state = State::open(directory, &host)?;
                config.secret = Some(state.secret);
                config.tls = Tls::Certificate(state.certificate);
            }
            Some(directory) => config.secret = Some(State::open_secret(directory)?),
            None => tracing::warn!(
                "what is not in a file is new at each start, and pins go stale: use --state DIR"
            ),
        }
        Ok(config)
    }

    fn host_for_certificate(&self) -> Result<String> {
        match &self.host {
            Some(host) => Ok(host.clone()),
            None if self.listen.ip().is_unspecified() => {
                bail!("--host is required with --listen {}: nodes have to know where to connect", self.listen)
            }
            None => Ok(IpAddr::to_string(&self.listen.ip())),
        }
    }
}

/// Shows what is in the files from the next connection on. If that cannot be used, the relay goes on with what it has.
fn renew(relay: &Relay, chain: &Path, key: &Path) {
    let renewed = Certificate::from_files(chain, key).and_then(|new| relay.set_certificate(&new));
    match renewed {
        Ok(()) => tracing::info!("certificate read again"),
        Err(error) => tracing::warn!(%error, "the certificate stays as it was"),
    }
}
