//! What is kept over a restart.

use std::fs;

use tidewire_relay::{Config, Relay, State, StateError, Tls};

use crate::rig::{Client, REGION, loopback};

fn start(state: State) -> Relay {
    let State { secret, certificate } = state;
    let tls = Tls::Certificate(certificate);
    Relay::start(Config { secret: Some(secret), tls, ..Config::new(loopback()) }).unwrap()
}

#[test]
fn key_and_pin_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new").join("state");
    let first = start(State::open(&path, "127.0.0.1").unwrap());
    let second = start(State::open(&path, "127.0.0.1").unwrap());
    assert_eq!(first.public_key(), second.public_key());
    let pin = |relay: &Relay| relay.region(REGION).nodes[0].cert_name.clone();
    assert_eq!(pin(&first), pin(&second));
    assert!(pin(&first).to_string().starts_with("sha256-raw:"));
    Client::login(&second, 1);
}

#[test]
fn the_key_alone_is_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    let secret = State::open_secret(directory.path()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no certificate is made for it");
    assert!(State::open(directory.path(), "127.0.0.1").unwrap().secret == secret);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    State::open(&path, "relay.example").unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3);
    files.iter().for_each(|file| assert_eq!(mode(file), 0o600, "{}", file.display()));
}

#[test]
fn a_certificate_for_another_host_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    State::open(directory.path(), "relay.example").unwrap();
    let before = fs::read(directory.path().join("tls.crt")).unwrap();
    let error = State::open(directory.path(), "other.example").unwrap_err();
    assert!(matches!(error, StateError::OtherHost { .. }), "{error}");
    assert_eq!(fs::read(directory.path().join("tls.crt")).unwrap(), before);
}

#[test]
fn a_broken_key_is_named_and_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.key");
    fs::write(&path, "nothing of use").unwrap();
    let error = State::open(directory.path(), "127.0.0.1").unwrap_err();
    assert!(matches!(error, StateError::Key { .. }), "{error}");
    assert!(error.to_string().contains("relay.key"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"nothing of use");
}
