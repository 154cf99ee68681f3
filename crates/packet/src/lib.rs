//! What memory a packet lives in: pooled slabs, batches of spans in them, and checked views of IP headers.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod batch;
mod ip;
mod pool;
mod slab;
mod span;

pub use batch::{Batch, Kind, Plain, Wire};
pub use ip::{IpError, IpHeader, protocol};
pub use pool::{Limits, Pool};
pub use slab::{Class, Slab};
pub use span::{BadSpan, Full, Span};

/// Free bytes in front of each cleartext packet: the WireGuard data header (type, receiver index, counter).
pub const HEADROOM: usize = 16;

/// Free bytes behind each cleartext packet, after any padding: the Poly1305 tag.
pub const TAILROOM: usize = 16;

/// The length to which WireGuard pads a packet of `len` bytes: the next multiple of 16, but never beyond the overlay's
/// `mtu`, and never less than `len` (WireGuard paper, section 5.4.6; the cap as wireguard-go does).
#[inline]
#[must_use]
pub const fn padded_len(len: usize, mtu: usize) -> usize {
    let up = len.next_multiple_of(16);
    if up <= mtu {
        up
    } else if len > mtu {
        len
    } else {
        mtu
    }
}
