//! KeepAlive, and clients that do not read.

use std::time::Duration;

use tidewire_derp::Frame;
use tidewire_relay::core::{Closed, Why};

use crate::rig::{Got, Rig, encode, ms};

/// How long after the login the first few KeepAlives of a client come.
fn periods(rig: &mut Rig, byte: u8) -> Vec<Duration> {
    let client = rig.login(byte);
    let mut last = rig.now;
    let mut periods = Vec::new();
    while periods.len() < 3 {
        let (at, why) = rig.core.next_event().unwrap();
        rig.wait(at - rig.now);
        assert_eq!(why, Why::KeepAlive);
        assert_eq!(rig.frames(client.id), [Got::KeepAlive]);
        periods.push(at - last);
        last = at;
    }
    rig.core.disconnect(client.id, Closed::Left);
    periods
}

#[test]
fn its_period_is_drawn_once_for_each_client() {
    let mut rig = Rig::new();
    let mut seen = Vec::new();
    for byte in 1..20 {
        let periods = periods(&mut rig, byte);
        assert!(periods.iter().all(|period| *period == periods[0]), "{periods:?}");
        assert!((60_000..65_000).contains(&periods[0].as_millis()), "{periods:?}");
        seen.push(periods[0]);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 10, "they do not all come at once: {seen:?}");
}

#[test]
fn traffic_does_not_postpone_it() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    let mut keep_alives = 0;
    for _ in 0..66 {
        rig.wait(ms(1000));
        rig.send(a, b.key, b"x");
        keep_alives += rig.frames(b.id).iter().filter(|got| **got == Got::KeepAlive).count();
    }
    assert_eq!(keep_alives, 1);
}

#[test]
fn a_write_that_is_blocked_for_two_seconds_ends_the_client() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    rig.core.blocked(rig.now, a.id);
    rig.wait(ms(1999));
    rig.core.blocked(rig.now, a.id);
    assert_eq!(rig.closed(a.id), None);
    rig.wait(ms(1));
    assert_eq!(rig.closed(a.id), Some(Closed::SlowReader), "blocked again does not begin anew");
}

#[test]
fn a_slow_reader_that_still_reads_stays() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    for _ in 0..10 {
        rig.core.blocked(rig.now, a.id);
        rig.wait(ms(1900));
        rig.core.unblocked(a.id);
    }
    rig.wait(ms(3000));
    assert_eq!(rig.closed(a.id), None);
}

#[test]
fn the_core_always_knows_when_it_has_something_to_do() {
    let mut rig = Rig::new();
    assert_eq!(rig.core.next_event(), None, "nobody is here");
    let pending = rig.connect();
    assert_eq!(rig.core.next_event().unwrap().1, Why::Setup);
    rig.core.disconnect(pending, Closed::Left);
    let a = rig.login(1);
    assert_eq!(rig.core.next_event().unwrap().1, Why::KeepAlive);
    rig.core.blocked(rig.now, a.id);
    assert_eq!(rig.core.next_event().unwrap().1, Why::Write);
    rig.bytes(a.id, &encode(Frame::WatchConns));
    assert!(rig.core.next_event().is_some(), "one that ends is waited for, not for ever");
    rig.wait(ms(2000));
    assert!(matches!(rig.closed(a.id), Some(Closed::Mesh(_))));
    assert_eq!(rig.core.next_event(), None);
}
