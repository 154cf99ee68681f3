//! What is asked of, and heard from, Linux about interfaces: rtnetlink messages (RFC 3549) and the socket they travel by.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
    sockopt,
};

/// Room for one datagram of answers; the kernel's are at most half of it.
pub(crate) const DATAGRAM: usize = 64 * 1024;

// Message kinds and flags of linux/netlink.h and linux/rtnetlink.h.
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RTMGRP_LINK: u32 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_NEW_NETNSID: u16 = 45;
const IFLA_TARGET_NETNSID: u16 = 46;
const IFLA_NEW_IFINDEX: u16 = 49;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const IFF_UP: u32 = 1;

const HEADER: usize = 16;

/// Where an interface is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The network namespace by the number that the asking one has for it; `None` for the asking one itself.
    pub(crate) namespace: Option<i32>,
    pub(crate) index: u32,
}

/// What the kernel said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// How an interface is.
    Link { place: Place, is_up: bool, mtu: Option<u32> },
    /// An interface is no more.
    Gone { index: u32 },
    /// An interface is in another network namespace.
    Moved { index: u32, to: Place },
    /// What a request led to: zero, or an error's number.
    Result(i32),
    /// Something else.
    Other,
}

/// A socket that hears of every change of an interface in this network namespace, non-blocking.
pub(crate) fn listener() -> io::Result<OwnedFd> {
    open(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, RTMGRP_LINK)
}

/// Asks how the interface at `place` is. The answer comes by the socket: a [`Said::Link`], or a [`Said::Result`] if there is none.
pub(crate) fn ask(socket: impl AsFd, place: Place) -> io::Result<()> {
    let mut link = [0; 16];
    link[4..8].copy_from_slice(&place.index.to_ne_bytes());
    let namespace = place.namespace.map(i32::to_ne_bytes);
    let namespace = namespace.as_ref().map(|number| (IFLA_TARGET_NETNSID, &number[..]));
    send(socket, &request(RTM_GETLINK, 0, &link, namespace.as_slice()), SendFlags::empty())?;
    Ok(())
}

/// Adds an address to interface `index`.
pub(crate) fn add_address(index: u32, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
    transact(&address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, ip, prefix_len))
}

/// Removes an address from interface `index`.
pub(crate) fn remove_address(index: u32, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
    transact(&address(RTM_DELADDR, 0, index, ip, prefix_len))
}

/// Routes a prefix through interface `index`.
pub(crate) fn add_route(index: u32, prefix: IpAddr, prefix_len: u8) -> io::Result<()> {
    transact(&route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, index, prefix, prefix_len))
}

/// Removes the route of a prefix through interface `index`.
pub(crate) fn remove_route(index: u32, prefix: IpAddr, prefix_len: u8) -> io::Result<()> {
    transact(&route(RTM_DELROUTE, 0, index, prefix, prefix_len))
}

/// What the messages in a datagram say, in order. Bytes that are no whole message end it.
pub(crate) fn said(datagram: &[u8]) -> impl Iterator<Item = Said> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let body = rest.get(HEADER..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(read(kind, body).unwrap_or(Said::Other))
    })
}

fn read(kind: u16, body: &[u8]) -> Option<Said> {
    let number = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
    let attribute = |wanted| attribute(body.get(16..)?, wanted)?.first_chunk().copied();
    match kind {
        RTM_NEWLINK => {
            let namespace = attribute(IFLA_TARGET_NETNSID).map(i32::from_ne_bytes);
            let mtu = attribute(IFLA_MTU).map(u32::from_ne_bytes);
            Some(Said::Link {
                place: Place { namespace, index: number(4)? },
                is_up: number(8)? & IFF_UP != 0,
                mtu,
            })
        }
        // The namespace that an interface leaves is told that it is gone, and where it went.
        RTM_DELLINK => {
            let index = number(4)?;
            let Some(namespace) = attribute(IFLA_NEW_NETNSID) else { return Some(Said::Gone { index }) };
            let namespace = Some(i32::from_ne_bytes(namespace));
            let new_index = attribute(IFLA_NEW_IFINDEX).map_or(index, u32::from_ne_bytes);
            Some(Said::Moved { index, to: Place { namespace, index: new_index } })
        }
        NLMSG_ERROR => Some(Said::Result(number(0)?.cast_signed().saturating_neg())),
        _ => None,
    }
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

fn address(kind: u16, flags: u16, index: u32, ip: IpAddr, prefix_len: u8) -> Vec<u8> {
    let (family, ip_bytes) = parts(ip);
    // Nobody else can have the address: there is no link on which to ask.
    let mut body = vec![family, prefix_len, IFA_F_NODAD, RT_SCOPE_UNIVERSE];
    body.extend(index.to_ne_bytes());
    request(kind, flags, &body, &[(IFA_LOCAL, &ip_bytes), (IFA_ADDRESS, &ip_bytes)])
}

fn route(kind: u16, flags: u16, index: u32, prefix: IpAddr, prefix_len: u8) -> Vec<u8> {
    let (family, ip_bytes) = parts(prefix);
    let scope = if prefix.is_ipv4() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let mut body = vec![family, prefix_len, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST];
    body.extend([0; 4]);
    request(kind, flags, &body, &[(RTA_DST, &ip_bytes), (RTA_OIF, &index.to_ne_bytes())])
}

fn parts(ip: IpAddr) -> (u8, Vec<u8>) {
    let (family, bytes) = match ip {
        IpAddr::V4(ip) => (AddressFamily::INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AddressFamily::INET6, ip.octets().to_vec()),
    };
    (family.as_raw() as u8, bytes)
}

/// A message of `kind` with a fixed part and attributes. The kernel answers with a result, or with what was asked for.
fn request(kind: u16, flags: u16, body: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message.extend(body);
    for (kind, value) in attributes {
        message.extend(u16::try_from(4 + value.len()).expect("addresses are short").to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(message.len()).expect("requests are short");
    let ack = if kind == RTM_GETLINK { 0 } else { NLM_F_ACK };
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | ack | flags).to_ne_bytes());
    message
}

/// Sends a request and waits for its result, which the kernel gives at once.
fn transact(request: &[u8]) -> io::Result<()> {
    let socket = open(SocketFlags::CLOEXEC, 0)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(5)))?;
    send(&socket, request, SendFlags::empty())?;
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let (len, _) = recv(socket.as_fd(), &mut datagram[..], RecvFlags::empty())?;
        for said in said(&datagram[..len]) {
            match said {
                Said::Result(0) => return Ok(()),
                Said::Result(code) => return Err(io::Error::from_raw_os_error(code)),
                _ => {}
            }
        }
    }
}

/// NETLINK_ROUTE is protocol zero: the one that is meant where none is named.
fn open(flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer about interface 7, with an MTU of 1420 behind an attribute of odd length, and further attributes.
    fn link(kind: u16, flags: u32, further: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [0; 16];
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body[8..12].copy_from_slice(&flags.to_ne_bytes());
        let mtu = 1420u32.to_ne_bytes();
        let attributes = [(3, &b"wg0xyz\0"[..]), (IFLA_MTU, &mtu)];
        request(kind, 0, &body, &[&attributes, further].concat())
    }

    #[test]
    fn links_are_read() {
        let (two, nine) = (2i32.to_ne_bytes(), 9u32.to_ne_bytes());
        let datagram = [
            link(RTM_NEWLINK, 0x1041, &[]),
            link(RTM_NEWLINK, 0x1040, &[(IFLA_TARGET_NETNSID, &two)]),
            link(RTM_DELLINK, 0, &[]),
            link(RTM_DELLINK, 0, &[(IFLA_NEW_NETNSID, &two), (IFLA_NEW_IFINDEX, &nine)]),
        ];
        let place = |namespace, index| Place { namespace, index };
        let expected = [
            Said::Link { place: place(None, 7), is_up: true, mtu: Some(1420) },
            Said::Link { place: place(Some(2), 7), is_up: false, mtu: Some(1420) },
            Said::Gone { index: 7 },
            Said::Moved { index: 7, to: place(Some(2), 9) },
        ];
        assert!(said(&datagram.concat()).eq(expected));
    }

    #[test]
    fn results_are_read() {
        let result = |code: i32| request(NLMSG_ERROR, 0, &[&code.to_ne_bytes()[..], &[0; 16]].concat(), &[]);
        let datagram = [result(0), result(-17), link(99, 0, &[])].concat();
        assert!(said(&datagram).eq([Said::Result(0), Said::Result(17), Said::Other]));
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        // Needs no privilege: the kernel looks for the interface first, or refuses for lack of privilege.
        assert!(add_address(u32::MAX / 2, [192, 0, 2, 1].into(), 32).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), len in 0u32..40, kind in 0u16..30) {
            let mut datagram = bytes;
            if datagram.len() > 6 {
                datagram[..4].copy_from_slice(&len.to_ne_bytes());
                datagram[4..6].copy_from_slice(&kind.to_ne_bytes());
            }
            prop_assert!(said(&datagram).count() <= datagram.len() / HEADER + 1);
        }
    }
}
