//! `tidewire relay`: a DERP and STUN server, with its region printed ready to paste.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tidewire_derp::RegionId;
use tidewire_relay::{Allow, Certificate, Config, Limits, RateLimit, Relay, State, Tls};

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
    /// Serves no STUN
    #[arg(long, conflicts_with = "stun")]
    no_stun: bool,
    /// The name or address under which nodes reach it; required where the listen address is unspecified
    #[arg(long, value_name = "NAME|IP")]
    host: Option<String>,
    /// The TCP port under which nodes reach it, where a proxy or a router in front has another than --listen
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    public_port: Option<u16>,
    /// Keeps key and self-signed certificate here, so that pins survive a restart
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A certificate chain (PEM) instead of a self-signed one; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The secret key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Serves plain HTTP, for loopback and behind a reverse proxy: the latter wherever --host is not the address of --listen
    #[arg(long, conflicts_with_all = ["cert", "key"])]
    plain: bool,
    /// Lets in only the keys of this file: one `nodekey:` a line, `#` comments; read again when it changes
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Most clients at a time; further ones are refused
    #[arg(long, value_name = "N", default_value_t = Limits::DEFAULT.clients)]
    max_clients: usize,
    /// How fast each client may send, in bytes a second; BURST is what it may send at once. Faster ones are slowed down
    #[arg(long, value_name = "BYTES[/BURST]", value_parser = rate)]
    rate: Option<RateLimit>,
    /// Longest packet; longer ones are dropped
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(576..=65_536))]
    max_packet: u32,
    /// Serves the check for captive portals over plain HTTP here; nodes look for it on port 80
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Serves OpenMetrics and a status page here, over plain HTTP to whoever can connect
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// The number of the printed region
    #[arg(long, value_name = "N", default_value_t = 900, value_parser = clap::value_parser!(u16).range(1..))]
    region: u16,
    /// How the log is written
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogForm::Text)]
    log: LogForm,
}

/// How a log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum LogForm {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}

const EXAMPLES: &str = "\
Examples:
  On this machine, to try it:
    tidewire relay --listen 127.0.0.1:3443
  On a server, without being root; let in TCP 8443 and UDP 3478:
    tidewire relay --listen 0.0.0.0:8443 --host 203.0.113.7 --state ./relay
  On a server, with a certificate of its own that nodes know by its hash; let in TCP 443 and UDP 3478:
    tidewire relay --listen 0.0.0.0:443 --host 203.0.113.7 --state /var/lib/tidewire-relay
  The same under a name, with a certificate that an authority issued and somebody renews:
    tidewire relay --listen [::]:443 --host relay.example.net --state /var/lib/tidewire-relay \\
      --cert fullchain.pem --key privkey.pem
  Behind a reverse proxy that speaks TLS on port 443, with STUN beside it:
    tidewire relay --listen 127.0.0.1:3340 --plain --stun 0.0.0.0:3478 --host relay.example.net --state ./relay

Check from another machine with `tidewire netcheck --map FILE`, FILE being what this printed.
The region goes to standard output, the log to standard error. SIGTERM ends it politely: clients are told to come back.";

/// How long clients have to leave at the end.
const GRACE: Duration = Duration::from_secs(5);

/// The port of STUN where none is named (RFC 8489, section 18.6).
const STUN_PORT: u16 = 3478;

impl RelayCommand {
    /// Whether the log is for a program to read.
    pub(crate) fn logs_json(&self) -> bool {
        self.log == LogForm::Json
    }

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
        if relay.is_behind_proxy() {
            let (host, port, to) = (&region.nodes[0].host_name, region.nodes[0].derp_port, relay.addr());
            print(format_args!(
                "# TLS is the proxy's: on port {port}, with a certificate for {host}, passing upgrades on to {to}."
            ))?;
        }
        print(format_args!("{}", region.to_toml().trim_end()))?;
        tracing::info!(derp = %relay.addr(), stun = ?relay.stun_addr(), key = %relay.public_key(), "relay up");
        let mut ended = pin!(relay.ended());
        loop {
            let told = tokio::select! {
                told = signals.next() => told?,
                () = &mut ended => bail!("the relay has failed; what happened to it stands above"),
            };
            if told == Told::Stop {
                break;
            }
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
        let stun = self.stun.unwrap_or_else(|| SocketAddr::new(self.listen.ip(), STUN_PORT));
        config.stun = (!self.no_stun).then_some(stun);
        config.host.clone_from(&self.host);
        config.public_port = self.public_port;
        match &self.allow {
            Some(path) => config.allow = Allow::File(path.clone()),
            None if self.listen.ip().is_loopback() => {}
            None => tracing::warn!(
                "whoever finds this relay can use it: --allow FILE lets in the keys of a file alone"
            ),
        }
        (config.metrics, config.http) = (self.metrics, self.http);
        config.limits.clients = self.max_clients;
        config.limits.packet_bytes = self.max_packet as usize;
        config.limits.rate = self.rate;
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

/// Least burst where none is named: two of the longest packets.
const BURST: u64 = 128 * 1024;

/// `BYTES[/BURST]`; without a burst it is what a second lets through.
fn rate(text: &str) -> Result<RateLimit, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let (rate, burst) = text.split_once('/').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
    let bytes_per_second = number(rate)?;
    if bytes_per_second < RateLimit::LEAST {
        return Err(format!(
            "{} bytes a second are the least with which a client stays logged in",
            RateLimit::LEAST
        ));
    }
    let burst = burst.map_or(Ok(bytes_per_second.max(BURST)), number)?;
    Ok(RateLimit { bytes_per_second, burst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_with_or_without_a_burst() {
        let limit = |bytes_per_second, burst| Ok(RateLimit { bytes_per_second, burst });
        assert_eq!(rate("1000000"), limit(1_000_000, 1_000_000));
        assert_eq!(rate("2000"), limit(2000, 131_072));
        assert_eq!(rate("2000/5000"), limit(2000, 5000));
        for wrong in ["", "1M", "1000", "2000/", "-5", "2000/1/1"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
