//! Which sockets a relay listens on, bound before its thread starts so that a failure is known at once.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::config::{Config, StartError};

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// What a relay listens on, and where.
pub(crate) struct Sockets {
    pub(crate) listener: TcpListener,
    pub(crate) addr: SocketAddr,
    pub(crate) stun: Option<UdpSocket>,
    pub(crate) stun_addr: Option<SocketAddr>,
    /// For the page with the relay's numbers.
    pub(crate) page: Option<TcpListener>,
    pub(crate) page_addr: Option<SocketAddr>,
    /// For the check for captive portals.
    pub(crate) http: Option<TcpListener>,
    pub(crate) http_addr: Option<SocketAddr>,
}

impl Sockets {
    pub(crate) fn bind(config: &Config) -> Result<Self, StartError> {
        let (listener, addr) = listen(config.listen)?;
        let (stun, stun_addr) = config.stun.map(bind_udp).transpose()?.unzip();
        let (page, page_addr) = config.metrics.map(listen).transpose()?.unzip();
        let (http, http_addr) = config.http.map(listen).transpose()?.unzip();
        Ok(Self { listener, addr, stun, stun_addr, page, page_addr, http, http_addr })
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = || {
        let socket = socket(address, Type::STREAM, Protocol::TCP)?;
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|source| StartError::Listen { protocol: "TCP", address, source })
}

fn bind_udp(address: SocketAddr) -> Result<(UdpSocket, SocketAddr), StartError> {
    let bind = || {
        let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
        socket.bind(&SockAddr::from(address))?;
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    bind().map_err(|source| StartError::Listen { protocol: "UDP", address, source })
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
