//! What a stack is made with, and which values cannot work.

use std::{fmt, net::IpAddr, time::Duration};

use tidewire_transport::{Depth, OverlayId};

/// Most addresses that one stack can own.
pub const MOST_ADDRESSES: usize = 8;

/// Smallest MTU in bytes for a stack with IPv4 addresses alone (RFC 791: what every host can take).
pub const LEAST_MTU: usize = 576;

/// Smallest MTU in bytes as soon as there is an IPv6 address (RFC 8200, section 5).
pub const LEAST_MTU_V6: usize = 1280;

/// Largest MTU in bytes: the longest IP packet.
pub const MOST_MTU: usize = 65_535;

/// What a stack is made with. [`Config::new`] fills in what most want; change fields as needed.
#[derive(Clone)]
pub struct Config {
    /// Which overlay of the data plane this is.
    pub overlay: OverlayId,
    /// The stack's own addresses: 1 to [`MOST_ADDRESSES`], unicast, each once.
    pub addresses: Vec<IpAddr>,
    /// Largest IP packet in bytes, both ways. TCP announces its segment size from it.
    pub mtu: usize,
    /// Where local ports and initial sequence numbers come from: 32 bytes that nobody else can know.
    pub seed: [u8; 32],
    /// How much it may hold.
    pub limits: Limits,
    /// How long it waits.
    pub timeouts: Timeouts,
}

/// How much a stack may hold. Every field is a bound; what does not fit is refused with a typed error, or dropped and
/// counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// TCP connections and UDP sockets together.
    pub sockets: usize,
    /// Bytes of all sockets' buffers together. A buffer's pages are backed only once data passed through them. A
    /// connection gets full buffers while at least 16 times as much is left, smaller ones from then on.
    pub memory: usize,
    /// Bytes that a TCP connection takes in before its reader reads: the largest window, so the throughput is at most
    /// this much per round trip. Rounded down to a power of two less one; 65,535 at least, 16 MiB at most.
    pub receive_buffer: usize,
    /// Bytes that a TCP connection keeps until they are acknowledged. 65,535 at least, 16 MiB at most.
    pub send_buffer: usize,
    /// Incoming connections of one listener that wait to be accepted, and as many whose handshake is under way.
    pub backlog: usize,
    /// Bytes of datagrams that wait in a UDP socket, for each direction. 64 KiB at least.
    pub datagrams: usize,
    /// How much waits between the data plane and the stack, for each direction.
    pub queue: Depth,
}

/// How long a stack waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For the answer to a dial.
    pub dial: Duration,
    /// For any sign of life from the other end while something is unanswered; then the connection ends with
    /// [`End::TimedOut`](crate::End::TimedOut). `None` waits for ever. Longer than any change of path takes.
    pub dead: Option<Duration>,
    /// How long a connection may be quiet before the other end is asked whether it is still there; `None` never asks.
    pub keepalive: Option<Duration>,
}

/// Why a configuration cannot work. The configuration is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no address.
    #[error("a stack needs at least one address")]
    NoAddress,
    /// There are more than [`MOST_ADDRESSES`].
    #[error("{0} addresses are more than a stack can own, which is {MOST_ADDRESSES}")]
    TooManyAddresses(usize),
    /// An address that no host can have: unspecified, multicast, broadcast, or IPv4 written as IPv6.
    #[error("{0} is no address that a host can own")]
    NotAHost(IpAddr),
    /// An address is there twice.
    #[error("{0} is given twice")]
    Twice(IpAddr),
    /// The MTU is out of range for these addresses.
    #[error("an MTU of {mtu} is not between {least} and {MOST_MTU}")]
    Mtu {
        /// What was asked for.
        mtu: usize,
        /// The least that works for these addresses.
        least: usize,
    },
}

impl Config {
    /// A configuration with the mesh's MTU of 1280 and the default limits and timeouts.
    #[must_use]
    pub fn new(addresses: Vec<IpAddr>, seed: [u8; 32]) -> Self {
        Self {
            overlay: OverlayId::default(),
            addresses,
            mtu: LEAST_MTU_V6,
            seed,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }

    /// Whether a stack can be made of this.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        if self.addresses.len() > MOST_ADDRESSES {
            return Err(ConfigError::TooManyAddresses(self.addresses.len()));
        }
        for (i, address) in self.addresses.iter().enumerate() {
            if !is_host(*address) {
                return Err(ConfigError::NotAHost(*address));
            }
            if self.addresses[..i].contains(address) {
                return Err(ConfigError::Twice(*address));
            }
        }
        let least = if self.addresses.iter().any(IpAddr::is_ipv6) { LEAST_MTU_V6 } else { LEAST_MTU };
        if !(least..=MOST_MTU).contains(&self.mtu) {
            return Err(ConfigError::Mtu { mtu: self.mtu, least });
        }
        Ok(())
    }
}

/// Whether one host alone can be meant by this address. An IPv4 address written as IPv6 would be two addresses in one.
pub(crate) fn is_host(address: IpAddr) -> bool {
    let special = address.is_unspecified() || address.is_multicast();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !special && !broadcast && address.to_canonical() == address
}

impl Limits {
    const LEAST_BUFFER: usize = 65_535;
    const MOST_BUFFER: usize = 16 << 20;
    const LEAST_DATAGRAMS: usize = 64 << 10;

    /// The same with every field in its range.
    pub(crate) fn clamped(self) -> Self {
        Self {
            sockets: self.sockets.max(1),
            receive_buffer: self.receive_buffer.clamp(Self::LEAST_BUFFER, Self::MOST_BUFFER),
            send_buffer: self.send_buffer.clamp(Self::LEAST_BUFFER, Self::MOST_BUFFER),
            backlog: self.backlog.max(1),
            datagrams: self.datagrams.max(Self::LEAST_DATAGRAMS),
            ..self
        }
    }
}

impl Default for Limits {
    /// 4096 sockets in 256 MiB; windows of 1 MiB, which is 400 Mbit/s at 20 ms; a backlog of 128.
    fn default() -> Self {
        Self {
            sockets: 4096,
            memory: 256 << 20,
            receive_buffer: 1 << 20,
            send_buffer: 1 << 20,
            backlog: 128,
            datagrams: 256 << 10,
            queue: Depth { items: 1024, bytes: 8 << 20 },
        }
    }
}

impl Default for Timeouts {
    /// 30 s to dial, 5 minutes without a sign of life (RFC 5482's default), a question after two quiet hours (RFC 1122,
    /// 4.2.3.6).
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(30),
            dead: Some(Duration::from_secs(300)),
            keepalive: Some(Duration::from_secs(7200)),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("overlay", &self.overlay)
            .field("addresses", &self.addresses)
            .field("mtu", &self.mtu)
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(addresses: &[&str], mtu: usize) -> Option<ConfigError> {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Config { mtu, ..Config::new(addresses, [0; 32]) }.validate().err()
    }

    #[test]
    fn what_cannot_work_is_named() {
        assert_eq!(refused(&[], 1280), Some(ConfigError::NoAddress));
        assert_eq!(refused(&["10.0.0.1"; 9], 1280), Some(ConfigError::TooManyAddresses(9)));
        assert_eq!(refused(&["10.0.0.1"; 2], 1280), Some(ConfigError::Twice([10, 0, 0, 1].into())));
        for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1"] {
            assert_eq!(refused(&[bad], 1280), Some(ConfigError::NotAHost(bad.parse().unwrap())));
        }
        assert_eq!(refused(&["10.0.0.1"], 575), Some(ConfigError::Mtu { mtu: 575, least: 576 }));
        assert_eq!(
            refused(&["10.0.0.1", "fd00::1"], 1279),
            Some(ConfigError::Mtu { mtu: 1279, least: 1280 })
        );
        assert_eq!(refused(&["10.0.0.1"], 65_536), Some(ConfigError::Mtu { mtu: 65_536, least: 576 }));
        assert_eq!(refused(&["10.0.0.1"], 576), None);
        assert_eq!(refused(&["10.0.0.1", "fd00::1"], 65_535), None);
    }

    #[test]
    fn the_seed_is_not_printed() {
        let config = Config::new(vec![[10, 0, 0, 1].into()], [0xab; 32]);
        assert!(!format!("{config:?}").contains("171"), "{config:?}");
    }
}
