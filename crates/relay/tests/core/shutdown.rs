//! A polite end.

use std::time::Duration;

use tidewire_relay::core::Closed;

use crate::rig::{Got, Rig, read};

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
