//! Connections that mean no good: nothing panics, and memory stays bounded.

use tidewire_relay::core::{Closed, Limits};

use crate::rig::{FAST_START, Rig, key, ms, send_packet};

#[test]
fn ten_thousand_connections_that_never_log_in() {
    let mut rig = Rig::new();
    let client = rig.login(1);
    let most = Limits::default().pending as u64;
    for number in 0..10_000_u64 {
        let id = if number % 2 == 0 { rig.connect() } else { rig.begin() };
        rig.bytes(id, &[2, 0, 0, 0x10]);
        assert!(rig.core.stats().connections <= most + 1);
    }
    let late = rig.login(2);
    rig.send(late, client.key, b"still served");
    assert_eq!(rig.packets(client), [b"still served"]);
    rig.wait(ms(10_000));
    assert_eq!(rig.core.stats().connections, 2);
    let crowded = rig.core.stats().closed().find(|(name, _)| *name == "crowded").unwrap().1;
    assert_eq!(crowded, 10_000 + 1 - most);
}

/// The oldest goes: a stranger cannot keep others out by being there first.
#[test]
fn the_oldest_that_has_not_logged_in_makes_room() {
    let mut rig = Rig::with_limits(Limits { pending: 3, ..Limits::default() });
    let ids: Vec<_> = (0..5).map(|_| rig.connect()).collect();
    assert_eq!(rig.closed(ids[0]), Some(Closed::Crowded));
    assert_eq!(rig.closed(ids[1]), Some(Closed::Crowded));
    assert_eq!(rig.closed(ids[2]), None);
}

#[test]
fn a_reader_that_never_reads() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.core.blocked(rig.now, b.id);
    for _ in 0..10_000 {
        rig.send(a, b.key, &[0; 1400]);
        assert!(rig.core.stats().queued_bytes <= Limits::default().data_queue_bytes as u64);
    }
    rig.wait(ms(2000));
    assert_eq!(rig.closed(b.id), Some(Closed::SlowReader));
    assert_eq!(rig.core.stats().queued_bytes, 0);
}

#[test]
fn unknown_ids_are_ignored() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    rig.core.disconnect(a.id, Closed::Left);
    rig.bytes(a.id, &send_packet(key(1), b"x"));
    rig.core.blocked(rig.now, a.id);
    rig.core.unblocked(a.id);
    rig.core.again(a.id);
    rig.core.disconnect(a.id, Closed::Left);
    assert!(!rig.core.is_readable(a.id));
    assert!(rig.raw(a.id).is_empty());
    assert_eq!(rig.core.next_event(), None);
    let b = rig.login(2);
    assert_ne!(a.id, b.id, "a number that is used again names another connection");
    assert_eq!(a.id.index(), b.id.index());
}

#[test]
fn garbage_ends_its_own_connection_alone() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    let mut state = 12345_u64;
    for round in 0..300 {
        let id = rig.connect();
        if round % 3 > 0 {
            rig.bytes(id, FAST_START.as_bytes());
        }
        if round % 3 == 2 {
            let login = rig.login_frame(&crate::rig::secret(9));
            rig.bytes(id, &login);
        }
        for _ in 0..20 {
            let garbage: Vec<u8> = (0..97)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            rig.bytes(id, &garbage);
        }
        rig.core.disconnect(id, Closed::Left);
    }
    rig.raw(b.id);
    rig.send(a, b.key, b"hello");
    assert_eq!(rig.packets(b), [b"hello"]);
    assert_eq!(rig.core.stats().connections, 2);
}
