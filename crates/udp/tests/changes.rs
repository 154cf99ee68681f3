//! Whether a change of the machine's addresses is heard, and nothing where there is none. Needs root for a namespace.
#![cfg(target_os = "linux")]

use std::{process::Command, task::Poll};

use tidewire_udp::{AddressChanges, Loopback, local_addresses};

const INSIDE: &str = "TIDEWIRE_TEST_INSIDE_NAMESPACE";

/// Whether the test named `name` is inside a network namespace of its own. Outside, runs the test again inside; where that cannot
/// be, for want of root, says so in one line and lets the test pass.
#[allow(clippy::print_stderr, reason = "says why it was skipped")]
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let can = Command::new("unshare").args(["--net", "ip", "link"]).output();
    if !can.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped {name}: needs root, unshare and ip");
        return false;
    }
    let again = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
    false
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "{arguments}");
}

#[tokio::test]
async fn new_addresses_interfaces_and_their_end_are_heard() {
    if !is_inside("new_addresses_interfaces_and_their_end_are_heard") {
        return;
    }
    ip("link set lo up");
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
