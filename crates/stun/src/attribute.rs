//! How the attributes of a STUN message are walked, and how an address in one is read.

use core::net::{IpAddr, SocketAddr};

pub(crate) const MAPPED_ADDRESS: u16 = 0x0001;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// What some servers write instead, with the bit set that makes an attribute optional.
pub(crate) const XOR_MAPPED_ADDRESS_ALT: u16 = 0x8020;
pub(crate) const SOFTWARE: u16 = 0x8022;
pub(crate) const FINGERPRINT: u16 = 0x8028;

/// An attribute that goes beyond the message, or an address of no known family.
pub(crate) struct Malformed;

/// One attribute, without its padding.
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

/// The attributes of a message one by one (RFC 8489 section 14). It ends at the first malformed one.
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(attributes: &'a [u8]) -> Self {
        Self { rest: attributes }
    }

    fn split_first(&self) -> Option<(Attribute<'a>, &'a [u8])> {
        let (&[a, b, high, low], rest) = self.rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (padded, rest) = rest.split_at_checked(len.next_multiple_of(4))?;
        Some((Attribute { kind: u16::from_be_bytes([a, b]), value: padded.get(..len)? }, rest))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((attribute, rest)) = self.split_first() else {
            self.rest = &[];
            return Some(Err(Malformed));
        };
        self.rest = rest;
        Some(Ok(attribute))
    }
}

/// The value of a MAPPED-ADDRESS attribute (RFC 8489 section 14.1), IPv4 unmapped.
pub(crate) fn address(value: &[u8]) -> Result<SocketAddr, Malformed> {
    xor_address(value, &[0; 16])
}

/// The value of an XOR-MAPPED-ADDRESS attribute (RFC 8489 section 14.2), IPv4 unmapped. The port is XORed
/// with the first two bytes of the mask.
pub(crate) fn xor_address(value: &[u8], mask: &[u8; 16]) -> Result<SocketAddr, Malformed> {
    let Some((&[_, family, high, low], ip)) = value.split_first_chunk() else { return Err(Malformed) };
    let ip = match family {
        1 => IpAddr::from(unmask::<4>(ip, mask)?),
        2 => IpAddr::from(unmask::<16>(ip, mask)?),
        _ => return Err(Malformed),
    };
    let port = u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]);
    Ok(SocketAddr::new(ip.to_canonical(), port))
}

/// The first `N` bytes of an address, with `N` at most 16.
fn unmask<const N: usize>(ip: &[u8], mask: &[u8; 16]) -> Result<[u8; N], Malformed> {
    let mut ip = *ip.first_chunk::<N>().ok_or(Malformed)?;
    for (byte, mask) in ip.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Ok(ip)
}
