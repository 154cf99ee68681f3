//! What one line of a request means, and which lines are none.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
};

use ipnet::IpNet;
use tidewire_keys::{KeyError, NodePublic, NodeSecret, PresharedKey};

use super::{Errno, PeerSet, PrefixSet, Set};

/// The longest line that is read, in bytes, without its end: wireguard-go's limit.
pub const MAX_LINE: usize = 64 * 1024 - 1;

/// Why a request, or a part of it, was not done. The client is to blame. Values are not repeated: they may be keys.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// A line without `=`.
    #[error("a line without `=`")]
    NoEquals,
    /// A key that means nothing where it stands.
    #[error("`{key}` is no key {place}")]
    UnknownKey {
        /// The key, or an ellipsis for what does not look like one.
        key: String,
        /// Of what: a device or a peer.
        place: &'static str,
    },
    /// A key with a value that it cannot have.
    #[error("{key}: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What its value should have been.
        expected: &'static str,
    },
    /// A key with something that is no WireGuard key.
    #[error("{key}: {source}")]
    Key {
        /// The key of the line.
        key: &'static str,
        /// What is wrong with the value.
        source: KeyError,
    },
    /// A line longer than [`MAX_LINE`].
    #[error("a line of more than {MAX_LINE} bytes")]
    LineTooLong,
    /// More than [`MAX_REQUEST`](super::MAX_REQUEST).
    #[error("a request that takes more than {} bytes", super::MAX_REQUEST)]
    RequestTooLong,
    /// `get=1` was followed by something else than an empty line.
    #[error("`get=1` takes no further lines")]
    GetWithLines,
}

impl Malformed {
    /// How it is told to the client.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoEquals => Errno::Protocol,
            Self::UnknownKey { .. } | Self::Value { .. } | Self::Key { .. } | Self::GetWithLines => {
                Errno::Invalid
            }
            Self::LineTooLong => Errno::Io,
            Self::RequestTooLong => Errno::TooLong,
        }
    }
}

/// A line split at its first `=`.
pub(super) fn split(line: &[u8]) -> Result<(&str, &str), Malformed> {
    let at = line.iter().position(|byte| *byte == b'=').ok_or(Malformed::NoEquals)?;
    let (key, value) = (&line[..at], &line[at + 1..]);
    // What is no text is no value of any key either.
    Ok((str::from_utf8(key).unwrap_or("\u{fffd}"), str::from_utf8(value).unwrap_or("\u{fffd}")))
}

/// A line before the first peer.
pub(super) fn device(key: &str, value: &str) -> Result<Set, Malformed> {
    match key {
        "private_key" => secret(value).map(Set::PrivateKey),
        "listen_port" => Ok(Set::ListenPort(number("listen_port", value, "0 to 65535")?)),
        "fwmark" => Ok(Set::Fwmark(number("fwmark", value, "0 to 4294967295")?)),
        "replace_peers" => truth("replace_peers", value).map(|()| Set::ReplacePeers),
        "public_key" => Ok(Set::Peer(PeerSet::new(public(value)?))),
        _ => Err(unknown(key, "of a device")),
    }
}

/// A line behind a `public_key`, other than the next `public_key`. `zone` finds an interface's number by its name.
pub(super) fn peer(
    peer: &mut PeerSet,
    key: &str,
    value: &str,
    zone: fn(&str) -> Option<u32>,
) -> Result<(), Malformed> {
    match key {
        "remove" => truth("remove", value).map(|()| peer.remove = true),
        "update_only" => truth("update_only", value).map(|()| peer.update_only = true),
        "preshared_key" => {
            let psk = PresharedKey::from_hex(value);
            peer.psk = Some(psk.map_err(|source| Malformed::Key { key: "preshared_key", source })?);
            Ok(())
        }
        "endpoint" => endpoint(value, zone).map(|endpoint| peer.endpoint = Some(endpoint)),
        "persistent_keepalive_interval" => {
            peer.keepalive = Some(number("persistent_keepalive_interval", value, "0 to 65535 seconds")?);
            Ok(())
        }
        "replace_allowed_ips" => truth("replace_allowed_ips", value).map(|()| {
            peer.replace_allowed_ips = true;
            peer.allowed_ips.clear();
        }),
        "allowed_ip" => prefix(value).map(|prefix| peer.allowed_ips.push(prefix)),
        "protocol_version" if value == "1" => Ok(()),
        "protocol_version" => Err(Malformed::Value { key: "protocol_version", expected: "1" }),
        _ => Err(unknown(key, "of a peer")),
    }
}

fn secret(value: &str) -> Result<Option<NodeSecret>, Malformed> {
    match NodeSecret::from_hex(value) {
        Ok(secret) => Ok(Some(secret)),
        Err(KeyError::Zero) => Ok(None),
        Err(source) => Err(Malformed::Key { key: "private_key", source }),
    }
}

fn public(value: &str) -> Result<NodePublic, Malformed> {
    NodePublic::from_hex(value).map_err(|source| Malformed::Key { key: "public_key", source })
}

/// Digits and nothing else: no sign, no space.
fn number<T: FromStr>(key: &'static str, value: &str, expected: &'static str) -> Result<T, Malformed> {
    let bad = Malformed::Value { key, expected };
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad);
    }
    value.parse().map_err(|_| bad)
}

fn truth(key: &'static str, value: &str) -> Result<(), Malformed> {
    if value == "true" { Ok(()) } else { Err(Malformed::Value { key, expected: "true" }) }
}

fn prefix(value: &str) -> Result<PrefixSet, Malformed> {
    let expected = "an address, `/` and a length";
    let parse = |text: &str| {
        let net: IpNet = text.parse().map_err(|_| Malformed::Value { key: "allowed_ip", expected })?;
        Ok(net.trunc())
    };
    match value.strip_prefix('-') {
        Some(value) => parse(value).map(PrefixSet::Remove),
        None => parse(value).map(PrefixSet::Add),
    }
}

/// `192.0.2.1:51820`, `[2001:db8::1]:51820`, or with a zone `[fe80::1%eth0]:51820` (by name or number). No host names.
fn endpoint(value: &str, zone: fn(&str) -> Option<u32>) -> Result<SocketAddr, Malformed> {
    let bad = || Malformed::Value { key: "endpoint", expected: "an address and a port" };
    if let Ok(addr) = value.parse::<SocketAddr>() {
        return Ok(canonical(addr));
    }
    let (host, port) = value.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:")).ok_or_else(bad)?;
    let (host, name) = host.split_once('%').ok_or_else(bad)?;
    let ip: Ipv6Addr = host.parse().map_err(|_| bad())?;
    let scope = zone(name).ok_or_else(bad)?;
    let port = number("endpoint", port, "an address and a port")?;
    Ok(SocketAddrV6::new(ip, port, 0, scope).into())
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, addr.port()).into(),
        IpAddr::V6(_) => addr,
    }
}

/// Only what could be a key of some version is repeated: a secret in base64, say, also ends with a `=`.
fn unknown(key: &str, place: &'static str) -> Malformed {
    let is_word = key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    Malformed::UnknownKey { key: if is_word { key } else { "…" }.to_owned(), place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<PeerSet, Malformed> {
        let mut set = PeerSet::new(NodePublic::from_bytes([7; 32]));
        let (key, value) = split(line.as_bytes())?;
        peer(&mut set, key, value, |name| (name == "eth0").then_some(3))?;
        Ok(set)
    }

    fn parse_device(line: &str) -> Result<Set, Malformed> {
        let (key, value) = split(line.as_bytes())?;
        device(key, value)
    }

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(parse_device("listen_port=0"), Ok(Set::ListenPort(0)));
        assert_eq!(parse_device("listen_port=65535"), Ok(Set::ListenPort(65535)));
        assert_eq!(parse_device("fwmark=4294967295"), Ok(Set::Fwmark(u32::MAX)));
        for bad in ["", "65536", "+1", "-1", " 1", "1 ", "0x10", "1_0", "99999999999999999999"] {
            assert_eq!(
                parse_device(&format!("listen_port={bad}")).map_err(|e| e.errno()),
                Err(Errno::Invalid),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_private_key_of_zeros_takes_the_key_away() {
        assert_eq!(parse_device(&format!("private_key={}", "00".repeat(32))), Ok(Set::PrivateKey(None)));
        let key = NodeSecret::from_bytes([9; 32]);
        let line = format!("private_key={}", *key.to_hex());
        assert_eq!(
            parse_device(&line.to_uppercase().replace("PRIVATE_KEY", "private_key")),
            parse_device(&line)
        );
        assert_eq!(parse_device(&line), Ok(Set::PrivateKey(Some(key))));
        assert_eq!(parse_device("private_key=0011").map_err(|e| e.errno()), Err(Errno::Invalid));
    }

    #[test]
    fn endpoints_are_addresses_with_ports() {
        let endpoint =
            |text: &str| parse(&format!("endpoint={text}")).map(|set| set.endpoint.unwrap().to_string());
        assert_eq!(endpoint("192.0.2.1:51820").unwrap(), "192.0.2.1:51820");
        assert_eq!(endpoint("[2001:db8::1]:1").unwrap(), "[2001:db8::1]:1");
        assert_eq!(endpoint("[::ffff:192.0.2.1]:1").unwrap(), "192.0.2.1:1");
        assert_eq!(endpoint("[fe80::1%7]:1").unwrap(), "[fe80::1%7]:1");
        assert_eq!(endpoint("[fe80::1%eth0]:1").unwrap(), "[fe80::1%3]:1");
        for bad in
            ["", "example.com:1", "192.0.2.1", "192.0.2.1:", "[fe80::1%eth9]:1", "[fe80::1%eth0]:+1", "::1:1"]
        {
            assert_eq!(endpoint(bad).map_err(|e| e.errno()), Err(Errno::Invalid), "{bad}");
        }
    }

    #[test]
    fn prefixes_lose_their_host_bits_and_may_be_removed() {
        let one = |text: &str| parse(&format!("allowed_ip={text}")).map(|set| set.allowed_ips[0]);
        assert_eq!(one("10.1.2.3/8"), Ok(PrefixSet::Add("10.0.0.0/8".parse().unwrap())));
        assert_eq!(one("-fd00::1/128"), Ok(PrefixSet::Remove("fd00::1/128".parse().unwrap())));
        for bad in
            ["", "-", "10.0.0.1", "10.0.0.1/33", "10.0.0.0/+8", "--10.0.0.0/8", "fe80::1%eth0/64", "::/129"]
        {
            assert_eq!(one(bad).map_err(|e| e.errno()), Err(Errno::Invalid), "{bad}");
        }
    }

    #[test]
    fn flags_are_true_or_wrong() {
        for key in ["remove", "update_only", "replace_allowed_ips"] {
            assert!(parse(&format!("{key}=true")).is_ok());
            for bad in ["false", "1", "TRUE", ""] {
                assert_eq!(parse(&format!("{key}={bad}")).map_err(|e| e.errno()), Err(Errno::Invalid));
            }
        }
        assert_eq!(parse_device("replace_peers=true"), Ok(Set::ReplacePeers));
        assert_eq!(parse_device("replace_peers=no").map_err(|e| e.errno()), Err(Errno::Invalid));
        assert!(parse("protocol_version=1").is_ok());
        assert_eq!(parse("protocol_version=2").map_err(|e| e.errno()), Err(Errno::Invalid));
    }

    #[test]
    fn a_key_means_something_only_where_it_belongs() {
        assert_eq!(parse("listen_port=1").map_err(|e| e.errno()), Err(Errno::Invalid));
        assert_eq!(parse_device("endpoint=192.0.2.1:1").map_err(|e| e.errno()), Err(Errno::Invalid));
        assert_eq!(parse("nonsense").map_err(|e| e.errno()), Err(Errno::Protocol));
        assert_eq!(parse("=").map_err(|e| e.errno()), Err(Errno::Invalid));
    }

    #[test]
    fn a_wrong_secret_is_not_repeated_in_the_error() {
        let error = parse_device("private_key=deadbeefdeadbeefdeadbeef").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("deadbeef"));
        let error = parse("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=").unwrap_err();
        assert_eq!(error.to_string(), "`…` is no key of a peer");
        assert_eq!(parse("new_key=1").unwrap_err().to_string(), "`new_key` is no key of a peer");
    }
}
