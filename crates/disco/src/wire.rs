//! The fixed parts of disco messages as they lie on the wire; all numbers are big endian.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What stands before the box: 62 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 6],
    pub(crate) sender: [u8; 32],
    pub(crate) nonce: [u8; 24],
}

/// What stands first inside the box.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) version: u8,
}

/// An address and port, 18 bytes; IPv4 addresses are mapped into IPv6.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Address {
    ip: [u8; 16],
    port: U16,
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self { ip: ip.octets(), port: addr.port().into() }
    }
}

impl From<&Address> for SocketAddr {
    fn from(address: &Address) -> Self {
        Self::new(Ipv6Addr::from(address.ip).to_canonical(), address.port.get())
    }
}

/// The payload of a pong: 30 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Pong {
    pub(crate) tx: [u8; 12],
    pub(crate) src: Address,
}

/// The payload of the three messages that bind a client to a relay: 72 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Bind {
    pub(crate) vni: U32,
    pub(crate) generation: U32,
    pub(crate) remote: [u8; 32],
    pub(crate) challenge: [u8; 32],
}

/// The payload of a request for an allocation: 68 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct AllocateRequest {
    pub(crate) clients: [[u8; 32]; 2],
    pub(crate) generation: U32,
}

/// An allocation at a relay up to its addresses: 124 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Allocation {
    pub(crate) server: [u8; 32],
    pub(crate) clients: [[u8; 32]; 2],
    pub(crate) lamport: U64,
    pub(crate) vni: U32,
    pub(crate) bind_lifetime_ns: U64,
    pub(crate) steady_lifetime_ns: U64,
}

/// At least one address, and nothing else.
pub(crate) fn parse_addrs(bytes: &[u8]) -> Option<Vec<SocketAddr>> {
    let addrs = <[Address]>::ref_from_bytes(bytes).ok()?;
    if addrs.is_empty() { None } else { Some(addrs.iter().map(SocketAddr::from).collect()) }
}

pub(crate) fn encode_addrs(addrs: &[SocketAddr], out: &mut Vec<u8>) {
    for &addr in addrs {
        out.extend_from_slice(Address::from(addr).as_bytes());
    }
}
