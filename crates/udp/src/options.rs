//! Which socket options differ from what the system or quinn-udp sets.

use std::io;

use socket2::Socket;

use crate::config::Config;

/// What is set before binding: buffers and the mark.
pub(crate) fn before_bind(socket: &Socket, config: &Config) -> io::Result<()> {
    enlarge(socket, config);
    set_mark(socket, config.mark)
}

/// What is set last, because quinn-udp sets it otherwise when it takes a socket over: whether the kernel may fragment,
/// and what it reports with each datagram.
pub(crate) fn after_adoption(socket: &Socket, v6: bool, config: &Config) -> io::Result<()> {
    imp::let_fragment(socket, v6)?;
    imp::silence(socket, v6);
    if !config.gro {
        imp::no_gro(socket)?;
    }
    Ok(())
}

/// Sets the mark of outgoing datagrams.
pub(crate) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // Reading needs no privilege; setting what is set anyway would.
        if socket.mark()? == mark { Ok(()) } else { socket.set_mark(mark) }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = socket;
        if mark == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }
}

// A system that grants less is slower, not wrong: errors are of no interest.
fn enlarge(socket: &Socket, config: &Config) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::net::sockopt;
        if sockopt::set_socket_recv_buffer_size_force(socket, config.receive_buffer).is_ok()
            && sockopt::set_socket_send_buffer_size_force(socket, config.send_buffer).is_ok()
        {
            return;
        }
    }
    let _ = socket.set_recv_buffer_size(config.receive_buffer);
    let _ = socket.set_send_buffer_size(config.send_buffer);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    //! Linux and Android.

    use std::io;

    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    use socket2::Socket;

    use super::set;

    pub(super) fn let_fragment(socket: &Socket, v6: bool) -> io::Result<()> {
        if v6 {
            sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?;
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
        } else {
            Ok(sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?)
        }
    }

    // Each of these costs a control message for every datagram, and the timestamp a reading of the clock; nobody here
    // looks at them. What cannot be switched off costs time only.
    pub(super) fn silence(socket: &Socket, v6: bool) {
        let _ = set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0);
        if v6 {
            let _ = set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 0);
            let _ = set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 0);
        } else {
            let _ = set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 0);
            let _ = set(socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 0);
        }
    }

    pub(super) fn no_gro(socket: &Socket) -> io::Result<()> {
        match set(socket, libc::SOL_UDP, libc::UDP_GRO, 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            result => result,
        }
    }
}

#[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
mod imp {
    //! Apple's systems and FreeBSD, where IPv4 and IPv6 have an option each.

    use std::io;

    use socket2::Socket;

    use super::set;

    pub(super) fn let_fragment(socket: &Socket, v6: bool) -> io::Result<()> {
        if v6 {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
        } else {
            set(socket, libc::IPPROTO_IP, libc::IP_DONTFRAG, 0)
        }
    }

    pub(super) fn silence(_: &Socket, _: bool) {}

    pub(super) fn no_gro(_: &Socket) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd"
)))]
mod imp {
    //! Elsewhere quinn-udp's choice stands.

    use std::io;

    use socket2::Socket;

    pub(super) fn let_fragment(_: &Socket, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn silence(_: &Socket, _: bool) {}

    pub(super) fn no_gro(_: &Socket) -> io::Result<()> {
        Ok(())
    }
}

/// Sets an option that no library offers.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd"
))]
fn set(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    const LEN: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open while `socket` is borrowed; the pointer is to an int that outlives the call, and the
    // length given is that int's, of which the kernel only reads.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), LEN) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
