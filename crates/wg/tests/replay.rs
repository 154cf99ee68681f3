//! What was recorded of a peer says nothing any more after the interface was down, or the device had another key. Needs root.
#![cfg(target_os = "linux")]

mod lab;

use std::{net::UdpSocket, time::Duration};

use lab::{eventually, is_inside, peer, run, secret, sh, shown};
use tidewire_clock as clock;
use tidewire_dataplane::{Change, Command, DataPlane, Filter, Identity, Out};
use tidewire_keys::{DiscoSecret, Epoch, PresharedKey, Seed};
use tidewire_packet::Pool;
use tidewire_wg::{Config, Device, uapi::Set};

const PORT: u16 = 4000;

/// An initiation of peer `n` to device 1.
fn initiation(n: u8) -> Vec<u8> {
    let identity = Identity { node: secret(n), disco: DiscoSecret::from_bytes([n; 32]) };
    let epoch = Epoch::new(clock::unix_time());
    let seed = Seed::new([n; 32]);
    let mut core = DataPlane::new(clock::now(), identity, Filter::AllowAll, epoch, &seed, Pool::default());
    let key = secret(1).public();
    let device = tidewire_dataplane::Peer {
        key,
        psk: PresharedKey::from_bytes([0; 32]),
        disco: None,
        prefixes: Vec::new(),
        candidates: vec![([127, 0, 0, 1], PORT).into()],
        home: None,
        keepalive: None,
    };
    let mut out = Out::default();
    core.apply(clock::now(), Change::Peers(vec![device]), &mut out).unwrap();
    core.command(clock::now(), Command::Initiate { peer: key }, &mut out);
    out.to_underlay[0].batch.get(0).unwrap().to_vec()
}

/// Sends to device 1 from a new socket, which is returned.
fn send(message: &[u8]) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send_to(message, ("127.0.0.1", PORT)).unwrap();
    socket
}

fn is_answered(socket: &UdpSocket) -> bool {
    let mut buffer = [0; 1500];
    socket.recv(&mut buffer).is_ok_and(|len| len == 92 && buffer[0] == 2)
}

/// Waits until the device has its port, or has it no longer.
async fn listens(yes: bool) {
    let bound = format!(":{PORT:04X} ");
    eventually("its port", async || (sh("cat /proc/net/udp").contains(&bound) == yes).then_some(())).await;
}

#[test]
fn a_recorded_initiation_is_refused_after_down_and_up_and_another_key() {
    if !is_inside("a_recorded_initiation_is_refused_after_down_and_up_and_another_key", &[]) {
        return;
    }
    run(async {
        let device = Device::create(&Config::new("wg7")).unwrap();
        let peers = [2, 3, 4].map(|n| Set::Peer(peer(n, &[])));
        let own = [Set::PrivateKey(Some(secret(1))), Set::ListenPort(PORT)];
        device.set(own.into_iter().chain(peers).collect()).await.unwrap();
        sh("ip link set wg7 up");
        listens(true).await;

        let recorded = initiation(2);
        let genuine = send(&recorded);
        eventually("heard", async || shown(&device.status().await.unwrap(), 2).endpoint).await;
        assert!(is_answered(&genuine));

        for (again, other) in [(false, 3), (true, 4)] {
            if again {
                for n in [9, 1] {
                    device.set(vec![Set::PrivateKey(Some(secret(n)))]).await.unwrap();
                }
            } else {
                sh("ip link set wg7 down");
                listens(false).await;
                sh("ip link set wg7 up");
            }
            listens(true).await;
            let attacker = send(&recorded);
            // Sent later and answered: so the one before was read.
            let newcomer = send(&initiation(other));
            eventually("heard", async || shown(&device.status().await.unwrap(), other).endpoint).await;
            assert!(is_answered(&newcomer));
            let status = device.status().await.unwrap();
            assert_eq!(shown(&status, 2).endpoint, Some(genuine.local_addr().unwrap()));
            attacker.set_nonblocking(true).unwrap();
            assert!(!is_answered(&attacker));
        }
    });
}
