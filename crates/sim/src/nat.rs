//! What a NAT does to the addresses of datagrams, and which it lets in.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

/// How a NAT chooses the port that the outside sees (RFC 4787, section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// One for each inside address: what STUN saw holds for everybody.
    EndpointIndependent,
    /// One for each pair of inside and outside address: what STUN saw holds for STUN alone.
    AddressAndPortDependent,
}

/// A NAT in front of one host. It lets in only what was sent to before (address and port dependent filtering), and
/// forgets after a while.
#[derive(Clone, Debug)]
pub struct Nat {
    public: Ipv4Addr,
    mapping: Mapping,
    forgets: Duration,
    next_port: u16,
    ports: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    open: BTreeMap<(u16, SocketAddr), (SocketAddr, Instant)>,
}

impl Nat {
    /// A NAT with this public address that forgets after 30 s, as many do.
    #[must_use]
    pub const fn new(public: Ipv4Addr, mapping: Mapping) -> Self {
        Self {
            public,
            mapping,
            forgets: Duration::from_secs(30),
            next_port: 20_000,
            ports: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// The public address.
    #[must_use]
    pub const fn public(&self) -> Ipv4Addr {
        self.public
    }

    /// The source that the outside sees of a datagram from `inside` to `outside`, which may answer from here on.
    pub(crate) fn outbound(&mut self, now: Instant, inside: SocketAddr, outside: SocketAddr) -> SocketAddr {
        let per = match self.mapping {
            Mapping::EndpointIndependent => None,
            Mapping::AddressAndPortDependent => Some(outside),
        };
        let next = &mut self.next_port;
        let port = *self.ports.entry((inside, per)).or_insert_with(|| {
            *next += 1;
            *next
        });
        self.open.insert((port, outside), (inside, now));
        SocketAddr::from((self.public, port))
    }

    /// Whom inside a datagram from `outside` to `port` reaches, if it is let in.
    pub(crate) fn inbound(&mut self, now: Instant, outside: SocketAddr, port: u16) -> Option<SocketAddr> {
        let (inside, used) = self.open.get_mut(&(port, outside))?;
        if now.saturating_duration_since(*used) > self.forgets {
            return None;
        }
        *used = now;
        Some(*inside)
    }
}
