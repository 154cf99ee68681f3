//! What a socket may be bound to, and which own address suits a destination.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Where a socket listens or is bound: one own address or all of them, and a port. Made of a port, or of a socket
/// address, of which the unspecified one (`0.0.0.0` or `::`) means all, of both families.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Local {
    /// The own address; `None` means all.
    pub address: Option<IpAddr>,
    /// The port; zero asks for a free one.
    pub port: u16,
}

impl From<u16> for Local {
    fn from(port: u16) -> Self {
        Self { address: None, port }
    }
}

impl From<SocketAddr> for Local {
    fn from(at: SocketAddr) -> Self {
        let address = at.ip().to_canonical();
        Self { address: (!address.is_unspecified()).then_some(address), port: at.port() }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.port)),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// The own address from which to talk to `destination`: of its family, and of those the one with the longest prefix in
/// common (RFC 6724, section 5, rule 8), of equals the first.
pub(crate) fn source_for(own: &[IpAddr], destination: IpAddr) -> Option<IpAddr> {
    let mut best: Option<(u32, IpAddr)> = None;
    for &address in own {
        let Some(common) = common_prefix(address, destination) else { continue };
        if best.is_none_or(|(most, _)| common > most) {
            best = Some((common, address));
        }
    }
    best.map(|(_, address)| address)
}

fn common_prefix(a: IpAddr, b: IpAddr) -> Option<u32> {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some((a.to_bits() ^ b.to_bits()).leading_zeros()),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some((a.to_bits() ^ b.to_bits()).leading_zeros()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unspecified_address_means_all() {
        let all = Local { address: None, port: 80 };
        assert_eq!(Local::from(80), all);
        assert_eq!(Local::from("0.0.0.0:80".parse::<SocketAddr>().unwrap()), all);
        assert_eq!(Local::from("[::]:80".parse::<SocketAddr>().unwrap()), all);
        let one = Local { address: Some([10, 0, 0, 1].into()), port: 80 };
        assert_eq!(Local::from("10.0.0.1:80".parse::<SocketAddr>().unwrap()), one);
        assert_eq!(Local::from("[::ffff:10.0.0.1]:80".parse::<SocketAddr>().unwrap()), one);
    }

    #[test]
    fn the_source_is_of_the_family_and_nearest() {
        let own: Vec<IpAddr> =
            ["100.64.0.1", "10.1.0.1", "fd00::1", "10.1.9.1"].iter().map(|a| a.parse().unwrap()).collect();
        let pick = |to: &str| source_for(&own, to.parse().unwrap()).map(|a| a.to_string());
        assert_eq!(pick("10.1.9.77").as_deref(), Some("10.1.9.1"));
        assert_eq!(pick("10.1.0.77").as_deref(), Some("10.1.0.1"));
        assert_eq!(pick("100.100.1.1").as_deref(), Some("100.64.0.1"));
        assert_eq!(pick("fe80::1").as_deref(), Some("fd00::1"));
        assert_eq!(source_for(&own[..2], "fd00::9".parse().unwrap()), None);
    }
}
