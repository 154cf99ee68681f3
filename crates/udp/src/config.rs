//! What the sockets are asked to be.

use std::net::{Ipv4Addr, Ipv6Addr};

/// How to bind. [`Config::default`] is any free port, both families, offload where the system has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// UDP port of both sockets; 0 for one that is free in both families.
    pub port: u16,
    /// Local IPv4 address; `None` for no IPv4. A host without IPv4 is no error where this is `UNSPECIFIED`.
    pub v4: Option<Ipv4Addr>,
    /// Local IPv6 address; `None` for no IPv6. A host without IPv6 is no error where this is `UNSPECIFIED`.
    pub v6: Option<Ipv6Addr>,
    /// Bytes of kernel memory for datagrams not yet received, per socket. Beyond the system's limit only if the process
    /// may (`SO_RCVBUFFORCE`), else what the system allows.
    pub receive_buffer: usize,
    /// Bytes of kernel memory for datagrams not yet sent, per socket, with the same limits.
    pub send_buffer: usize,
    /// Whether equal datagrams may leave in one call (`UDP_SEGMENT`).
    pub gso: bool,
    /// Whether the kernel may hand over coalesced datagrams (`UDP_GRO`).
    pub gro: bool,
    /// The mark of outgoing datagrams (`SO_MARK`), for policy routing; 0 for none. Linux only.
    pub mark: u32,
}

/// Bytes of socket buffer asked for, each way: about 50 ms at 1 Gbit/s, and what wireguard-go and Tailscale ask for.
const BUFFER: usize = 7 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            v4: Some(Ipv4Addr::UNSPECIFIED),
            v6: Some(Ipv6Addr::UNSPECIFIED),
            receive_buffer: BUFFER,
            send_buffer: BUFFER,
            gso: true,
            gro: true,
            mark: 0,
        }
    }
}
