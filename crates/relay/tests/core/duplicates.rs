//! Several connections with one key: which of them receives.

use tidewire_derp::{Frame, frame::GoneReason::Disconnected};
use tidewire_relay::core::Closed;

use crate::rig::{Client, Got, Rig, encode};

fn receives(rig: &mut Rig, sender: Client, candidates: &[Client]) -> usize {
    rig.send(sender, candidates[0].key, b"x");
    let got: Vec<_> = candidates.iter().map(|client| rig.packets(*client).len()).collect();
    assert_eq!(got.iter().sum::<usize>(), 1, "exactly one receives: {got:?}");
    got.iter().position(|count| *count == 1).unwrap()
}

#[test]
fn the_newest_login_receives_at_once() {
    let mut rig = Rig::new();
    let sender = rig.login(9);
    let mut all = vec![rig.login(1)];
    assert_eq!(receives(&mut rig, sender, &all), 0);
    all.push(rig.login(1));
    assert_eq!(receives(&mut rig, sender, &all), 1);
    all.push(rig.login(1));
    assert_eq!(receives(&mut rig, sender, &all), 2);
    assert_eq!((rig.core.stats().clients, rig.core.stats().keys), (4, 2));
}

#[test]
fn any_later_frame_takes_reception_back_even_of_an_unknown_type() {
    let mut rig = Rig::new();
    let sender = rig.login(9);
    let all = [rig.login(1), rig.login(1)];
    for (frame, who) in [
        (vec![0xee, 0, 0, 0, 0], 0),
        (encode(Frame::Ping([0; 8])), 1),
        (encode(Frame::NotePreferred(true)), 0),
        (encode(Frame::Pong([0; 8])), 1),
    ] {
        rig.bytes(all[who].id, &frame);
        assert_eq!(receives(&mut rig, sender, &all), who);
        assert_eq!(receives(&mut rig, sender, &all), who, "and it stays so");
    }
}

#[test]
fn when_the_active_one_closes_the_last_sender_takes_over() {
    let mut rig = Rig::new();
    let sender = rig.login(9);
    let all = [rig.login(1), rig.login(1), rig.login(1)];
    rig.bytes(all[0].id, &encode(Frame::KeepAlive));
    rig.bytes(all[1].id, &encode(Frame::KeepAlive));
    rig.core.disconnect(all[1].id, Closed::Left);
    assert_eq!(receives(&mut rig, sender, &[all[0], all[2]]), 0);
    rig.core.disconnect(all[0].id, Closed::Left);
    assert_eq!(receives(&mut rig, sender, &all[2..]), 0);
}

#[test]
fn an_older_one_that_closes_changes_nothing() {
    let mut rig = Rig::new();
    let sender = rig.login(9);
    let all = [rig.login(1), rig.login(1)];
    rig.core.disconnect(all[0].id, Closed::Left);
    assert_eq!(receives(&mut rig, sender, &all[1..]), 0);
}

#[test]
fn the_peer_is_gone_when_its_last_connection_goes() {
    let mut rig = Rig::new();
    let receiver = rig.login(9);
    let all = [rig.login(1), rig.login(1)];
    rig.send(all[0], receiver.key, b"x");
    rig.raw(receiver.id);
    rig.core.disconnect(all[0].id, Closed::Left);
    assert_eq!(rig.frames(receiver.id), [], "another is still there, and no health is reported");
    rig.core.disconnect(all[1].id, Closed::Left);
    assert_eq!(rig.frames(receiver.id), [Got::Gone(all[0].key, Disconnected)]);
}

/// A stream of packets that is under way notices at once where they are to go.
#[test]
fn a_sender_follows_the_switch() {
    let mut rig = Rig::new();
    let sender = rig.login(9);
    let old = rig.login(1);
    rig.send(sender, old.key, b"1");
    let new = rig.login(1);
    rig.send(sender, old.key, b"2");
    rig.bytes(old.id, &encode(Frame::KeepAlive));
    rig.send(sender, old.key, b"3");
    assert_eq!(
        (rig.packets(old), rig.packets(new)),
        (vec![b"1".to_vec(), b"3".to_vec()], vec![b"2".to_vec()])
    );
}
