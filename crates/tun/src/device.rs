//! How the device is made and set up, and what of offload it has.

use std::{io, net::IpAddr};

use tun_rs::{AsyncDevice, DeviceBuilder};

use crate::{config::Config, gather::Offload};

/// An open device.
pub(crate) struct Device {
    pub(crate) io: AsyncDevice,
    /// Whether a header of the device's stands before each packet.
    pub(crate) has_header: bool,
    pub(crate) offload: Offload,
}

impl Device {
    /// Makes the interface. Where offload is wanted and the system does not have it, without.
    pub(crate) fn open(config: &Config) -> io::Result<Self> {
        if config.offload && cfg!(target_os = "linux") {
            match Self::open_as(config, true) {
                Ok(device) => return Ok(device),
                // The first error is the one that helps: the name, the privilege.
                Err(error) => return Self::open_as(config, false).map_err(|_| error),
            }
        }
        Self::open_as(config, false)
    }

    fn open_as(config: &Config, offload: bool) -> io::Result<Self> {
        let mut builder = DeviceBuilder::new().mtu(config.mtu).inherit_enable_state();
        if let Some(name) = &config.name {
            builder = builder.name(name);
        }
        #[cfg(target_os = "linux")]
        let builder = builder.with(|builder| {
            builder.offload(offload);
        });
        let io = builder.build_async()?;
        #[cfg(target_os = "linux")]
        let offload = Offload { tcp: io.tcp_gso(), udp: io.udp_gso() };
        #[cfg(not(target_os = "linux"))]
        let offload = Offload { tcp: offload, udp: offload };
        Ok(Self { io, has_header: offload.tcp, offload })
    }

    /// Gives the interface its addresses and, if wanted, brings it up.
    pub(crate) fn configure(&self, config: &Config) -> io::Result<()> {
        for (ip, prefix_len) in &config.addresses {
            add_address(&self.io, *ip, *prefix_len)?;
        }
        if config.up { set_up(&self.io, true) } else { Ok(()) }
    }
}

#[cfg(target_os = "linux")]
pub(crate) fn add_address(io: &AsyncDevice, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
    crate::netlink::add_address(io.if_index()?, ip, prefix_len)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn add_address(io: &AsyncDevice, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
    match ip {
        IpAddr::V4(ip) => io.set_network_address(ip, prefix_len, None),
        IpAddr::V6(ip) => io.add_address_v6(ip, prefix_len),
    }
}

pub(crate) fn set_up(io: &AsyncDevice, up: bool) -> io::Result<()> {
    io.enabled(up)
}

/// Whether the interface is surely down.
#[cfg(target_os = "linux")]
pub(crate) fn is_off(io: &AsyncDevice) -> bool {
    matches!(io.is_running(), Ok(false))
}

/// Whether the interface is surely down: elsewhere nobody says so.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_off(_: &AsyncDevice) -> bool {
    false
}
