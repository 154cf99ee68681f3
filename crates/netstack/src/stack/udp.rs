//! What a UDP socket's owner may do: bind, send, receive, let go.

use std::net::{IpAddr, SocketAddr};

use smoltcp::{
    socket::udp::{self, PacketBuffer, PacketMetadata, Socket, UdpMetadata},
    wire::IpListenEndpoint,
};

use super::{
    SocketId, Stack,
    slots::{Kind, Slot, Udp},
};
use crate::{BindError, Local, SendError, address::source_for, config::is_host};

/// Bytes of the UDP header and of the IP header before it.
const HEADERS_V4: usize = 8 + 20;
const HEADERS_V6: usize = 8 + 40;

/// A queue has a place for a datagram for each so many bytes of it.
const BYTES_PER_DATAGRAM: usize = 256;

impl Stack {
    /// Binds a socket. Where one own address is named, that socket goes before one for all addresses. Port zero takes a
    /// free one. Returns where it is bound.
    ///
    /// # Errors
    /// [`BindError`] where it cannot be.
    pub fn bind(&mut self, local: impl Into<Local>) -> Result<(SocketId, Local), BindError> {
        let bound = &self.bound;
        let local = self.random.bind(&self.addresses, local.into(), |local| !bound.contains_key(&local))?;
        let memory = 2 * self.datagrams;
        if !self.slots.has_room(memory) {
            return Err(BindError::TooManySockets);
        }
        let mut socket = Socket::new(self.datagram_buffer(), self.datagram_buffer());
        let place = IpListenEndpoint { addr: local.address.map(IpAddr::into), port: local.port };
        socket.bind(place).map_err(|_| BindError::InUse(local))?;
        let id = self.slots.insert(Slot::new(socket, Kind::Udp(Udp { local, abandoned: false }), memory));
        let index = self.slots.index(id).expect("it was just inserted");
        self.bound.insert(local, index);
        Ok((id, local))
    }

    /// Queues a datagram, from the address the socket is bound to, else from the own one nearest to `to`.
    ///
    /// # Errors
    /// [`SendError`]; with [`Full`](SendError::Full), an [`Event::Udp`](super::Event::Udp) follows once there is room.
    pub fn send_to(&mut self, id: SocketId, payload: &[u8], to: SocketAddr) -> Result<(), SendError> {
        let Some(index) = self.slots.index(id) else { return Err(SendError::Closed) };
        let Some((udp, socket)) =
            self.slots.at(index).and_then(|slot| slot.udp()).filter(|(udp, _)| !udp.abandoned)
        else {
            return Err(SendError::Closed);
        };
        let (source, to) = route(&self.addresses, self.mtu, udp.local, payload.len(), to)?;
        let meta = UdpMetadata { local_address: Some(source.into()), ..UdpMetadata::from(to) };
        socket.send_slice(payload, meta).map_err(|error| match error {
            udp::SendError::BufferFull => SendError::Full,
            udp::SendError::Unaddressable => SendError::Unaddressable,
        })?;
        self.activate(index);
        Ok(())
    }

    /// Hands the oldest datagram that arrived, and who sent it, to `read`.
    pub fn recv_from<R>(&mut self, id: SocketId, read: impl FnOnce(&[u8], SocketAddr) -> R) -> Option<R> {
        let (_, socket) = self.slots.get(id)?.udp()?;
        let (payload, meta) = socket.recv().ok()?;
        Some(read(payload, meta.endpoint.into()))
    }

    /// Lets go of a socket. Its port is free at once; datagrams that wait to be sent still leave.
    pub fn unbind(&mut self, id: SocketId) {
        let Some(index) = self.slots.index(id) else { return };
        let Some((udp, _)) = self.slots.at(index).and_then(|slot| slot.udp()) else { return };
        udp.abandoned = true;
        let local = udp.local;
        self.bound.remove(&local);
        self.activate(index);
    }

    fn datagram_buffer(&self) -> PacketBuffer<'static> {
        let places = self.datagrams / BYTES_PER_DATAGRAM;
        PacketBuffer::new(vec![PacketMetadata::EMPTY; places], vec![0; self.datagrams])
    }
}

/// From where a datagram of `len` bytes goes to `to`, and `to` in its canonical form.
pub(crate) fn route(
    own: &[IpAddr],
    mtu: usize,
    local: Local,
    len: usize,
    to: SocketAddr,
) -> Result<(IpAddr, SocketAddr), SendError> {
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    if to.port() == 0 || !is_host(to.ip()) {
        return Err(SendError::Unaddressable);
    }
    let source = match local.address {
        Some(address) => Some(address).filter(|address| address.is_ipv4() == to.is_ipv4()),
        None => source_for(own, to.ip()),
    };
    let source = source.ok_or(SendError::NoAddress)?;
    let most = mtu - if to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
    if len > most {
        return Err(SendError::TooLarge { len, most });
    }
    Ok((source, to))
}
