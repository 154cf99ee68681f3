//! Which sockets are opened on which port, and what to do where a family or a port is missing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::{config::Config, options, socket::Socket};

/// A socket for each family that the configuration and the system have; at least one.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) v4: Option<Socket>,
    pub(crate) v6: Option<Socket>,
}

/// How often another port is tried when the one that was free for IPv4 is taken for IPv6.
const TRIES: usize = 32;

impl Sockets {
    /// Neither: what is left when a rebind fails.
    pub(crate) const NONE: Self = Self { v4: None, v6: None };

    /// Opens both families on `port`, which overrides the configuration's.
    pub(crate) fn open(config: &Config, port: u16) -> io::Result<Self> {
        if config.v4.is_none() && config.v6.is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither IPv4 nor IPv6 is wanted"));
        }
        for _ in 0..TRIES {
            match Self::on_one_port(config, port) {
                Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        // Two ports serve, one is only nicer.
        Self::of(open(config, config.v4, 0)?, open(config, config.v6, 0)?)
    }

    fn on_one_port(config: &Config, port: u16) -> io::Result<Self> {
        let v4 = open(config, config.v4, port)?;
        let port = v4.as_ref().map_or(port, |socket| socket.local().port());
        Self::of(v4, open(config, config.v6, port)?)
    }

    fn of(v4: Option<Socket>, v6: Option<Socket>) -> io::Result<Self> {
        if v4.is_none() && v6.is_none() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this system has neither IPv4 nor IPv6"));
        }
        Ok(Self { v4, v6 })
    }
}

/// `None` where the address is not wanted, or is a wildcard of a family that the system does not have.
fn open(config: &Config, ip: Option<impl Into<IpAddr>>, port: u16) -> io::Result<Option<Socket>> {
    let Some(ip) = ip.map(Into::into) else { return Ok(None) };
    match open_one(config, SocketAddr::new(ip, port)) {
        Err(error) if ip.is_unspecified() && is_missing_family(&error) => Ok(None),
        result => result.map(Some),
    }
}

fn open_one(config: &Config, local: SocketAddr) -> io::Result<Socket> {
    let socket = RawSocket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    options::before_bind(&socket, config)?;
    socket.bind(&local.into())?;
    Socket::adopt(socket, config)
}

/// Whether the system does not have the address family at all, as when IPv6 was disabled at boot.
fn is_missing_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    const CODES: [i32; 3] = [libc::EAFNOSUPPORT, libc::EPFNOSUPPORT, libc::EADDRNOTAVAIL];
    // WSAEAFNOSUPPORT, WSAEPFNOSUPPORT, WSAEADDRNOTAVAIL
    #[cfg(not(unix))]
    const CODES: [i32; 3] = [10047, 10046, 10049];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}
