//! Which certificate a relay shows: a self-signed one that is known by its hash, or one from files; and the one that carries its key.

use std::{fmt, fs, path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SerialNumber};
use ring::digest::{SHA256, digest};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
    server::{NoServerSessionStorage, ParsedCertificate},
};
use tidewire_derp::{frame::PROTOCOL_VERSION, region::CertName};
use tidewire_keys::RelayPublic;

use crate::config::CertificateError;

/// How long a self-signed certificate is valid. Its pin is all that clients go by, and a new one would break it.
const VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far a client's clock may be behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// A certificate chain and its key.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Clients recognise it by its hash.
    is_pinned: bool,
}

impl Certificate {
    /// Makes a self-signed certificate for that DNS name or IP address. Clients recognise it by its hash.
    ///
    /// # Errors
    /// [`CertificateError::Make`] if `host` is neither.
    pub fn self_signed(host: &str) -> Result<Self, CertificateError> {
        let problem = |error: rcgen::Error| CertificateError::Make {
            host: host.to_owned(),
            problem: error.to_string(),
        };
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(problem)?;
        let mut params = CertificateParams::new([host.to_owned()]).map_err(problem)?;
        params.distinguished_name = common_name(host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_validity(&mut params);
        let certificate = params.self_signed(&key).map_err(problem)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self { chain: vec![certificate.der().clone()], key, is_pinned: true })
    }

    /// Reads a chain (the relay's own certificate first) and its key from PEM files, as authorities issue them.
    ///
    /// # Errors
    /// [`CertificateError`] names the file.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::read(chain, key, false)
    }

    /// How clients check it.
    #[must_use]
    pub fn cert_name(&self) -> CertName {
        match self.chain.first() {
            Some(first) if self.is_pinned => CertName::Pin(sha256(first)),
            _ => CertName::HostName,
        }
    }

    /// Reads a self-signed certificate that [`write_to`](Self::write_to) wrote.
    pub(crate) fn read_self_signed(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::read(chain, key, true)
    }

    fn read(chain: &Path, key: &Path, is_pinned: bool) -> Result<Self, CertificateError> {
        let content =
            |path: &Path, problem: String| CertificateError::Content { path: path.to_owned(), problem };
        let pem = read_file(chain)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| content(chain, error.to_string()))?;
        if certificates.is_empty() {
            return Err(content(
                chain,
                "no certificate in it: expected PEM, the relay's own first".to_owned(),
            ));
        }
        let key_der = PrivateKeyDer::from_pem_slice(&read_file(key)?)
            .map_err(|error| content(key, format!("no private key in it: {error}")))?;
        Ok(Self { chain: certificates, key: key_der, is_pinned })
    }

    /// The chain and the key in PEM.
    pub(crate) fn to_pem(&self) -> (String, String) {
        let chain = self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
        (chain, pem("PRIVATE KEY", self.key.secret_der()))
    }

    /// Whether it was issued for that DNS name or IP address.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let name = ServerName::try_from(host);
        let certificate = self.chain.first().map(ParsedCertificate::try_from);
        let (Ok(name), Some(Ok(certificate))) = (name, certificate) else { return false };
        rustls::client::verify_server_name(&certificate, &name).is_ok()
    }

    /// What a TLS server needs. The last certificate of the chain says the relay's key, for clients that start fast.
    pub(crate) fn server_config(&self, relay: &RelayPublic) -> Result<Arc<ServerConfig>, CertificateError> {
        let unusable = |error: rustls::Error| CertificateError::Use(error.to_string());
        let mut chain = self.chain.clone();
        chain.push(key_certificate(relay)?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, self.key.clone_key())
            .map_err(unusable)?;
        // A client that comes back logs in anew, and must see the key certificate; tickets would only cost memory.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("cert_name", &self.cert_name()).finish_non_exhaustive()
    }
}

/// A certificate whose subject says the relay's key: `derpkey` and 64 hex digits; its serial number is the protocol's
/// version. As Tailscale's relay has it.
fn key_certificate(relay: &RelayPublic) -> Result<CertificateDer<'static>, CertificateError> {
    let subject = format!("derpkey{}", relay.to_hex());
    let problem =
        |error: rcgen::Error| CertificateError::Make { host: subject.clone(), problem: error.to_string() };
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(problem)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&subject);
    params.serial_number = Some(SerialNumber::from(u64::from(PROTOCOL_VERSION)));
    set_validity(&mut params);
    params.self_signed(&key).map(|certificate| certificate.der().clone()).map_err(problem)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn set_validity(params: &mut CertificateParams) {
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(tidewire_clock::unix_time().as_secs());
    params.not_before = now - BACKDATED;
    params.not_after = now + VALID;
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

/// RFC 7468: base64 in lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let digits = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in digits.as_bytes().chunks(64) {
        text.extend(line.iter().map(|&digit| char::from(digit)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
