//! The HTTP/1.1 around a stream: what the upgrade asks for, and what an answer's head says.

use std::net::IpAddr;

use super::limits::HEAD_LINES;
use crate::region::{Region, RegionNode};

/// The path under which relays speak DERP.
pub const DERP_PATH: &str = "/derp";

/// The request that turns a stream into DERP. `Host` is the bare host name, whatever address and port were dialed (as
/// Tailscale does).
pub(crate) fn upgrade_request(region: &Region, node: usize, fast_start: bool) -> String {
    let host = region.nodes.get(node).map(host).unwrap_or_default();
    let mut request =
        format!("GET {DERP_PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n");
    if let Some(ideal) = ideal_node(region, node) {
        request.push_str(&format!("Ideal-Node: {ideal}\r\n"));
    }
    if fast_start {
        request.push_str("Derp-Fast-Start: 1\r\n");
    }
    request.push_str("\r\n");
    request
}

/// What `Host` says: an IPv6 address in brackets (RFC 9110, section 7.2).
pub(crate) fn host(node: &RegionNode) -> String {
    match node.host_ip() {
        Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => node.host_name.clone(),
    }
}

/// The node that we would rather be on, for the relay's statistics.
fn ideal_node(region: &Region, node: usize) -> Option<&str> {
    let first = region.nodes.first().filter(|_| node > 0)?;
    let printable = first.name.bytes().all(|byte| byte.is_ascii_graphic());
    (printable && !first.name.is_empty()).then_some(first.name.as_str())
}

/// The head of a response, as far as anyone here looks at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The value of `Upgrade`; empty if there is none.
    pub(crate) upgrade: String,
    /// Bytes of the head. What follows belongs to the stream.
    pub(crate) len: usize,
}

/// What stands at the front of `bytes` is no head of an HTTP/1 response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotHttp;

/// Reads the head of a response; `None` if it is not whole yet.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<Head>, NotHttp> {
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
    let mut response = httparse::Response::new(&mut lines);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(NotHttp),
    };
    let upgrade = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("upgrade"));
    let upgrade = upgrade.map(|header| String::from_utf8_lossy(header.value).trim().to_owned());
    Ok(Some(Head { status: response.code.ok_or(NotHttp)?, upgrade: upgrade.unwrap_or_default(), len }))
}

#[cfg(test)]
mod tests {
    use tidewire_transport::RegionId;

    use super::*;

    #[test]
    fn trap_the_host_is_the_host_name_whatever_was_dialed() {
        let node = RegionNode {
            ipv4: crate::region::Family::Address("192.0.2.1".parse().unwrap()),
            derp_port: 8443,
            ..RegionNode::new("1b", "derp.example")
        };
        let region = Region::new(RegionId(1), "x", vec![RegionNode::new("1a", "other.example"), node]);
        let expected = "GET /derp HTTP/1.1\r\nHost: derp.example\r\nConnection: Upgrade\r\nUpgrade: DERP\r\nIdeal-Node: 1a\r\n";
        assert_eq!(upgrade_request(&region, 1, false), format!("{expected}\r\n"));
        assert_eq!(upgrade_request(&region, 1, true), format!("{expected}Derp-Fast-Start: 1\r\n\r\n"));
        assert!(!upgrade_request(&region, 0, false).contains("Ideal-Node"));
    }

    #[test]
    fn an_ipv6_host_has_brackets_and_a_name_cannot_end_its_line() {
        assert_eq!(host(&RegionNode::new("a", "2001:db8::1")), "[2001:db8::1]");
        let nodes = vec![RegionNode::new("a\r\nX: y", "h"), RegionNode::new("b", "h")];
        assert!(!upgrade_request(&Region::new(RegionId(1), "x", nodes), 1, false).contains("X: y"));
    }

    #[test]
    fn a_head_is_found_at_its_end_and_not_before() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: derp \r\nDerp-Version: 2\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse_head(&head[..cut]), Ok(None), "{cut}");
        }
        let mut stream = head.to_vec();
        stream.extend([1, 0, 0, 0, 40]);
        let expected = Head { status: 101, upgrade: "derp".to_owned(), len: head.len() };
        assert_eq!(parse_head(&stream), Ok(Some(expected)));
    }

    #[test]
    fn what_is_not_http_is_seen_at_once() {
        assert_eq!(parse_head(&[0, 0, 0x12, 4, 0, 0, 0, 0, 0]), Err(NotHttp));
        assert_eq!(parse_head(b"SSH-2.0-x\r\n"), Err(NotHttp));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEAD_LINES + 1));
        assert_eq!(parse_head(many.as_bytes()), Err(NotHttp));
    }
}
