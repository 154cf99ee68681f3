//! This machine's end of the mesh: a stack in user space, or an interface of the system's.

use std::io;

use tidewire_netstack::Net;

#[cfg(all(feature = "tun", unix))]
use crate::interface::Interface;

/// Where packets of the mesh come from and go to.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    Stack(Net),
    #[cfg(all(feature = "tun", unix))]
    Interface(Interface),
}

impl Local {
    /// The stack, for those who want a connection of it.
    ///
    /// # Errors
    /// `Unsupported` for a node with an interface, whose connections are the system's.
    pub(crate) fn stack(&self) -> io::Result<&Net> {
        match self {
            Self::Stack(net) => Ok(net),
            #[cfg(all(feature = "tun", unix))]
            Self::Interface(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this node has an interface: use the system's sockets",
            )),
        }
    }

    /// The peers are reached in another way from now on.
    pub(crate) fn nudge(&self) {
        match self {
            Self::Stack(net) => net.nudge(),
            // The system's TCP has timers of its own.
            #[cfg(all(feature = "tun", unix))]
            Self::Interface(_) => {}
        }
    }

    /// The network map is another one.
    pub(crate) fn follow(&self, _map: &crate::config::Map) {
        match self {
            Self::Stack(_) => {}
            #[cfg(all(feature = "tun", unix))]
            Self::Interface(interface) => interface.follow(_map),
        }
    }

    /// The name of the interface, whose addresses are no way to this machine.
    pub(crate) fn interface(&self) -> Option<&str> {
        match self {
            Self::Stack(_) => None,
            #[cfg(all(feature = "tun", unix))]
            Self::Interface(interface) => Some(interface.name()),
        }
    }
}
