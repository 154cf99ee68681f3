//! Whether a change of the machine's addresses is heard, and nothing where there is none. Needs root for a namespace.
#![cfg(target_os = "linux")]

mod pair;

use std::{process::Command, task::Poll};

use pair::is_inside;
use tidewire_udp::{AddressChanges, Loopback, local_addresses};

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "{arguments}");
}

#[tokio::test]
async fn new_addresses_interfaces_and_their_end_are_heard() {
    if !is_inside("new_addresses_interfaces_and_their_end_are_heard", "true") {
        return;
    }
    let mut changes = AddressChanges::new().unwrap();
    let quiet = std::future::poll_fn(|cx| {
        let mut next = std::pin::pin!(changes.next());
        Poll::Ready(next.as_mut().poll(cx).is_pending())
    });
    assert!(quiet.await, "nothing has changed since");
    for change in [
        "address add 192.0.2.7/32 dev lo",
        "link set lo down",
        "link set lo up",
        "address del 192.0.2.7/32 dev lo",
    ] {
        ip(change);
        changes.next().await.unwrap();
        let has = local_addresses(Loopback::Never, &[]).unwrap().contains(&"192.0.2.7".parse().unwrap());
        // Unread messages of the same change may be left: they are one more change, which does no harm.
        assert_eq!(has, ["address add 192.0.2.7/32 dev lo", "link set lo up"].contains(&change), "{change}");
    }
}
