//! Which of two proven paths is the better one: a total order, and when it is worth a change.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tidewire_transport::Hop;

/// How good a path is that has answered. The lesser one is the better one.
///
/// The fields are compared one after the other, so the order is total: no choice of paths can go round in circles, as a
/// comparison by percentages and bonuses can. Latencies are compared in bands about a third to a half wide, so that noise
/// does not decide before what is known for certain (how near the address is) had its say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Standing {
    tier: Tier,
    band: u8,
    scope: Scope,
    family: Family,
    latency: Duration,
    hop: Hop,
}

/// How a path leads to the peer. A better tier wins at any latency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tier {
    /// Straight to a UDP address of the peer.
    Direct,
    /// By way of a peer relay.
    PeerRelay,
    /// By way of a DERP relay: the floor.
    Derp,
}

/// How near an address is, as far as it says so itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// The same link.
    LinkLocal,
    /// A private network (RFC 1918, RFC 4193).
    Private,
    /// Anywhere.
    Global,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Family {
    V6,
    V4,
}

/// A faster path is worth a change if it saves at least this much, and a fifth of the latency.
const WORTH: Duration = Duration::from_millis(1);

impl Standing {
    /// Where a path stands that answered within `latency`.
    #[must_use]
    pub fn new(hop: Hop, latency: Duration) -> Self {
        let tier = match hop {
            Hop::Udp(_) => Tier::Direct,
            Hop::Relayed { .. } => Tier::PeerRelay,
            Hop::Derp { .. } => Tier::Derp,
        };
        let addr = hop.socket_addr();
        let family = if addr.is_some_and(|addr| addr.is_ipv6()) { Family::V6 } else { Family::V4 };
        Self { tier, band: band(latency), scope: addr.map_or(Scope::Global, scope), family, latency, hop }
    }

    /// The path it is about.
    #[must_use]
    pub const fn hop(&self) -> Hop {
        self.hop
    }

    /// How the path leads to the peer.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// Its latency, as it was given.
    #[must_use]
    pub const fn latency(&self) -> Duration {
        self.latency
    }

    /// Whether to leave `incumbent`, which works, for this one.
    ///
    /// Only for one that is better in the total order, and by something that does not flicker: a better tier, a nearer address,
    /// or a latency that is a good deal lower. So as long as nothing changes, changes come to an end.
    #[must_use]
    pub fn supersedes(&self, incumbent: &Self) -> bool {
        let saved = incumbent.latency.saturating_sub(self.latency);
        let faster = saved >= WORTH && saved >= incumbent.latency / 5;
        self < incumbent && (self.tier < incumbent.tier || self.scope < incumbent.scope || faster)
    }
}

/// Which band a latency falls into: two for each doubling, one for all below about a millisecond.
fn band(latency: Duration) -> u8 {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1 << 10);
    let doublings = micros.ilog2();
    let upper_half = micros >> (doublings - 1) & 1;
    (doublings * 2) as u8 + upper_half as u8
}

fn scope(addr: SocketAddr) -> Scope {
    let (loopback, link_local, private) = match addr.ip() {
        IpAddr::V4(ip) => (ip.is_loopback(), ip.is_link_local(), ip.is_private()),
        IpAddr::V6(ip) => (ip.is_loopback(), ip.is_unicast_link_local(), ip.is_unique_local()),
    };
    match () {
        () if loopback => Scope::Loopback,
        () if link_local => Scope::LinkLocal,
        () if private => Scope::Private,
        () => Scope::Global,
    }
}
