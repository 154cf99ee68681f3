//! `tidewire relay`: a DERP and STUN server, with its region printed ready to paste.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use tidewire_derp::RegionId;
use tidewire_relay::{Allow, Certificate, Config, Relay, State, Tls};

use super::{block_on, told_to_stop};
use crate::output::print;

/// Runs a relay (DERP and STUN) and prints its region, ready to paste into a node's configuration
#[derive(Debug, Args)]
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
    /// A certificate chain (PEM) instead of a self-signed one
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

/// How long clients have to leave at the end.
const GRACE: Duration = Duration::from_secs(5);

/// The port of STUN where none is named (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;

impl RelayCommand {
    pub(crate) fn run(&self) -> Result<()> {
        let relay = Relay::start(self.config()?)?;
        let region = relay.region(RegionId(self.region));
        print(format_args!("{}", region.to_toml().trim_end()))?;
        tracing::info!(derp = %relay.addr(), stun = ?relay.stun_addr(), key = %relay.public_key(), "relay up");
        block_on(told_to_stop())?;
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
