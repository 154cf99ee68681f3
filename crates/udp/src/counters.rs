//! What is counted: datagrams each way, and why some did not leave.

use std::io;

/// Why a datagram was not sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Discard {
    /// There is no route, the network is down, or the destination said by ICMP that it is not there.
    Unreachable,
    /// Longer than a UDP datagram can be.
    TooLong,
    /// There is no socket of the destination's address family.
    NoSocket,
    /// The caller wants nothing sent there ([`UdpControl::avoid`](crate::UdpControl::avoid)).
    Avoided,
    /// The system refused for another reason: a firewall of this machine, an impossible destination, a full device.
    Refused,
}

impl Discard {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Unreachable, Self::TooLong, Self::NoSocket, Self::Refused, Self::Avoided];

    /// The reason behind what the system said about a send.
    pub(crate) fn of(error: &io::Error) -> Self {
        if quinn_udp::is_msg_size_err(error) {
            return Self::TooLong;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => Self::Unreachable,
            _ => Self::Refused,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Unreachable => 0,
            Self::TooLong => 1,
            Self::NoSocket => 2,
            Self::Refused => 3,
            Self::Avoided => 4,
        }
    }
}

/// How many datagrams were not sent, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// How many for `reason`.
    #[must_use]
    pub const fn get(&self, reason: Discard) -> u64 {
        self.0[reason.index()]
    }

    pub(crate) const fn add(&mut self, reason: Discard, datagrams: u64) {
        self.0[reason.index()] += datagrams;
    }
}

/// What the sockets did since they were first bound; a rebind does not reset it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Datagrams given to the system.
    pub sent: u64,
    /// System calls that took.
    pub send_calls: u64,
    /// Datagrams received.
    pub received: u64,
    /// System calls that took.
    pub receive_calls: u64,
    /// Super-packets that a route or device refused, and that left as single datagrams.
    pub unsegmented: u64,
    /// Errors that ICMP or the network's state left on a socket, taken note of and passed over.
    pub passed_errors: u64,
    /// Datagrams that were not sent, by reason.
    pub discards: Discards,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut discards = Discards::default();
        for (i, reason) in (1..).zip(Discard::ALL) {
            discards.add(reason, i);
        }
        assert_eq!(Discard::ALL.map(|reason| discards.get(reason)), [1, 2, 3, 4, 5]);
    }
}
