//! Only keys that are allowed may log in where a list is given.

use std::collections::BTreeSet;

use tidewire_relay::core::{Admission, Closed, Event, Limits};

use crate::rig::{Got, Rig, key, read, secret};

fn keys(bytes: &[u8]) -> Admission {
    Admission::Keys(bytes.iter().map(|byte| key(*byte)).collect::<BTreeSet<_>>())
}

#[test]
fn a_list_lets_its_keys_in_and_no_others() {
    let mut rig = Rig::with(keys(&[1, 2]), Limits::default());
    rig.login(1);
    rig.login(2);
    let id = rig.begin();
    let login = rig.login_frame(&secret(3));
    rig.bytes(id, &login);
    let refused = Event::Refused { id, key: key(3), reason: Closed::NotAllowed };
    assert!(
        std::iter::from_fn(|| rig.core.poll_event()).any(|event| event == refused),
        "the operator hears who"
    );
    let (bytes, reason) = rig.end(id);
    assert_eq!((read(&bytes), reason), (vec![Got::ServerKey], Closed::NotAllowed));
}

#[test]
fn an_empty_list_lets_nobody_in() {
    let mut rig = Rig::with(keys(&[]), Limits::default());
    let id = rig.begin();
    let login = rig.login_frame(&secret(1));
    rig.bytes(id, &login);
    assert_eq!(rig.end(id).1, Closed::NotAllowed);
}

#[test]
fn a_new_list_holds_for_those_who_are_here() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, b"x");
    rig.raw(b.id);
    rig.core.set_admission(rig.now, keys(&[2, 3]));
    let (bytes, reason) = rig.end(a.id);
    assert_eq!(reason, Closed::NotAllowed);
    assert!(matches!(&read(&bytes)[..], [Got::Health(_)]), "it hears why");
    assert_eq!(rig.frames(b.id).len(), 1, "it hears that its peer is gone");
    rig.login(3);
    rig.core.set_admission(rig.now, Admission::Everyone);
    rig.login(1);
}
