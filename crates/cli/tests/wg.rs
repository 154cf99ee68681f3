//! Whether `tidewire wg` and `tidewire-wg` serve `wg-quick` and leave nothing behind. Needs root and wireguard-tools.
#![cfg(target_os = "linux")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

const INSIDE: &str = "TIDEWIRE_TEST_INSIDE_NAMESPACE";
const TIDEWIRE: &str = env!("CARGO_BIN_EXE_tidewire");
const TIDEWIRE_WG: &str = env!("CARGO_BIN_EXE_tidewire-wg");

/// Whether nothing is left of a device: its process, by the program's whole name, its socket and its interface.
const GONE: &str = "! pgrep -x tidewire && ! test -e /run/wireguard/twq0.sock && ! ip link show twq0";

/// Whether the test named `name` is inside a network namespace of its own, with control sockets that nobody else sees.
/// Outside, runs the test again inside; where that cannot be, says so in one line and lets the test pass.
#[allow(clippy::print_stderr, reason = "says why it was skipped")]
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        sh("mkdir -p /run/wireguard && mount -t tmpfs -o mode=700 tmpfs /run/wireguard && ip link set lo up");
        return true;
    }
    let can = Command::new("unshare").args(["--net", "--mount", "wg-quick", "strip", "/dev/null"]).output();
    if can.is_err()
        || !Path::new("/dev/net/tun").exists()
        || !sh_output("unshare --net --mount ip link").status.success()
    {
        eprintln!("skipped {name}: needs root, unshare, ip, wg-quick and /dev/net/tun");
        return false;
    }
    let again = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        // The first process of the namespace: it waits for every process that lost its parent, as a device does.
        .args(["sh", "-c", "\"$0\" \"$@\"; exit $?"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
    false
}

fn sh_output(command: &str) -> Output {
    // wg-quick finds it by its name alone, as it would once installed.
    let folder = Path::new(TIDEWIRE_WG).parent().unwrap().to_str().unwrap();
    let path = std::env::var("PATH").unwrap();
    Command::new("sh")
        .args(["-c", command])
        .env("PATH", format!("{folder}:{path}"))
        .env("WG_QUICK_USERSPACE_IMPLEMENTATION", "tidewire-wg")
        .env_remove("LOG_LEVEL")
        .env_remove("WG_LOG_LEVEL")
        .env_remove("RUST_LOG")
        .env_remove("WG_PROCESS_FOREGROUND")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command, which must succeed; returns what it printed. Waits until nobody holds its output any more.
#[track_caller]
fn sh(command: &str) -> String {
    let out = sh_output(command);
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Whether the kernel has a WireGuard of its own, which wg-quick prefers to every other.
#[allow(clippy::print_stderr, reason = "says why it was skipped")]
fn has_kernel_wireguard() -> bool {
    let has = sh_output("ip link add twq9 type wireguard && ip link delete twq9").status.success();
    if has {
        eprintln!("skipped: wg-quick takes the kernel's WireGuard here");
    }
    has
}

/// Waits until a command succeeds.
#[track_caller]
fn eventually(command: &str) {
    sh(&format!(
        "for i in $(seq 2000); do {{ {command}; }} >/dev/null 2>&1 && exit 0; sleep 0.01; done; exit 1"
    ));
}

#[test]
fn wg_quick_brings_a_device_up_and_down() {
    if !is_inside("wg_quick_brings_a_device_up_and_down") || has_kernel_wireguard() {
        return;
    }
    let config = "/run/wireguard/twq0.conf";
    sh(&format!(
        "umask 077; printf '[Interface]\\nPrivateKey = %s\\nAddress = 10.66.0.1/24\\nListenPort = 4000\\nMTU = 1400\\n[Peer]\\nPublicKey = %s\\nAllowedIPs = 10.66.0.2/32, 10.99.0.0/16\\n' $(wg genkey) $(wg genkey | wg pubkey) > {config}"
    ));
    // `sh` reads to the end: the device must hold nobody's output.
    sh(&format!("wg-quick up {config} 2>&1"));
    sh("pgrep -x tidewire");
    assert_eq!(sh("wg show twq0 listen-port"), "4000\n");
    assert!(sh("ip link show twq0").contains("mtu 1400"));
    assert!(sh("ip route").contains("10.99.0.0/16 dev twq0"));
    sh(&format!(
        "wg-quick strip {config} > /run/wireguard/stripped && wg syncconf twq0 /run/wireguard/stripped"
    ));
    sh(&format!("wg-quick down {config} 2>&1"));
    eventually(GONE);
}

#[test]
fn two_wg_quicks_make_a_bridge() {
    if !is_inside("two_wg_quicks_make_a_bridge") || has_kernel_wireguard() {
        return;
    }
    sh("mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip netns add far");
    sh("ip link add near type veth peer name near netns far");
    sh("ip address add 192.168.7.1/24 dev near && ip link set near up");
    sh(
        "ip -n far address add 192.168.7.2/24 dev near && ip -n far link set near up && ip -n far link set lo up",
    );
    // As the README has it: each side names the other's key, and one of them the other's address.
    sh("umask 077; cd /run/wireguard && wg genkey > a && wg genkey > b
        printf '[Interface]\nPrivateKey = %s\nAddress = 10.66.0.1/24, fd66::1/64\nListenPort = 51820\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.66.0.2/32, fd66::2/128\n' $(cat a) $(wg pubkey < b) > twq0.conf
        printf '[Interface]\nPrivateKey = %s\nAddress = 10.66.0.2/24, fd66::2/64\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.66.0.1/32, fd66::1/128\nEndpoint = 192.168.7.1:51820\n' $(cat b) $(wg pubkey < a) > twq1.conf");
    sh("wg-quick up /run/wireguard/twq0.conf 2>&1");
    sh("ip netns exec far wg-quick up /run/wireguard/twq1.conf 2>&1");
    // Nobody listens there, and that they say so has come through the tunnel and back.
    for address in ["10.66.0.1", "fd66::1"] {
        eventually(&format!(
            "ip netns exec far bash -c 'exec 3<>/dev/tcp/{address}/9' 2>&1 | grep -q 'Connection refused'"
        ));
    }
    assert!(sh("wg show twq0 endpoints").contains("192.168.7.2:"));
    sh("ip netns exec far wg-quick down /run/wireguard/twq1.conf 2>&1");
    sh("wg-quick down /run/wireguard/twq0.conf 2>&1");
    eventually(GONE);
}

#[test]
fn a_device_ends_by_signal_and_by_its_socket() {
    if !is_inside("a_device_ends_by_signal_and_by_its_socket") {
        return;
    }
    let ends = [
        "pkill -TERM -x tidewire",
        "pkill -INT -x tidewire",
        "rm /run/wireguard/twq0.sock",
        "ip link delete twq0",
    ];
    for end in ends {
        sh(&format!("{TIDEWIRE_WG} twq0 && wg show twq0 && {end}"));
        eventually(GONE);
    }
}

#[test]
fn with_nohup_it_outlives_the_terminal() {
    if !is_inside("with_nohup_it_outlives_the_terminal") {
        return;
    }
    sh(&format!(
        "nohup {TIDEWIRE} wg twq0 >/dev/null 2>&1 & pid=$!; until test -S /run/wireguard/twq0.sock; do sleep 0.01; done
        kill -HUP $pid && wg set twq0 fwmark 7 && wg show twq0 && kill -TERM $pid"
    ));
    eventually(GONE);
    // Without, it ends, and what it leaves is no hindrance to the next.
    sh(&format!(
        "{TIDEWIRE} wg twq0 >/dev/null 2>&1 & pid=$!; until test -S /run/wireguard/twq0.sock; do sleep 0.01; done
        kill -HUP $pid; wait $pid; ! ip link show twq0 && {TIDEWIRE_WG} twq0 && wg show twq0 && pkill -TERM -x tidewire"
    ));
    eventually(GONE);
}

#[test]
fn in_the_foreground_it_logs_and_takes_wireguard_gos_flag() {
    if !is_inside("in_the_foreground_it_logs_and_takes_wireguard_gos_flag") {
        return;
    }
    let starts = [
        format!("{TIDEWIRE} wg twq0"),
        format!("{TIDEWIRE} wg -f twq0"),
        format!("{TIDEWIRE_WG} -f twq0"),
        format!("WG_PROCESS_FOREGROUND=1 {TIDEWIRE_WG} twq0"),
    ];
    for start in starts {
        let log = sh(&format!(
            "{start} 2>&1 & pid=$!; until test -S /run/wireguard/twq0.sock; do sleep 0.01; done; kill $pid; wait $pid"
        ));
        assert!(log.contains("device ready") && log.contains("device ended"), "{log}");
        for level in ["LOG_LEVEL=silent", "WG_LOG_LEVEL=error"] {
            let silent = sh(&format!(
                "export {level}; {start} 2>&1 & pid=$!; until test -S /run/wireguard/twq0.sock; do sleep 0.01; done; kill $pid; wait $pid"
            ));
            assert_eq!(silent, "");
        }
    }
}

#[test]
fn a_name_that_is_taken_is_told_by_both_programs() {
    if !is_inside("a_name_that_is_taken_is_told_by_both_programs") {
        return;
    }
    sh("ip link add twq0 type veth peer name other");
    for program in [format!("{TIDEWIRE} wg"), TIDEWIRE_WG.to_owned()] {
        let out = sh_output(&format!("{program} twq0"));
        assert_eq!(out.status.code(), Some(1));
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(text.contains("twq0") && text.contains("of this name?"), "{text}");
    }
}
