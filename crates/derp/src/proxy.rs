//! Which relays are reached through an HTTP proxy: what `HTTPS_PROXY` and `NO_PROXY` say, read once.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// An HTTP proxy that is asked to `CONNECT`.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    authorization: Option<Zeroizing<String>>,
}

/// Which host is reached through a proxy.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Proxies {
    proxy: Option<Proxy>,
    direct: Vec<Direct>,
}

/// Why a proxy setting cannot be used. The configuration is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyError {
    /// A scheme other than `http`.
    #[error("only http:// proxies are supported")]
    Scheme,
    /// No host, or no port number.
    #[error("a proxy is http://[user:password@]host[:port]")]
    Form,
}

/// Hosts that are reached without the proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Direct {
    All,
    /// Hosts on this machine.
    Local,
    Ip(IpAddr, Option<u16>),
    Net(IpAddr, u8),
    /// A domain and all below it; with a leading dot only those below.
    Domain(String, Option<u16>),
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; the scheme may be left out, the port is 80 then and else (as curl and Go do
    /// for `http`). User and password are percent-decoded.
    ///
    /// # Errors
    /// [`ProxyError`]; the text itself is not repeated, for it may hold a password.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let rest = match text.trim().split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyError::Scheme),
            None => text.trim(),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let (host, port) = split_port(place).ok_or(ProxyError::Form)?;
        let proper = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(proper) {
            return Err(ProxyError::Form);
        }
        let authorization = user.map(|user| {
            let user = Zeroizing::new(percent_decoded(user));
            Zeroizing::new(format!("Basic {}", STANDARD.encode(&*user)))
        });
        Ok(Self { host: host.to_owned(), port: port.unwrap_or(80), authorization })
    }

    /// The request for a tunnel to `host` and `port`.
    #[must_use]
    pub fn connect_request(&self, host: &str, port: u16) -> Zeroizing<String> {
        let mut request =
            Zeroizing::new(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"));
        if let Some(authorization) = &self.authorization {
            request.push_str("Proxy-Authorization: ");
            request.push_str(authorization);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request
    }
}

impl Proxies {
    /// Every host directly.
    #[must_use]
    pub const fn none() -> Self {
        Self { proxy: None, direct: Vec::new() }
    }

    /// Every host through that proxy, those on this machine too.
    #[must_use]
    pub const fn always(proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), direct: Vec::new() }
    }

    /// What `HTTPS_PROXY` and `NO_PROXY` say: hosts on this machine always directly, and those that `no_proxy` lists
    /// (`*`, addresses, networks as `10.0.0.0/8`, domains with all below them, each perhaps with a port; as Go does).
    ///
    /// # Errors
    /// [`ProxyError`] for the proxy. What is not understood in `no_proxy` is ignored.
    pub fn from_settings(https_proxy: &str, no_proxy: &str) -> Result<Self, ProxyError> {
        if https_proxy.trim().is_empty() {
            return Ok(Self::none());
        }
        let listed = no_proxy.split([',', ' ']).filter_map(|entry| Direct::parse(entry.trim()));
        let direct = std::iter::once(Direct::Local).chain(listed).collect();
        Ok(Self { proxy: Some(Proxy::parse(https_proxy)?), direct })
    }

    /// The proxy through which `host` is reached, if any.
    #[must_use]
    pub fn proxy_for(&self, host: &str, port: u16) -> Option<&Proxy> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        self.proxy.as_ref().filter(|_| !self.direct.iter().any(|direct| direct.covers(&host, port)))
    }
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((ip, bits)) = entry.split_once('/') {
            return Some(Self::Net(ip.parse().ok()?, bits.parse().ok()?));
        }
        let (host, port) = split_port(entry)?;
        let host = host.strip_prefix('*').unwrap_or(host).trim_end_matches('.').to_ascii_lowercase();
        match host.parse() {
            Ok(ip) => Some(Self::Ip(ip, port)),
            Err(_) if host.is_empty() => None,
            Err(_) => Some(Self::Domain(host, port)),
        }
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let ip = host.parse::<IpAddr>().ok();
        let on_port = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Local => host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()),
            Self::Ip(wanted, wanted_port) => ip == Some(*wanted) && on_port(wanted_port),
            Self::Net(net, bits) => ip.is_some_and(|ip| in_net(ip, *net, *bits)),
            Self::Domain(domain, wanted_port) => {
                let below =
                    |domain: &str| host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'));
                let covered = match domain.strip_prefix('.') {
                    Some(domain) => below(domain),
                    None => host == domain || below(domain),
                };
                covered && on_port(wanted_port)
            }
        }
    }
}

/// Host and port, an IPv6 address with or without brackets; `None` if what stands for the port is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?.parse().ok()?) };
        return Some((host, port));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port.parse().ok()?))),
        _ => Some((text, None)),
    }
}

fn in_net(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let ((a, wide), (b, net_wide)) = (number(ip), number(net));
    let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
    wide == net_wide && bits <= wide && a & mask == b & mask
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = (byte == b'%').then(|| Some((hex_digit(ahead.next()?)?, hex_digit(ahead.next()?)?)));
        if let Some(Some((high, low))) = pair {
            decoded.push(high << 4 | low);
            bytes = ahead;
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(no_proxy: &str, host: &str, port: u16) -> bool {
        Proxies::from_settings("http://proxy:3128", no_proxy).unwrap().proxy_for(host, port).is_some()
    }

    #[test]
    fn trap_connect_asks_for_the_port_of_the_node() {
        let proxy = Proxy::parse("http://us%40er:p%3Aw@proxy.example:8080/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 8080));
        let basic = STANDARD.encode("us@er:p:w");
        let expected = format!(
            "CONNECT derp.example:8443 HTTP/1.1\r\nHost: derp.example:8443\r\nProxy-Authorization: Basic {basic}\r\n\r\n"
        );
        assert_eq!(proxy.connect_request("derp.example", 8443).as_str(), expected);
        assert!(!format!("{proxy:?}").contains("Basic"));
    }

    #[test]
    fn forms_of_a_proxy() {
        for (text, host, port) in [
            ("proxy", "proxy", 80),
            ("proxy:3128", "proxy", 3128),
            ("HTTP://10.0.0.1", "10.0.0.1", 80),
            ("http://[::1]:8080", "::1", 8080),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
        }
        assert_eq!(Proxy::parse("https://proxy"), Err(ProxyError::Scheme));
        assert_eq!(Proxy::parse("socks5://proxy"), Err(ProxyError::Scheme));
        for text in ["", "http://", "http://:80", "proxy:x", "proxy:70000", "pro xy", "a\r\nb"] {
            assert_eq!(Proxy::parse(text), Err(ProxyError::Form), "{text}");
        }
    }

    #[test]
    fn who_is_reached_directly() {
        assert!(through("", "derp.example", 443));
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"] {
            assert!(!through("", host, 443), "{host}");
        }
        for (no_proxy, host, port, expected) in [
            ("*", "derp.example", 443, false),
            ("example", "derp.example", 443, false),
            ("derp.example", "DERP.example.", 443, false),
            (".derp.example", "derp.example", 443, true),
            (".example", "derp.example", 443, false),
            ("*.example", "derp.example", 443, false),
            ("ample", "derp.example", 443, true),
            ("other, derp.example:8443", "derp.example", 443, true),
            ("other, derp.example:8443", "derp.example", 8443, false),
            ("10.0.0.0/8", "10.200.3.4", 443, false),
            ("10.0.0.0/8", "11.0.0.1", 443, true),
            ("10.0.0.0/99", "10.0.0.1", 443, true),
            ("0.0.0.0/0", "8.8.8.8", 443, false),
            ("0.0.0.0/0", "2001:db8::1", 443, true),
            ("2001:db8::/32", "2001:db8::1", 443, false),
            ("192.0.2.1", "192.0.2.1", 443, false),
            ("[2001:db8::1]:443", "2001:db8::1", 443, false),
        ] {
            assert_eq!(through(no_proxy, host, port), expected, "{no_proxy} {host}:{port}");
        }
    }

    #[test]
    fn no_proxy_at_all() {
        assert!(Proxies::from_settings(" ", "*").unwrap().proxy_for("x", 1).is_none());
        assert!(Proxies::always(Proxy::parse("p").unwrap()).proxy_for("127.0.0.1", 1).is_some());
    }
}
