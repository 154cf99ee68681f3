//! Only keys that are allowed may log in where a list is given.

use std::collections::BTreeSet;

use tidewire_relay::core::{Admission, Closed, Limits};

use crate::rig::{Rig, key, secret};

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
    assert_eq!(rig.end(id).1, Closed::NotAllowed);
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
    assert_eq!(rig.end(a.id).1, Closed::NotAllowed);
    assert_eq!(rig.frames(b.id).len(), 1, "it hears that its peer is gone");
    rig.login(3);
    rig.core.set_admission(rig.now, Admission::Everyone);
    rig.login(1);
}
