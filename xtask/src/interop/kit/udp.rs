//! The smallest UDP that shows datagrams to be whole: one end answers with what it hears, the other knows what it must hear.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::report::now;

/// Longer than any datagram.
const MOST: usize = 65_536;

/// What a probe is asked to do.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Probe {
    /// Where the other end listens.
    #[arg(long)]
    to: SocketAddr,
    /// Lengths of payloads in bytes, taken in turn.
    #[arg(long, value_delimiter = ',', required = true)]
    sizes: Vec<usize>,
    #[arg(long)]
    count: u64,
    /// From one datagram to the next, at least.
    #[arg(long, default_value_t = 0)]
    every_millis: u64,
    /// When an answer that did not come is given up.
    #[arg(long, default_value_t = 5000)]
    patience_millis: u64,
}

/// What a probe saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) sent: u64,
    /// Sent without an answer in time.
    pub(crate) lost: u64,
    /// Answers that are not what was sent last.
    pub(crate) strange: u64,
    /// The longest time from a datagram to its answer.
    pub(crate) slowest_millis: u64,
}

/// Sends back every datagram until it is killed.
pub(crate) fn echo(listen: SocketAddr) -> Result<Outcome> {
    let socket = UdpSocket::bind(listen)?;
    let mut buffer = vec![0; MOST];
    loop {
        // The system tells that an earlier answer was refused.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        // What could not be sent is lost, which the other end notices.
        let _ = socket.send_to(&buffer[..length], from);
    }
}

/// Sends one datagram after the other, each when the one before was answered or given up, and prints one JSON object.
pub(crate) fn probe_and_print(probe: &Probe) -> Result<Outcome> {
    println!("{}", serde_json::to_string(&run(probe)?)?);
    Ok(Outcome::Done)
}

fn run(probe: &Probe) -> Result<Probed> {
    ensure!(probe.sizes.iter().all(|size| *size < MOST), "a datagram is shorter than {MOST} bytes");
    let any = if probe.to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    let mut probed = Probed::default();
    let mut buffer = vec![0; MOST];
    let start = now();
    for (number, size) in (0..probe.count).zip(probe.sizes.iter().cycle()) {
        let due = start + Duration::from_millis(number * probe.every_millis);
        thread::sleep(due.saturating_duration_since(now()));
        let sent_at = now();
        probed.sent += 1;
        // Where there is no route or no peer yet it is as good as lost.
        let _ = socket.send_to(&content(number, *size), probe.to);
        let patience = Duration::from_millis(probe.patience_millis);
        if answered(&socket, sent_at + patience, &content(number, *size), &mut buffer, &mut probed.strange)? {
            let millis = u64::try_from(sent_at.elapsed().as_millis())?;
            probed.slowest_millis = probed.slowest_millis.max(millis);
        } else {
            probed.lost += 1;
        }
    }
    Ok(probed)
}

/// Whether the answer comes until `deadline`.
fn answered(
    socket: &UdpSocket,
    deadline: Instant,
    expected: &[u8],
    buffer: &mut [u8],
    strange: &mut u64,
) -> Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(buffer) {
            Ok((length, _)) if buffer[..length] == *expected => return Ok(true),
            Ok(_) => *strange += 1,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The system tells that an earlier one was refused.
            Err(_) => thread::sleep(Duration::from_millis(10).min(left)),
        }
    }
}

/// What stands in the datagram with this number.
fn content(number: u64, size: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(2).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other_end(answer: impl Fn(u64, &mut Vec<u8>) -> bool + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = vec![0; MOST];
            for number in 0.. {
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                let mut datagram = buffer[..length].to_vec();
                if answer(number, &mut datagram) {
                    socket.send_to(&datagram, from).unwrap();
                }
            }
        });
        address
    }

    fn probe(to: SocketAddr, patience_millis: u64) -> Probed {
        run(&Probe { to, sizes: vec![0, 1, 1392], count: 6, every_millis: 0, patience_millis }).unwrap()
    }

    #[test]
    fn what_comes_back_whole_is_not_lost() {
        let probed = probe(other_end(|_, _| true), 60_000);
        assert_eq!((probed.sent, probed.lost, probed.strange), (6, 0, 0));
    }

    #[test]
    fn what_is_swallowed_is_lost_and_what_is_changed_is_strange() {
        let probed = probe(other_end(|number, _| number != 3), 50);
        assert!(probed.lost >= 1);
        let flip = |_: u64, datagram: &mut Vec<u8>| {
            datagram.iter_mut().for_each(|byte| *byte ^= 1);
            true
        };
        let probed = probe(other_end(flip), 50);
        assert!(probed.lost >= 4 && probed.strange >= 4, "{probed:?}");
    }

    #[test]
    fn datagrams_differ() {
        assert_ne!(content(0, 8), content(1, 8));
        assert_eq!(content(5, 3)[..], content(5, 8)[..3]);
    }
}
