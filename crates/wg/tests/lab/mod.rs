//! Where tests that need root run: a network namespace of their own, with another one behind a cable.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of what all share")]

use std::{fs::File, net::UdpSocket, os::fd::AsFd, path::Path, process::Command, time::Duration};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tidewire_clock as clock;
use tidewire_keys::{NodeSecret, PresharedKey};
use tidewire_wg::{
    Config, Device,
    uapi::{PeerSet, PeerStatus, PrefixSet, Set, Status},
};

const INSIDE: &str = "TIDEWIRE_TEST_INSIDE_NAMESPACE";
/// What only the test may see: its control sockets, and its names of namespaces.
const PRIVATE: [&str; 2] = ["/run/wireguard", "/run/netns"];

/// Whether the test named `name` is inside a namespace of its own. Outside, runs the test again inside; where that cannot
/// be, or a program is missing, says so in one line and lets the test pass.
#[allow(clippy::print_stderr, reason = "says why it was skipped")]
pub fn is_inside(name: &str, programs: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        for directory in PRIVATE {
            sh(&format!("mkdir -p {directory} && mount -t tmpfs -o mode=700 tmpfs {directory}"));
        }
        sh("ip link set lo up");
        return true;
    }
    let can = Command::new("unshare").args(["--net", "--mount", "ip", "link"]).output();
    let missing = programs.iter().find(|program| !has(program));
    if !can.is_ok_and(|out| out.status.success()) || !Path::new("/dev/net/tun").exists() || missing.is_some()
    {
        eprintln!("skipped {name}: needs root, unshare, ip, /dev/net/tun {}", programs.join(" "));
        return false;
    }
    let again = Command::new("unshare")
        .args(["--net", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
    false
}

/// Whether a program can be called.
pub fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|out| out.status.success())
}

/// Runs a command, which must succeed; returns what it printed.
#[track_caller]
pub fn sh(command: &str) -> String {
    let (text, is_good) = try_sh(command);
    assert!(is_good, "{command}: {text}");
    text
}

/// Runs a command; returns what it printed, and whether it succeeded.
pub fn try_sh(command: &str) -> (String, bool) {
    let out = Command::new("sh").args(["-c", command]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (text, out.status.success())
}

pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let until = clock::now() + Duration::from_secs(20);
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(clock::now() < until, "not within 20 s: {what} ({place})");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Runs `f` in the namespace `name`, as made by `ip netns add`.
pub fn inside<T: Send>(name: &str, f: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            f()
        });
        thread.join().unwrap()
    })
}

pub fn secret(n: u8) -> NodeSecret {
    NodeSecret::from_bytes([n; 32])
}

/// Peer `n` with these prefixes.
pub fn peer(n: u8, prefixes: &[&str]) -> PeerSet {
    let mut peer = PeerSet::new(secret(n).public());
    peer.allowed_ips = prefixes.iter().map(|prefix| PrefixSet::Add(prefix.parse().unwrap())).collect();
    peer
}

/// What a device says of peer `n`.
pub fn shown(status: &Status, n: u8) -> &PeerStatus {
    status.peers.iter().find(|peer| peer.key == secret(n).public()).unwrap()
}

/// Two devices with a cable between: device 1, `wga`, in the test's namespace, at 192.0.2.1:51821 outside and 10.9.0.1 and
/// fd09::1 inside; device 2, `wgb`, in the namespace `b`, with a 2 for each 1.
pub struct Lab {
    pub a: Device,
    pub b: Device,
}

impl Lab {
    pub async fn new() -> Self {
        sh("ip netns add b
            ip link add outa type veth peer name outb netns b
            ip address add 192.0.2.1/24 dev outa && ip link set outa up
            ip -n b address add 192.0.2.2/24 dev outb && ip -n b link set outb up && ip -n b link set lo up");
        let a = Device::create(&Config::new("wga")).unwrap();
        let b = inside("b", || Device::create(&Config::new("wgb")).unwrap());
        sh("ip address add 10.9.0.1/24 dev wga && ip address add fd09::1/64 dev wga nodad && ip link set wga up
            ip -n b address add 10.9.0.2/24 dev wgb && ip -n b address add fd09::2/64 dev wgb nodad
            ip -n b link set wgb up");
        let lab = Self { a, b };
        lab.a.set(vec![Set::PrivateKey(Some(secret(1))), Set::ListenPort(51821)]).await.unwrap();
        lab.b.set(vec![Set::PrivateKey(Some(secret(2))), Set::ListenPort(51822)]).await.unwrap();
        lab
    }

    /// Tells each of the other, with a pre-shared key if there is one; only device 1 knows where the other is.
    pub async fn introduce(&self, psk: Option<[u8; 32]>) {
        let psk = psk.map(PresharedKey::from_bytes);
        let mut to_b = peer(2, &["10.9.0.2/32", "fd09::2/128"]);
        to_b.endpoint = Some("192.0.2.2:51822".parse().unwrap());
        to_b.psk = psk.clone();
        let mut to_a = peer(1, &["10.9.0.1/32", "fd09::1/128"]);
        to_a.psk = psk;
        self.a.set(vec![Set::Peer(to_b)]).await.unwrap();
        self.b.set(vec![Set::Peer(to_a)]).await.unwrap();
    }
}

/// A socket in the test's namespace, and one in `b`, at these addresses.
pub fn sockets(a: &str, b: &str) -> (UdpSocket, UdpSocket) {
    let at = |addr: &str| {
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    };
    (at(a), inside("b", || at(b)))
}

/// Sends one packet each way; each must arrive as it is.
#[track_caller]
pub fn exchange(a: &UdpSocket, b: &UdpSocket, len: usize) {
    let there: Vec<u8> = (0..len).map(|i| i as u8).collect();
    let mut buffer = vec![0; 65_536];
    for (from, to) in [(a, b), (b, a)] {
        from.send_to(&there, to.local_addr().unwrap()).unwrap();
        let (read, source) = to.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..read], source), (&there[..], from.local_addr().unwrap()));
    }
}
