//! What a device is asked to be, and why it could not be made.

use std::{io, path::PathBuf};

use rustix::io::Errno;
use tidewire_transport::Fault;

/// What a device is asked to be. Key, port and peers come later, by [`uapi`](crate::uapi).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The interface's name. Linux puts a number in the place of `%d`, macOS behind `utun`.
    pub interface: String,
    /// Largest packet in bytes at the start; whoever sets the interface's MTU later changes it.
    pub mtu: u16,
    /// The directory in which the control socket `INTERFACE.sock` is made, the directory with it if there is none; `None`
    /// for no socket, if the program itself is the only one to configure the device.
    pub sockets: Option<PathBuf>,
}

/// Where `wg` looks for control sockets.
pub const SOCKETS: &str = "/var/run/wireguard";

/// As WireGuard elsewhere: 1500 less 80 for the outer IPv6, UDP and WireGuard.
pub const DEFAULT_MTU: u16 = 1420;

impl Config {
    /// A device as `wg` and `wg-quick` expect it.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self { interface: interface.into(), mtu: DEFAULT_MTU, sockets: Some(SOCKETS.into()) }
    }
}

/// Why a device could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The interface's name is none, or would lead elsewhere as the name of a socket. The caller is to blame.
    #[error("`{0}` is no name for an interface: 1 to 15 letters, digits and `_=+.-`")]
    Name(String),
    /// The interface could not be made: the name is taken, or the process may not.
    #[error("interface `{name}`: {fault}{}", hint(fault))]
    Interface {
        /// The name that was asked for.
        name: String,
        /// What was tried, and what the system said.
        fault: Fault,
    },
    /// The control socket could not be made.
    #[error("control socket {path}: {source}")]
    Socket {
        /// Which socket.
        path: PathBuf,
        /// What the system said; `AddrInUse` where another process answers there.
        source: io::Error,
    },
    /// The system gave no thread, event loop, randomness or word about the interface.
    #[error("{what}: {source}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl CreateError {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// What people would otherwise have to look up.
fn hint(fault: &Fault) -> &'static str {
    let (Fault::Io { source, .. } | Fault::Broken { source, .. }) = fault else { return "" };
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => "; it takes root, or CAP_NET_ADMIN",
        // Linux says the second where there is an interface of another kind with this name.
        Some(Errno::BUSY | Errno::INVAL | Errno::EXIST) => "; is there another one of this name?",
        Some(Errno::NOENT | Errno::NODEV) => "; is there a /dev/net/tun?",
        _ => "",
    }
}

/// As wg-quick has it; no longer than Linux allows, and with nothing in it that leads to another directory.
pub(crate) fn check_name(name: &str) -> Result<(), CreateError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_=+.-%".contains(&byte);
    let is_name = (1..=15).contains(&name.len()) && name.bytes().all(is_plain) && name != "." && name != "..";
    if is_name { Ok(()) } else { Err(CreateError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for good in ["wg0", "utun7", "wg%d", "a", "wg-home_1.x=+", "123456789012345"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "1234567890123456", "wg 0", "wg\n", "wg\0", "wgé"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
