//! What a `get=1` is told: the answer's lines and their order.

use std::{io::Write as _, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use tidewire_keys::{NodePublic, NodeSecret, PresharedKey};
use zeroize::Zeroizing;

use super::Errno;

/// A device as a `get=1` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The device's key, if it has one.
    pub private_key: Option<NodeSecret>,
    /// The UDP port that is bound, or will be; 0 where none was chosen yet.
    pub listen_port: u16,
    /// The mark of outgoing datagrams; 0 for none.
    pub fwmark: u32,
    /// The peers, in the order of their keys.
    pub peers: Vec<PeerStatus>,
}

/// A peer as a `get=1` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Who it is.
    pub key: NodePublic,
    /// Its pre-shared key; all zeros for none.
    pub psk: PresharedKey,
    /// Where it was heard last, or is said to be.
    pub endpoint: Option<SocketAddr>,
    /// When the last handshake was completed, since 1970 (UTC).
    pub last_handshake: Option<Duration>,
    /// Bytes of genuine datagrams from it, handshakes and overhead included.
    pub rx_bytes: u64,
    /// Bytes of datagrams to it, handshakes and overhead included.
    pub tx_bytes: u64,
    /// Seconds between persistent keepalives; 0 for none.
    pub keepalive: u16,
    /// The prefixes that are its own.
    pub allowed_ips: Vec<IpNet>,
}

impl Status {
    /// The lines of the answer, with `errno=0` and the empty line. It holds secrets, so it is wiped on drop.
    #[must_use]
    pub fn answer(&self) -> Zeroizing<Vec<u8>> {
        // Room for all of it, so that no copy is left behind by growing.
        let prefixes: usize = self.peers.iter().map(|peer| peer.allowed_ips.len()).sum();
        let mut out =
            Zeroizing::new(Vec::with_capacity(256 + self.peers.len() * PEER_ROOM + prefixes * PREFIX_ROOM));
        self.write(&mut out);
        write(&mut out, format_args!("errno=0\n\n"));
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(key) = &self.private_key {
            write_hex(out, "private_key", key.expose());
        }
        if self.listen_port != 0 {
            write(out, format_args!("listen_port={}\n", self.listen_port));
        }
        if self.fwmark != 0 {
            write(out, format_args!("fwmark={}\n", self.fwmark));
        }
        for peer in &self.peers {
            peer.write(out);
        }
    }
}

// The longest lines of a peer add up to 415 bytes, and the longest prefix has 55.
const PEER_ROOM: usize = 448;
const PREFIX_ROOM: usize = 56;

impl PeerStatus {
    fn write(&self, out: &mut Vec<u8>) {
        write_hex(out, "public_key", self.key.as_bytes());
        write_hex(out, "preshared_key", self.psk.expose());
        write(out, format_args!("protocol_version=1\n"));
        if let Some(endpoint) = self.endpoint {
            write(out, format_args!("endpoint={endpoint}\n"));
        }
        let last = self.last_handshake.unwrap_or_default();
        write(out, format_args!("last_handshake_time_sec={}\n", last.as_secs()));
        write(out, format_args!("last_handshake_time_nsec={}\n", last.subsec_nanos()));
        write(out, format_args!("tx_bytes={}\nrx_bytes={}\n", self.tx_bytes, self.rx_bytes));
        write(out, format_args!("persistent_keepalive_interval={}\n", self.keepalive));
        for prefix in &self.allowed_ips {
            write(out, format_args!("allowed_ip={prefix}\n"));
        }
    }
}

/// The answer to a request that tells nothing back.
#[must_use]
pub fn answer(result: Result<(), Errno>) -> Vec<u8> {
    format!("errno={}\n\n", result.err().map_or(0, Errno::code)).into_bytes()
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes every write");
}

/// Without a branch or a table that depends on the key.
fn write_hex(out: &mut Vec<u8>, name: &str, key: &[u8; 32]) {
    write(out, format_args!("{name}="));
    let digit = |nibble: u8| nibble + b'0' + (u8::from(nibble > 9).wrapping_neg() & (b'a' - b'0' - 10));
    out.extend(key.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_empty_device_tells_nothing() {
        assert_eq!(text(&Status::default().answer()), "errno=0\n\n");
    }

    #[test]
    fn every_line_stands_in_the_order_of_wireguard_go() {
        let peer = PeerStatus {
            key: NodePublic::from_bytes([0xab; 32]),
            psk: PresharedKey::from_bytes([0x09; 32]),
            endpoint: Some("[fe80::1%3]:51820".parse().unwrap()),
            last_handshake: Some(Duration::new(1_700_000_000, 16_777_216)),
            rx_bytes: 1,
            tx_bytes: 2,
            keepalive: 25,
            allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "fd00::1/128".parse().unwrap()],
        };
        let secret = NodeSecret::from_bytes([0x48; 32]);
        let status = Status { private_key: Some(secret), listen_port: 51820, fwmark: 7, peers: vec![peer] };
        let expected = format!(
            "private_key={}\nlisten_port=51820\nfwmark=7\npublic_key={}\npreshared_key={}\nprotocol_version=1\n\
             endpoint=[fe80::1%3]:51820\nlast_handshake_time_sec=1700000000\nlast_handshake_time_nsec=16777216\n\
             tx_bytes=2\nrx_bytes=1\npersistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::1/128\n\
             errno=0\n\n",
            "48".repeat(32),
            "ab".repeat(32),
            "09".repeat(32)
        );
        assert_eq!(text(&status.answer()), expected);
    }

    #[test]
    fn the_longest_answer_fits_the_room_that_was_made_for_it() {
        let widest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let peer = PeerStatus {
            key: NodePublic::from_bytes([0xff; 32]),
            psk: PresharedKey::from_bytes([0xff; 32]),
            endpoint: Some(format!("[{widest}%{}]:65535", u32::MAX).parse().unwrap()),
            last_handshake: Some(Duration::MAX),
            rx_bytes: u64::MAX,
            tx_bytes: u64::MAX,
            keepalive: u16::MAX,
            allowed_ips: vec![format!("{widest}/128").parse().unwrap(); 3],
        };
        let secret = Some(NodeSecret::from_bytes([0xff; 32]));
        let status =
            Status { private_key: secret, listen_port: u16::MAX, fwmark: u32::MAX, peers: vec![peer; 100] };
        let answer = status.answer();
        assert_eq!(answer.capacity(), 256 + 100 * PEER_ROOM + 300 * PREFIX_ROOM);
    }

    #[test]
    fn failures_are_negative_numbers() {
        assert_eq!(answer(Ok(())), b"errno=0\n\n");
        let invalid = answer(Err(Errno::Invalid));
        assert!(text(&invalid).starts_with("errno=-") && text(&invalid).ends_with("\n\n"));
    }
}
