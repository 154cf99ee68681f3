//! What another thread may do to the device: addresses, routes, MTU, up and down, counters.

use std::{fmt, io, net::IpAddr, sync::Arc};

use crate::{counters::Counters, device, tun::Shared};

/// A handle to a TUN device, for any thread. It keeps the interface alive.
#[derive(Clone)]
pub struct TunControl {
    shared: Arc<Shared>,
}

impl TunControl {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The interface's name, as it was when it was made.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The largest packet in bytes, as the system last said.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.shared.mtu()
    }

    /// What passed the device so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.shared.counters()
    }

    /// Sets the largest packet in bytes.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        self.shared.io.set_mtu(mtu)?;
        self.shared.look_at_mtu();
        Ok(())
    }

    /// Brings the interface up or down.
    ///
    /// # Errors
    /// What the system said.
    pub fn set_up(&self, up: bool) -> io::Result<()> {
        device::set_up(&self.shared.io, up)
    }

    /// Adds an own address, with the length of its prefix, to which the system makes a route.
    ///
    /// # Errors
    /// `AlreadyExists`, or what else the system said.
    pub fn add_address(&self, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
        device::add_address(&self.shared.io, ip, prefix_len)
    }

    /// Removes an own address.
    ///
    /// # Errors
    /// What the system said; `Unsupported` elsewhere than on Linux.
    pub fn remove_address(&self, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return crate::netlink::remove_address(self.shared.index, ip, prefix_len);
        #[cfg(not(target_os = "linux"))]
        unsupported((ip, prefix_len))
    }

    /// Routes a prefix through the interface, which must be up. The route goes with the interface.
    ///
    /// # Errors
    /// `AlreadyExists` if such a route is there, whoever made it; else what the system said; `Unsupported` elsewhere than
    /// on Linux.
    pub fn add_route(&self, prefix: IpAddr, prefix_len: u8) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return crate::netlink::add_route(self.shared.index, prefix, prefix_len);
        #[cfg(not(target_os = "linux"))]
        unsupported((prefix, prefix_len))
    }

    /// Removes a route through the interface.
    ///
    /// # Errors
    /// `NotFound` (ESRCH) if there is none; else what the system said; `Unsupported` elsewhere than on Linux.
    pub fn remove_route(&self, prefix: IpAddr, prefix_len: u8) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return crate::netlink::remove_route(self.shared.index, prefix, prefix_len);
        #[cfg(not(target_os = "linux"))]
        unsupported((prefix, prefix_len))
    }
}

#[cfg(not(target_os = "linux"))]
fn unsupported(_: (IpAddr, u8)) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl fmt::Debug for TunControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunControl").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
