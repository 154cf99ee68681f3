//! What clients are told of where a relay is: never an address or a port that only the relay itself can use.

use std::net::{IpAddr, SocketAddr};

use tidewire_derp::{
    RegionId,
    region::{CertName, DEFAULT_DERP_PORT, Family, Region, RegionNode},
};

/// The port of plain HTTP.
const HTTP_PORT: u16 = 80;

/// Where a relay listens, and what its configuration says of how it is reached.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) addr: SocketAddr,
    pub(crate) stun: Option<SocketAddr>,
    /// Plain HTTP beside it.
    pub(crate) http: Option<SocketAddr>,
    /// `None`: the address it listens on.
    pub(crate) host: Option<String>,
    /// `None`: the port it listens on, or that of HTTPS where a proxy is in front.
    pub(crate) public_port: Option<u16>,
    /// How clients check its certificate; `None`: it has none.
    pub(crate) cert_name: Option<CertName>,
}

impl Place {
    /// Whether clients reach a proxy that speaks TLS, and the relay, without TLS, is behind it.
    pub(crate) fn is_behind_proxy(&self) -> bool {
        self.cert_name.is_none() && (self.public_port.is_some() || !self.is_where_it_listens())
    }

    pub(crate) fn region(&self, id: RegionId) -> Region {
        let ip = self.ip();
        let host = self.host.clone().unwrap_or_else(|| ip.to_string());
        let mut node = RegionNode::new(format!("{id}a"), host);
        let is_behind_proxy = self.is_behind_proxy();
        // Where the host is a name and its address is certain, nobody needs to ask DNS.
        let is_certain = if ip.is_loopback() { self.is_where_it_listens() } else { is_global(ip) };
        if node.host_ip().is_none() && is_certain && !is_behind_proxy {
            (node.ipv4, node.ipv6) = match ip {
                IpAddr::V4(ip) => (Family::Address(ip), Family::Off),
                IpAddr::V6(ip) => (Family::Off, Family::Address(ip)),
            };
        }
        let own_port = if is_behind_proxy { DEFAULT_DERP_PORT } else { self.addr.port() };
        node.derp_port = self.public_port.unwrap_or(own_port);
        node.stun_port = self.stun.map(|addr| addr.port());
        node.can_port_80 = self.http.is_some_and(|addr| addr.port() == HTTP_PORT);
        node.plain = self.cert_name.is_none() && !is_behind_proxy;
        node.cert_name = self.cert_name.clone().unwrap_or_default();
        Region::new(id, format!("relay-{id}"), vec![node])
    }

    fn ip(&self) -> IpAddr {
        self.addr.ip().to_canonical()
    }

    /// Whether the host is no other machine than this one: the very address that it listens on, one of all, or this machine's
    /// own name for itself.
    fn is_where_it_listens(&self) -> bool {
        let Some(host) = self.host.as_deref() else { return true };
        let ip = self.ip();
        match RegionNode::new("", host).host_ip() {
            Some(host) => host == ip || ip.is_unspecified(),
            None => host == "localhost" && ip.is_loopback(),
        }
    }
}

/// Whether an address means the same machine wherever it is used.
const fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && b & 0xc0 == 64;
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(listen: &str, host: Option<&str>, cert_name: Option<CertName>) -> Place {
        let host = host.map(str::to_owned);
        let addr = listen.parse().unwrap();
        Place { addr, stun: None, http: None, host, public_port: None, cert_name }
    }

    fn node(place: &Place) -> RegionNode {
        place.region(RegionId(900)).nodes.remove(0)
    }

    fn pin() -> Option<CertName> {
        Some(CertName::Pin([1; 32]))
    }

    const NAME: Option<&str> = Some("relay.example.net");

    #[test]
    fn a_name_comes_with_the_address_only_where_that_holds_for_everybody() {
        let by_name = |listen| {
            let node = node(&place(listen, NAME, pin()));
            assert_eq!((node.host_name.as_str(), node.derp_port), ("relay.example.net", 443));
            (node.ipv4, node.ipv6)
        };
        let global = "198.51.100.7:443";
        assert_eq!(by_name(global), (Family::Address([198, 51, 100, 7].into()), Family::Off));
        assert_eq!(
            by_name("[2001:db8::1]:443"),
            (Family::Off, Family::Address("2001:db8::1".parse().unwrap()))
        );
        for listen in [
            "10.0.0.5:443",
            "172.16.3.4:443",
            "100.64.0.1:443",
            "169.254.1.1:443",
            "127.0.0.1:443",
            "0.0.0.0:443",
            "[::]:443",
            "[fd00::1]:443",
            "[fe80::1]:443",
            "[::ffff:10.0.0.5]:443",
        ] {
            assert_eq!(by_name(listen), (Family::Resolve, Family::Resolve), "{listen}");
        }
    }

    /// In a laboratory, in a namespace, on this machine.
    #[test]
    fn an_address_that_is_the_host_is_all_that_is_said() {
        for listen in ["10.77.0.1:3443", "127.0.0.1:3443"] {
            for host in [None, listen.split_once(':').map(|(ip, _)| ip)] {
                let node = node(&place(listen, host, pin()));
                assert_eq!(Some(node.host_name.as_str()), listen.split_once(':').map(|(ip, _)| ip));
                assert_eq!((node.ipv4, node.ipv6), (Family::Resolve, Family::Resolve));
                assert_eq!((node.derp_port, node.plain), (3443, false));
            }
        }
        let local = node(&place("127.0.0.1:3443", Some("localhost"), pin()));
        assert_eq!((local.ipv4, local.ipv6), (Family::Address([127, 0, 0, 1].into()), Family::Off));
    }

    #[test]
    fn behind_a_proxy_the_proxys_port_and_tls_are_told() {
        for listen in ["127.0.0.1:3340", "0.0.0.0:3340", "198.51.100.7:3340"] {
            let place = place(listen, NAME, None);
            assert!(place.is_behind_proxy());
            let node = node(&place);
            assert_eq!((node.derp_port, node.plain, node.cert_name), (443, false, CertName::HostName));
            assert_eq!((node.ipv4, node.ipv6), (Family::Resolve, Family::Resolve));
        }
        let proxied = Place { public_port: Some(8443), ..place("127.0.0.1:3340", NAME, None) };
        assert_eq!(node(&proxied).derp_port, 8443);
        for (listen, host) in [
            ("127.0.0.1:3340", None),
            ("127.0.0.1:3340", Some("127.0.0.1")),
            ("127.0.0.1:3340", Some("localhost")),
            ("0.0.0.0:3340", Some("10.0.0.5")),
        ] {
            let place = place(listen, host, None);
            assert!(!place.is_behind_proxy(), "{listen} {host:?}");
            assert_eq!((node(&place).derp_port, node(&place).plain), (3340, true));
        }
    }

    #[test]
    fn a_forwarded_port_is_told() {
        let forwarded = Place { public_port: Some(443), ..place("10.0.0.5:8443", NAME, pin()) };
        assert!(!forwarded.is_behind_proxy());
        assert_eq!((node(&forwarded).derp_port, node(&forwarded).cert_name), (443, pin().unwrap()));
    }

    #[test]
    fn plain_http_counts_only_on_its_own_port() {
        for (http, counts) in [("0.0.0.0:80", true), ("0.0.0.0:8080", false)] {
            let http = Some(http.parse().unwrap());
            assert_eq!(node(&Place { http, ..place("0.0.0.0:443", NAME, pin()) }).can_port_80, counts);
        }
    }
}
