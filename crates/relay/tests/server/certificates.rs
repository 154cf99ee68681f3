//! Which certificates a client sees, and what the region says of them.

use std::{fs, net::SocketAddr};

use ring::digest::{SHA256, digest};
use rustls::version::{TLS12, TLS13};
use tidewire_derp::region::{CertName, Family, Regions};
use tidewire_relay::{Certificate, CertificateError, Config, Relay, StartError, Tls};

use crate::rig::{Client, REGION, key, loopback, plain, tls, with_tls};

/// TRAP: the pin is the SHA-256 of certificate 0, 32 bytes of it.
#[test]
fn the_pin_is_the_hash_of_the_first_certificate() {
    let relay = with_tls();
    let (_, chain) = tls(&relay, &[&TLS13]);
    let region = relay.region(REGION);
    let CertName::Pin(pin) = region.nodes[0].cert_name else { panic!("{region:?}") };
    assert_eq!(pin, digest(&SHA256, &chain[0]).as_ref());
}

/// TRAP: the certificate for fast starts is the last of the chain, with any version of TLS; its subject is the relay's key.
#[test]
fn the_last_certificate_says_the_relays_key() {
    let relay = with_tls();
    for version in [&TLS13, &TLS12] {
        let (_, chain) = tls(&relay, &[version]);
        assert_eq!(chain.len(), 2);
        let subject = format!("derpkey{}", relay.public_key().to_hex());
        let holds = |needle: &[u8]| chain[1].windows(needle.len()).any(|window| window == needle);
        assert!(holds(subject.as_bytes()));
        // INTEGER 2: the serial number is the protocol's version.
        assert!(holds(&[0xa0, 3, 2, 1, 2, 2, 1, 2]));
    }
}

#[test]
fn the_region_is_ready_to_be_put_into_a_map() {
    let relay = with_tls();
    let region = relay.region(REGION);
    let node = &region.nodes[0];
    assert_eq!((region.id, node.host_name.as_str()), (REGION, "127.0.0.1"));
    assert_eq!(
        (node.derp_port, node.stun_port),
        (relay.addr().port(), relay.stun_addr().map(|addr| addr.port()))
    );
    assert!(!node.plain && !node.stun_only);
    assert!(Regions::try_from(vec![region]).is_ok());
}

/// What it listens on is this machine's own affair: a name is DNS's, and without TLS of its own that of a proxy.
#[test]
fn a_named_host_is_found_by_dns_unless_the_address_holds_for_everybody() {
    for (tls, port) in [(Tls::SelfSigned, None), (Tls::Off, Some(443))] {
        let host = Some("relay.example".to_owned());
        let relay = Relay::start(Config { host, tls, stun: None, ..Config::new(loopback()) }).unwrap();
        let node = &relay.region(REGION).nodes[0];
        assert_eq!((node.host_name.as_str(), node.stun_port), ("relay.example", None));
        assert_eq!((node.ipv4, node.ipv6), (Family::Resolve, Family::Resolve));
        assert_eq!((node.plain, node.derp_port), (false, port.unwrap_or(relay.addr().port())));
        assert_eq!(relay.is_behind_proxy(), port.is_some());
    }
    let host = Some("localhost".to_owned());
    let relay = Relay::start(Config { host, ..Config::new(loopback()) }).unwrap();
    assert_eq!(relay.region(REGION).nodes[0].ipv4, Family::Address([127, 0, 0, 1].into()));
}

#[test]
fn a_relay_without_tls_says_so() {
    let node = &plain().region(REGION).nodes[0];
    assert!(node.plain);
    assert_eq!(node.cert_name, CertName::HostName);
}

#[test]
fn an_unspecified_address_needs_a_host() {
    let listen: SocketAddr = "[::]:0".parse().unwrap();
    let start = |host| Relay::start(Config { tls: Tls::Off, host, ..Config::new(listen) });
    assert!(matches!(start(None), Err(StartError::NoHost(_))));
    let node = &start(Some("192.0.2.1".to_owned())).unwrap().region(REGION).nodes[0];
    assert_eq!(node.find_ipv4(), Family::Address([192, 0, 2, 1].into()));
}

#[test]
fn a_certificate_from_files_is_checked_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key_file) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let key_pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["relay.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key_pair).unwrap();
    fs::write(&chain, pem("CERTIFICATE", certificate.der())).unwrap();
    fs::write(&key_file, pem("PRIVATE KEY", &key_pair.serialize_der())).unwrap();
    let tls = Tls::Certificate(Certificate::from_files(&chain, &key_file).unwrap());
    let host = Some("relay.example".to_owned());
    let relay = Relay::start(Config { tls, host, ..Config::new(loopback()) }).unwrap();
    assert_eq!(relay.region(REGION).nodes[0].cert_name, CertName::HostName);
    let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
    a.send_packet(key(2), b"x");
    assert_eq!(b.next_packet(), b"x");
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[test]
fn files_that_are_no_certificate_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key_file) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let error = Certificate::from_files(&chain, &key_file).unwrap_err();
    assert!(matches!(&error, CertificateError::File { path, .. } if *path == chain), "{error}");
    fs::write(&chain, "nothing of use").unwrap();
    let error = Certificate::from_files(&chain, &key_file).unwrap_err();
    assert!(error.to_string().contains("chain.pem"), "{error}");
}

#[test]
fn a_host_that_is_neither_name_nor_address_is_refused() {
    let config = Config { host: Some("ünïcode".to_owned()), ..Config::new(loopback()) };
    assert!(matches!(Relay::start(config), Err(StartError::Certificate(CertificateError::Make { .. }))));
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_connection() {
    let relay = with_tls();
    let mut client = Client::login(&relay, 1);
    let (_, before) = tls(&relay, &[&TLS13]);
    relay.set_certificate(&Certificate::self_signed("127.0.0.1").unwrap()).unwrap();
    let _ = relay.stats();
    let (_, after) = tls(&relay, &[&TLS13]);
    assert_ne!(before[0], after[0]);
    client.send_packet(key(1), b"goes on");
    assert_eq!(client.next_packet(), b"goes on");
}
