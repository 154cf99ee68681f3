//! What the device is asked to be.

use std::net::IpAddr;

/// How to make the device. [`Config::default`] is a name that the system chooses, an MTU of 1280, no address, up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The interface's name; `None` for one that the system chooses. Linux fills in a number for `%d`; macOS wants `utun`
    /// and a number.
    pub name: Option<String>,
    /// Largest packet in bytes.
    pub mtu: u16,
    /// The interface's own addresses, each with the length of its prefix, to which the system makes a route.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether to bring the interface up at once. If not, someone else will.
    pub up: bool,
    /// Whether super-packets pass the device, where the system has them (Linux).
    pub offload: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: None, mtu: 1280, addresses: Vec::new(), up: true, offload: true }
    }
}
