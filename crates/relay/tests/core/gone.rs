//! Who hears that a peer is not there.

use tidewire_derp::frame::GoneReason::{Disconnected, NotHere};
use tidewire_relay::core::Closed;

use crate::rig::{Got, Rig, disco, key, ms};

#[test]
fn not_here_answers_disco_and_not_data() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    rig.send(a, key(9), &[0; 200]);
    rig.send(a, key(9), &disco(0)[..61]);
    assert_eq!(rig.frames(a.id), []);
    rig.send(a, key(9), &disco(0));
    assert_eq!(rig.frames(a.id), [Got::Gone(key(9), NotHere)]);
}

/// Three at once and one a second, over all destinations.
#[test]
fn not_here_is_limited_for_each_sender() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    for absent in 100..120 {
        rig.send(a, key(absent), &disco(0));
    }
    assert_eq!(rig.frames(a.id).len(), 3);
    rig.send(b, key(100), &disco(0));
    assert_eq!(rig.frames(b.id).len(), 1, "another sender has its own limit");
    rig.wait(ms(1000));
    for absent in 100..120 {
        rig.send(a, key(absent), &disco(0));
    }
    assert_eq!(rig.frames(a.id), [Got::Gone(key(100), NotHere)]);
}

#[test]
fn those_who_got_a_packet_hear_that_its_sender_left() {
    let mut rig = Rig::new();
    let (a, b, c) = (rig.login(1), rig.login(2), rig.login(3));
    rig.send(a, b.key, b"hello");
    rig.send(c, a.key, b"hello");
    rig.frames(b.id);
    rig.core.disconnect(a.id, Closed::Left);
    assert_eq!(rig.frames(b.id), [Got::Gone(a.key, Disconnected)]);
    assert_eq!(rig.frames(c.id), [], "it sent to the one who left, and got nothing");
}

#[test]
fn each_hears_it_once_however_many_packets_came() {
    let mut rig = Rig::new();
    let (a, b, c) = (rig.login(1), rig.login(2), rig.login(3));
    for _ in 0..10 {
        rig.send(a, b.key, b"x");
        rig.send(a, c.key, b"x");
    }
    rig.raw(b.id);
    rig.raw(c.id);
    rig.core.disconnect(a.id, Closed::Left);
    assert_eq!(rig.frames(b.id), [Got::Gone(a.key, Disconnected)]);
    assert_eq!(rig.frames(c.id), [Got::Gone(a.key, Disconnected)]);
}

/// The original reports a peer that comes back and leaves again only the first time.
#[test]
fn a_peer_that_comes_back_is_reported_again_if_it_sent_again() {
    let mut rig = Rig::new();
    let b = rig.login(2);
    for sends in [true, false, true] {
        let a = rig.login(1);
        if sends {
            rig.send(a, b.key, b"x");
            rig.raw(b.id);
        }
        rig.core.disconnect(a.id, Closed::Left);
        assert_eq!(rig.frames(b.id).len(), usize::from(sends));
    }
}

#[test]
fn it_overtakes_queued_data() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, b"data");
    rig.core.disconnect(a.id, Closed::Left);
    assert_eq!(rig.frames(b.id), [Got::Gone(a.key, Disconnected), Got::Packet(a.key, b"data".to_vec())]);
}

#[test]
fn a_sender_to_itself_hears_nothing_of_its_own_end() {
    let mut rig = Rig::new();
    let a = rig.login(1);
    rig.send(a, a.key, b"x");
    rig.core.disconnect(a.id, Closed::Left);
    assert_eq!(rig.closed(a.id), Some(Closed::Left));
    assert_eq!(rig.core.stats().peer_gone, 0);
}
