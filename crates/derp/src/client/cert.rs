//! Which certificates a relay may show: the pin, the relay's own key in a certificate, names, and who vouches for them.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use tidewire_keys::RelayPublic;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// What the common name of a certificate that carries a relay's key starts with.
const META: &str = "derpkey";

/// The relay's key, if one of its certificates tells it (`derpkey` and 64 hex digits as common name, and a version of 1 to
/// 255 as serial number). Such a certificate is looked for in the whole chain; it vouches for nothing and its dates do not count.
pub(super) fn relay_key(chain: &[CertificateDer<'_>]) -> Option<RelayPublic> {
    chain.iter().find_map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let key = meta_key(&certificate)?;
        let version = u8::try_from(&certificate.serial).ok()?;
        (version != 0).then_some(key)
    })
}

fn meta_key(certificate: &X509Certificate<'_>) -> Option<RelayPublic> {
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    RelayPublic::from_hex(name.strip_prefix(META)?).ok()
}

/// Accepts one certificate by its hash, whoever issued it. Stricter than Tailscale's check, which a stranger can pass.
#[derive(Debug)]
pub(super) struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// Why a certificate is not the pinned one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PinError {
    #[error("the certificate is not the pinned one")]
    Other,
    #[error("there is a certificate behind the pinned one that does not carry a relay's key")]
    Company,
    #[error("the pinned certificate cannot be read")]
    Unreadable,
}

impl Pinned {
    pub(super) const fn new(pin: [u8; 32], provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }
}

impl ServerCertVerifier for Pinned {
    /// The first certificate is the pinned one, at a time within its dates, and for the name if that is a DNS name. Behind it may
    /// stand certificates that carry a relay's key and no others.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let hash = ring::digest::digest(&ring::digest::SHA256, end_entity);
        if hash.as_ref() != self.pin {
            return Err(refused(PinError::Other));
        }
        for certificate in intermediates {
            let parsed = X509Certificate::from_der(certificate);
            if !parsed.is_ok_and(|(_, certificate)| meta_key(&certificate).is_some()) {
                return Err(refused(PinError::Company));
            }
        }
        check_dates(end_entity, now)?;
        if matches!(server_name, ServerName::DnsName(_)) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| refused(PinError::Unreadable))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| refused(PinError::Unreadable))?;
    if now < certificate.validity().not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > certificate.validity().not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

fn refused(error: PinError) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

/// Accepts what known authorities issued, for the host name (an IP address too) or for another name in its place.
#[derive(Debug)]
pub(super) struct Vouched {
    roots: Arc<dyn ServerCertVerifier>,
    /// Verified instead of the name that was asked for.
    name: Option<ServerName<'static>>,
}

impl Vouched {
    pub(super) const fn new(roots: Arc<dyn ServerCertVerifier>, name: Option<ServerName<'static>>) -> Self {
        Self { roots, name }
    }
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        // A platform's verifier need not be bothered with certificates that belong to no chain.
        let is_meta = |certificate: &CertificateDer<'_>| {
            X509Certificate::from_der(certificate)
                .is_ok_and(|(_, certificate)| meta_key(&certificate).is_some())
        };
        let chain: Vec<_> =
            intermediates.iter().filter(|certificate| !is_meta(certificate)).cloned().collect();
        self.roots.verify_server_cert(end_entity, &chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.roots.root_hint_subjects()
    }
}

/// Who is trusted: the platform's authorities, those of webpki-roots where the platform has none, and `extra` ones.
pub(super) fn roots(
    provider: &Arc<CryptoProvider>,
    extra: &[CertificateDer<'static>],
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let platform =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra.iter().cloned(), Arc::clone(provider));
    if let Ok(platform) = platform
        && (extra.is_empty() || has_platform_roots(provider))
    {
        return Ok(Arc::new(platform));
    }
    let mut store = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in extra {
        store.add(certificate.clone())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| Error::General(error.to_string()))?)
}

/// With extra roots the platform's verifier is content to have none of its own.
fn has_platform_roots(provider: &Arc<CryptoProvider>) -> bool {
    rustls_platform_verifier::Verifier::new(Arc::clone(provider)).is_ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
        SerialNumber, date_time_ymd,
    };

    use super::*;

    /// The first of January 2026.
    const NOW: u64 = 1_767_225_600;
    const KEY: RelayPublic = RelayPublic::from_bytes([0xab; 32]);

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW))
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    fn params(common_name: &str, names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params
    }

    fn self_signed(params: &CertificateParams) -> CertificateDer<'static> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn meta(serial: u64) -> CertificateDer<'static> {
        let mut params = params(&format!("derpkey{KEY}"), &[]);
        params.serial_number = Some(SerialNumber::from(serial));
        self_signed(&params)
    }

    fn pin_of(certificate: &CertificateDer<'_>) -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, certificate).as_ref().try_into().unwrap()
    }

    fn host(name: &'static str) -> ServerName<'static> {
        ServerName::try_from(name).unwrap()
    }

    /// What the pin of `pinned` says to a chain.
    fn pinned(
        pinned: &CertificateDer<'_>,
        chain: &[&CertificateDer<'static>],
        name: &ServerName<'_>,
    ) -> Result<(), Error> {
        let verifier = Pinned::new(pin_of(pinned), provider());
        let rest: Vec<_> = chain[1..].iter().map(|&certificate| certificate.clone()).collect();
        verifier.verify_server_cert(chain[0], &rest, name, &[], now()).map(|_| ())
    }

    fn pin_error(result: Result<(), Error>) -> PinError {
        let Err(Error::InvalidCertificate(CertificateError::Other(other))) = result else {
            panic!("{result:?}")
        };
        *other.0.downcast_ref().unwrap()
    }

    #[test]
    fn the_pinned_certificate_is_accepted_whoever_issued_it_alone_or_before_a_relays_key() {
        let leaf = self_signed(&params("x", &["derp.example"]));
        assert_eq!(pinned(&leaf, &[&leaf], &host("derp.example")), Ok(()));
        assert_eq!(pinned(&leaf, &[&leaf, &meta(2)], &host("derp.example")), Ok(()));
        assert_eq!(pinned(&leaf, &[&leaf], &host("127.0.0.1")), Ok(()), "no name is checked for an address");
    }

    #[test]
    fn trap_a_strangers_leaf_named_as_a_relays_key_before_the_pinned_one_is_refused() {
        let leaf = self_signed(&params("x", &["derp.example"]));
        assert_eq!(pin_error(pinned(&leaf, &[&meta(2), &leaf], &host("derp.example"))), PinError::Other);
    }

    #[test]
    fn any_other_certificate_is_refused_in_whatever_place() {
        let leaf = self_signed(&params("x", &["derp.example"]));
        let other = self_signed(&params("x", &["derp.example"]));
        assert_eq!(pin_error(pinned(&leaf, &[&other], &host("derp.example"))), PinError::Other);
        assert_eq!(pin_error(pinned(&leaf, &[&leaf, &other], &host("derp.example"))), PinError::Company);
        assert_eq!(pin_error(pinned(&leaf, &[&leaf, &leaf], &host("derp.example"))), PinError::Company);
        for name in ["derpkey", "derpkeyzz", &format!("derpkey{KEY}00"), &format!("xderpkey{KEY}")] {
            let almost = self_signed(&params(name, &[]));
            assert_eq!(
                pin_error(pinned(&leaf, &[&leaf, &almost], &host("derp.example"))),
                PinError::Company,
                "{name}"
            );
        }
    }

    #[test]
    fn dates_and_dns_names_of_a_pinned_certificate_are_checked_all_the_same() {
        let mut early = params("x", &["derp.example"]);
        early.not_before = date_time_ymd(2026, 1, 2);
        let mut late = params("x", &["derp.example"]);
        late.not_after = date_time_ymd(2025, 12, 31);
        for (params, expected) in [(early, CertificateError::NotValidYet), (late, CertificateError::Expired)]
        {
            let leaf = self_signed(&params);
            let result = pinned(&leaf, &[&leaf], &host("derp.example"));
            assert_eq!(result, Err(Error::InvalidCertificate(expected)));
        }
        let leaf = self_signed(&params("x", &["derp.example"]));
        let result = pinned(&leaf, &[&leaf], &host("other.example"));
        assert!(matches!(result, Err(Error::InvalidCertificate(_))), "{result:?}");
    }

    #[test]
    fn a_relays_key_is_found_anywhere_in_the_chain_whatever_its_dates() {
        let leaf = self_signed(&params("x", &["derp.example"]));
        let mut old = params(&format!("derpkey{KEY}"), &[]);
        old.not_after = date_time_ymd(2025, 2, 1);
        old.serial_number = Some(SerialNumber::from(255));
        assert_eq!(relay_key(&[leaf.clone(), leaf.clone(), self_signed(&old)]), Some(KEY));
        assert_eq!(relay_key(&[meta(2), leaf.clone()]), Some(KEY));
        assert_eq!(relay_key(std::slice::from_ref(&leaf)), None);
        assert_eq!(relay_key(&[CertificateDer::from(vec![1, 2, 3]), meta(1)]), Some(KEY));
        for serial in [0, 256, 1 << 40] {
            assert_eq!(relay_key(&[leaf.clone(), meta(serial)]), None, "version {serial}");
        }
    }

    /// What known authorities say to a certificate for `names`, asked for `asked` and verified as `cert_name` if that is given.
    fn vouched(names: &[&str], asked: &'static str, cert_name: Option<&'static str>) -> Result<(), Error> {
        let mut authority = params("authority", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let leaf = params("leaf", names).signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        let roots = roots(&provider(), &[authority.der().clone()]).unwrap();
        let verifier = Vouched::new(roots, cert_name.map(host));
        verifier.verify_server_cert(leaf.der(), &[meta(2)], &host(asked), &[], now()).map(|_| ())
    }

    #[test]
    fn trap_a_relays_key_in_the_chain_disturbs_nobody() {
        assert_eq!(vouched(&["derp.example"], "derp.example", None), Ok(()));
    }

    #[test]
    fn trap_an_address_as_host_name_is_checked_against_the_certificate() {
        assert_eq!(vouched(&["192.0.2.1"], "192.0.2.1", None), Ok(()));
        for names in [&["192.0.2.2"][..], &["derp.example"]] {
            assert!(
                matches!(vouched(names, "192.0.2.1", None), Err(Error::InvalidCertificate(_))),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_fronted_relay_is_verified_by_the_other_name() {
        assert_eq!(vouched(&["front.example"], "derp.example", Some("front.example")), Ok(()));
        for names in [&["derp.example"][..], &["other.example"]] {
            let result = vouched(names, "derp.example", Some("front.example"));
            assert!(matches!(result, Err(Error::InvalidCertificate(_))), "{names:?}");
        }
    }

    #[test]
    fn nobody_vouches_for_a_stranger() {
        let leaf = self_signed(&params("x", &["derp.example"]));
        let roots = roots(&provider(), &[]).unwrap();
        let result =
            Vouched::new(roots, None).verify_server_cert(&leaf, &[], &host("derp.example"), &[], now());
        assert!(matches!(result, Err(Error::InvalidCertificate(_))));
    }
}
