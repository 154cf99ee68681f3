//! Whether `wg` can do with a device what it can do with any other. Needs root and wireguard-tools.
#![cfg(target_os = "linux")]

mod lab;

use std::fmt::Write as _;

use lab::{is_inside, run, secret, sh, try_sh};
use tidewire_keys::{Drbg, NodeSecret, Seed};
use tidewire_wg::{Config, Device};

fn device() -> Device {
    Device::create(&Config::new("wg7")).unwrap()
}

fn base64(n: u8) -> String {
    secret(n).public().to_base64()
}

/// Writes a file that only this test's namespace sees.
fn file(name: &str, text: &str) -> String {
    let path = format!("/run/wireguard/{name}");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn set_and_show_agree() {
    if !is_inside("set_and_show_agree", &["wg"]) {
        return;
    }
    let _device = device();
    let key = file("key", &secret(1).to_base64());
    let psk = file("psk", &secret(9).to_base64());
    let (two, three) = (base64(2), base64(3));
    sh(&format!("wg set wg7 listen-port 4000 private-key {key} fwmark 0x10"));
    sh(&format!(
        "wg set wg7 peer {two} preshared-key {psk} endpoint 192.0.2.2:1 persistent-keepalive 25 allowed-ips 10.0.0.2/32,fd00::2/128"
    ));
    sh(&format!("wg set wg7 peer {three} endpoint [2001:db8::3]:65535 allowed-ips 10.0.3.7/24"));
    assert_eq!(sh("wg show wg7 public-key").trim(), base64(1));
    assert_eq!(sh("wg show wg7 private-key").trim(), *secret(1).to_base64());
    assert_eq!(sh("wg show wg7 listen-port; wg show wg7 fwmark"), "4000\n0x10\n");
    let lines = |what: &str| {
        let text = sh(&format!("wg show wg7 {what}"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let both = |a: &str, b: &str| sorted(vec![format!("{two}\t{a}"), format!("{three}\t{b}")]);
    assert_eq!(lines("endpoints"), both("192.0.2.2:1", "[2001:db8::3]:65535"));
    assert_eq!(lines("allowed-ips"), both("10.0.0.2/32 fd00::2/128", "10.0.3.0/24"));
    assert_eq!(lines("persistent-keepalive"), both("25", "off"));
    assert_eq!(lines("preshared-keys"), both(&secret(9).to_base64(), "(none)"));
    assert_eq!(lines("latest-handshakes"), both("0", "0"));
    assert_eq!(lines("transfer"), both("0\t0", "0\t0"));
    sh(&format!("wg set wg7 peer {two} remove"));
    assert_eq!(sh("wg show wg7 peers").trim(), three);
    sh(&format!("wg set wg7 private-key /dev/null peer {three} persistent-keepalive off allowed-ips ''"));
    assert_eq!(sh("wg show wg7 private-key").trim(), "(none)");
    assert_eq!(lines("allowed-ips"), [format!("{three}\t(none)")]);
}

#[test]
fn a_configuration_goes_in_and_comes_out() {
    if !is_inside("a_configuration_goes_in_and_comes_out", &["wg"]) {
        return;
    }
    let _device = device();
    let interface =
        format!("[Interface]\nListenPort = 4000\nFwMark = 0x7\nPrivateKey = {}\n", *secret(1).to_base64());
    let peer = |n: u8| {
        format!("\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.0.{n}.0/24\nEndpoint = 192.0.2.{n}:7\n", base64(n))
    };
    let mut numbers: Vec<u8> = (2..8).collect();
    numbers.sort_by_key(|n| secret(*n).public());
    let peers = |numbers: &[u8]| numbers.iter().map(|n| peer(*n)).collect::<String>();
    let shown = || sh("wg showconf wg7");
    let all = interface.clone() + &peers(&numbers);
    sh(&format!("wg setconf wg7 {}", file("all", &all)));
    assert_eq!(shown(), all);
    // Others go, those that stay keep what they have.
    let some = interface.clone() + &peers(&numbers[2..]);
    sh(&format!("wg syncconf wg7 {}", file("some", &some)));
    assert_eq!(shown(), some);
    sh(&format!("wg addconf wg7 {}", file("more", &peers(&numbers[..2]))));
    assert_eq!(shown(), interface.clone() + &peers(&numbers));
    sh(&format!("wg setconf wg7 {}", file("none", &interface)));
    assert_eq!(shown().trim_end(), interface.trim_end());
}

#[test]
fn a_thousand_peers_go_in_at_once() {
    if !is_inside("a_thousand_peers_go_in_at_once", &["wg"]) {
        return;
    }
    run(async {
        let device = device();
        sh("ip link set wg7 up");
        let mut drbg = Drbg::new(&Seed::new([5; 32]), "test");
        let mut text = format!("[Interface]\nPrivateKey = {}\n", *secret(1).to_base64());
        for i in 0..1000 {
            let key = NodeSecret::generate(&mut drbg).public().to_base64();
            writeln!(
                text,
                "[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{}.{}.0/24, fd00:{i:x}::/32",
                i / 250,
                i % 250
            )
            .unwrap();
        }
        let path = file("many", &text);
        // The second time while a data plane runs.
        for _ in 0..2 {
            sh(&format!("wg setconf wg7 {path}"));
            let status = device.status().await.unwrap();
            assert_eq!(status.peers.len(), 1000);
            assert!(status.peers.iter().all(|peer| peer.allowed_ips.len() == 2));
            assert_eq!(sh("wg show wg7 allowed-ips").lines().count(), 1000);
        }
    });
}

#[test]
fn several_clients_and_garbage_at_once() {
    if !is_inside("several_clients_and_garbage_at_once", &["wg", "python3"]) {
        return;
    }
    let device = device();
    let garbage = "import os,socket
for i in range(50):
    s=socket.socket(socket.AF_UNIX); s.connect('/var/run/wireguard/wg7.sock')
    try: s.sendall(b'set=1\\n'*(i%2)+os.urandom(20000))
    except OSError: pass
    if i%3: s.close()
";
    let script = file("garbage.py", garbage);
    let jobs = format!(
        "for i in 1 2 3; do python3 {script} & done; for i in 1 2 3 4 5 6; do wg show wg7 >/dev/null || exit 1; done; wait"
    );
    sh(&jobs);
    assert!(try_sh("wg show wg7").1);
    assert_eq!(run(device.status()).unwrap().peers, []);
}
