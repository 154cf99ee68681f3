//! A list of keys over real sockets, and a new one while the relay runs.

use std::{collections::BTreeSet, fs, io::Write};

use tidewire_keys::NodePublic;
use tidewire_relay::{Admission, Allow, Config, Relay, StartError, Tls};

use crate::rig::{Client, Got, key, login_frame, loopback, open, secret};

fn keys(bytes: &[u8]) -> BTreeSet<NodePublic> {
    bytes.iter().map(|byte| key(*byte)).collect()
}

/// Logs in if it may.
fn try_login(relay: &Relay, byte: u8) -> Vec<Got> {
    let mut client = Client::over(open(relay));
    client.bytes.write_all(b"GET /derp HTTP/1.1\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n").unwrap();
    client.bytes.write_all(&login_frame(relay, &secret(byte))).unwrap();
    [client.next(), client.next()].into_iter().flatten().collect()
}

#[test]
fn a_stranger_gets_the_relays_key_and_the_end() {
    let config = Config { tls: Tls::Off, allow: Allow::Keys(keys(&[1])), ..Config::new(loopback()) };
    let relay = Relay::start(config).unwrap();
    assert_eq!(try_login(&relay, 1), [Got::ServerKey, Got::ServerInfo]);
    assert_eq!(try_login(&relay, 2), [Got::ServerKey]);
}

#[test]
fn a_new_list_holds_at_once() {
    let relay = Relay::start(Config::new(loopback())).unwrap();
    let mut client = Client::login(&relay, 1);
    relay.set_admission(Admission::Keys(keys(&[2])));
    assert_eq!(client.rest(), [Got::Health]);
    Client::login(&relay, 2);
}

/// A list with a mistake in it leaves things as they were, and a right one is taken up.
#[test]
fn a_list_in_a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("allow");
    fs::write(&path, format!("{} # the first\n", key(1))).unwrap();
    let config = Config { tls: Tls::Off, allow: Allow::File(path.clone()), ..Config::new(loopback()) };
    let relay = Relay::start(config).unwrap();
    let mut client = Client::login(&relay, 1);
    assert_eq!(try_login(&relay, 2), [Got::ServerKey]);
    fs::write(&path, format!("{}\nno key\n", key(2))).unwrap();
    assert_eq!(try_login(&relay, 2), [Got::ServerKey]);
    fs::write(&path, format!("{}\n\n", key(2))).unwrap();
    assert_eq!(client.rest(), [Got::Health]);
    assert_eq!(try_login(&relay, 2), [Got::ServerKey, Got::ServerInfo]);
}

#[test]
fn a_list_that_cannot_be_read_stops_the_start() {
    let config = Config { allow: Allow::File("/nowhere/allow".into()), ..Config::new(loopback()) };
    assert!(matches!(Relay::start(config), Err(StartError::Allow(_))));
}
