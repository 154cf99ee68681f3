//! A polite end.

use std::time::Duration;

use tidewire_relay::core::Closed;

use crate::rig::{Got, Rig, disco, read};

#[test]
fn clients_are_told_when_to_come_back() {
    let mut rig = Rig::new();
    let clients: Vec<_> = (1..20).map(|byte| rig.login(byte)).collect();
    let pending = rig.begin();
    let (spread, try_for) = (Duration::from_secs(2), Duration::from_secs(30));
    rig.core.shutdown(rig.now, spread, try_for);
    assert_eq!(rig.closed(pending), Some(Closed::Shutdown));
    let mut waits = Vec::new();
    for client in clients {
        let (bytes, reason) = rig.end(client.id);
        assert_eq!(reason, Closed::Shutdown);
        match read(&bytes).as_slice() {
            [Got::Health(text), Got::Restarting(wait, tries)] => {
                assert!(!text.is_empty(), "an empty one would mean that all is well");
                assert!(*wait <= spread);
                assert_eq!(*tries, try_for);
                waits.push(*wait);
            }
            other => panic!("{other:?}"),
        }
    }
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 10, "they do not all come back at once: {waits:?}");
    assert_eq!(rig.core.stats().connections, 0);
}

#[test]
fn who_does_not_go_is_closed() {
    let mut rig = Rig::new();
    let client = rig.login(1);
    rig.core.shutdown(rig.now, Duration::ZERO, Duration::ZERO);
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.closed(client.id), Some(Closed::Shutdown));
    assert_eq!(rig.core.next_event(), None);
}

/// What was sent to a client before the end is still its own, in whatever order the clients are told.
#[test]
fn what_waits_still_arrives() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, b"data");
    rig.send(b, a.key, &disco(1));
    rig.core.shutdown(rig.now, Duration::ZERO, Duration::ZERO);
    for (client, packet) in [(a, &disco(1)[..]), (b, b"data")] {
        let (bytes, reason) = rig.end(client.id);
        assert_eq!(reason, Closed::Shutdown);
        let got = read(&bytes);
        assert!(got.iter().any(|got| matches!(got, Got::Packet(_, got) if got == packet)), "{got:?}");
    }
    let stats = rig.core.stats();
    assert_eq!((stats.packets_in, stats.packets_out, stats.queued_bytes), (2, 2, 0));
}
