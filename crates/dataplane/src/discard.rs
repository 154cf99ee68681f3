//! Why a packet ended, for every way in which one can.

use std::fmt;

use tidewire_packet::IpError;
use tidewire_packet_ident::Reason as Unidentified;

/// Why a packet or a datagram went no further. Each is counted, see [`Counters`](crate::Counters).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Discard {
    /// The core's own reason.
    Core(Reason),
    /// The tunnel's reason.
    Tunnel(tidewire_tunnel::Discard),
    /// Path discovery's reason.
    Path(tidewire_path::Discard),
}

/// The core's own reasons.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// From an overlay or out of the tunnel: shorter than an IP header.
    IpShort,
    /// From an overlay or out of the tunnel: IP version neither 4 nor 6.
    IpVersion,
    /// From an overlay or out of the tunnel: an impossible length in the IP header.
    IpLength,
    /// From an overlay: longer than the overlay's MTU.
    TooLong,
    /// From an overlay: no peer and no overlay owns the destination.
    NoRoute,
    /// No way to the peer is known: no address, and no relay.
    NoPath,
    /// No attached transport carries the hop.
    NoTransport,
    /// A transport had no room, or failed, while the datagram waited for it.
    TransportFull,
    /// From a peer: the source address does not belong to it.
    Spoofed,
    /// From a peer: the filter does not let it in.
    Filtered,
    /// From a peer: no overlay owns the destination.
    NotForUs,
    /// From a peer: a control message inside the tunnel that is malformed or of an unknown type.
    Tsmp,
    /// An overlay had no room for it, or none is attached.
    OverlayFull,
    /// From outside: of no known kind at all.
    Unknown,
    /// From outside: nearly STUN.
    NearlyStun,
    /// From outside: nearly disco.
    NearlyDisco,
    /// From outside: nearly WireGuard.
    NearlyWireGuard,
    /// From outside: nearly Geneve, or Geneve around something else than it announces.
    NearlyGeneve,
    /// From outside by way of a relay: STUN or Geneve, which do not belong there.
    NotOverRelay,
    /// No slab is large enough for it.
    NoMemory,
}

impl Reason {
    /// Every reason, in order.
    pub const ALL: [Self; 20] = [
        Self::IpShort,
        Self::IpVersion,
        Self::IpLength,
        Self::TooLong,
        Self::NoRoute,
        Self::NoPath,
        Self::NoTransport,
        Self::TransportFull,
        Self::Spoofed,
        Self::Filtered,
        Self::NotForUs,
        Self::Tsmp,
        Self::OverlayFull,
        Self::Unknown,
        Self::NearlyStun,
        Self::NearlyDisco,
        Self::NearlyWireGuard,
        Self::NearlyGeneve,
        Self::NotOverRelay,
        Self::NoMemory,
    ];

    pub(crate) const fn of_ip(error: IpError) -> Self {
        match error {
            IpError::Short => Self::IpShort,
            IpError::Version(_) => Self::IpVersion,
            IpError::HeaderLength | IpError::TotalLength => Self::IpLength,
        }
    }

    pub(crate) const fn of_ident(reason: Unidentified) -> Self {
        match reason {
            Unidentified::NoMatch => Self::Unknown,
            Unidentified::StunOther => Self::NearlyStun,
            Unidentified::DiscoShort => Self::NearlyDisco,
            Unidentified::WireGuardReserved | Unidentified::WireGuardLength => Self::NearlyWireGuard,
            Unidentified::GeneveReserved
            | Unidentified::GeneveOptions
            | Unidentified::GeneveControl
            | Unidentified::GeneveBody => Self::NearlyGeneve,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IpShort => "shorter than an IP header",
            Self::IpVersion => "IP version neither 4 nor 6",
            Self::IpLength => "impossible length in the IP header",
            Self::TooLong => "longer than the overlay's MTU",
            Self::NoRoute => "no peer owns the destination",
            Self::NoPath => "no way to the peer is known",
            Self::NoTransport => "no transport carries the hop",
            Self::TransportFull => "the transport had no room",
            Self::Spoofed => "the source address does not belong to the peer",
            Self::Filtered => "not let in by the filter",
            Self::NotForUs => "no overlay owns the destination",
            Self::Tsmp => "unknown control message inside the tunnel",
            Self::OverlayFull => "the overlay had no room",
            Self::Unknown => "of no known kind",
            Self::NearlyStun => "nearly STUN",
            Self::NearlyDisco => "nearly disco",
            Self::NearlyWireGuard => "nearly WireGuard",
            Self::NearlyGeneve => "nearly Geneve",
            Self::NotOverRelay => "does not belong into a relay's stream",
            Self::NoMemory => "larger than any slab",
        })
    }
}
