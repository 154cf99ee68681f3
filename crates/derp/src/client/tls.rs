//! How TLS is spoken to a relay: ring, no ALPN, no resumption, and the certificate that the map asks for.

use std::{io, sync::Arc};

use rustls::{
    CertificateError, CipherSuite, ClientConfig, Error, ProtocolVersion,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    time_provider::TimeProvider,
};
use tokio::{io::BufReader, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::cert::{Pinned, Vouched, relay_key, roots};
use crate::{
    machine::{Opened, Seen},
    region::{CertName, RegionNode},
};

/// rustls reads 4 KiB at a time; this makes one system call of sixteen.
const READ_AHEAD: usize = 64 << 10;

/// A TLS stream to a relay.
pub(super) type Tls = TlsStream<BufReader<TcpStream>>;

/// Makes TLS streams.
pub(super) struct TlsDialer {
    provider: Arc<CryptoProvider>,
    roots: Arc<dyn ServerCertVerifier>,
}

impl TlsDialer {
    /// Reads the platform's authorities; `extra` ones are trusted too.
    pub(super) fn new(extra: &[CertificateDer<'static>]) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let roots = roots(&provider, extra)?;
        Ok(Self { provider, roots })
    }

    /// Shakes hands with `node`, and adds to `opened` what was seen.
    pub(super) async fn connect(
        &self,
        node: &RegionNode,
        tcp: TcpStream,
        opened: &mut Opened,
    ) -> Result<Tls, Seen> {
        let name = server_name(&node.host_name)
            .ok_or_else(|| Seen::Tls("the host name is no DNS name".to_owned()))?;
        let config = self.config(&node.cert_name).map_err(|error| Seen::Tls(error.to_string()))?;
        let tcp = BufReader::with_capacity(READ_AHEAD, tcp);
        let tls =
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| seen(&error))?;
        let (_, session) = tls.get_ref();
        opened.alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        if session.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            opened.relay_key = session.peer_certificates().and_then(relay_key);
        }
        Ok(tls)
    }

    fn config(&self, cert_name: &CertName) -> Result<ClientConfig, Error> {
        let provider = Arc::clone(&self.provider);
        let verifier: Arc<dyn ServerCertVerifier> = match cert_name {
            CertName::Pin(pin) => Arc::new(Pinned::new(*pin, Arc::clone(&provider))),
            CertName::HostName => Arc::new(Vouched::new(Arc::clone(&self.roots), None)),
            CertName::Name(name) => {
                let name = server_name(name)
                    .ok_or_else(|| Error::General("the cert_name is no DNS name".to_owned()))?;
                Arc::new(Vouched::new(Arc::clone(&self.roots), Some(name)))
            }
        };
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(WallClock))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // A resumed session would skip the look at the certificate's dates.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// ring, with the cheapest cipher first: servers commonly follow the client's order. What it carries is encrypted already.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// A DNS name, or an IP address with or without brackets; the dot that ends an absolute name does not belong to it.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.trim_end_matches('.').to_owned()).ok()
}

fn seen(error: &io::Error) -> Seen {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => Seen::Tls(other.0.to_string()),
        Some(error) => Seen::Tls(error.to_string()),
        None => super::stream::seen(error),
    }
}

#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(tidewire_clock::unix_time()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_cipher_is_preferred_and_no_other_given_up() {
        let suites = provider().cipher_suites;
        assert_eq!(suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(suites.len(), rustls::crypto::ring::default_provider().cipher_suites.len());
    }
}
