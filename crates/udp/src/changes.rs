//! How a change of the machine's addresses is noticed without looking again and again: the kernel says so on Linux.

use std::io;

/// Hears when interfaces or their addresses change. Which ones, [`local_addresses`](crate::local_addresses) tells.
#[derive(Debug)]
pub struct AddressChanges(imp::Listener);

impl AddressChanges {
    /// Begins to listen. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// `Unsupported` on systems other than Linux, else what the system says: then look from time to time.
    pub fn new() -> io::Result<Self> {
        imp::Listener::new().map(Self)
    }

    /// Waits for a change. Several at a time are one; one more than there were does no harm.
    ///
    /// # Errors
    /// What the system says: nothing more will be heard.
    pub async fn next(&mut self) -> io::Result<()> {
        self.0.next().await
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    //! rtnetlink's multicast groups (RFC 3549). What the messages say is not read.

    use std::{io, os::fd::OwnedFd};

    use rustix::{
        io::Errno,
        net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with},
    };
    use tokio::io::{Interest, unix::AsyncFd};

    // Groups of linux/rtnetlink.h.
    const RTMGRP_LINK: u32 = 0x1;
    const RTMGRP_IPV4_IFADDR: u32 = 0x10;
    const RTMGRP_IPV6_IFADDR: u32 = 0x100;

    #[derive(Debug)]
    pub(super) struct Listener(AsyncFd<OwnedFd>);

    impl Listener {
        pub(super) fn new() -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // NETLINK_ROUTE is protocol zero: the one that is meant where none is named.
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
            bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
            // The safe constructor is deprecated because a type could lie about its descriptor; an `OwnedFd` cannot.
            #[allow(deprecated)]
            AsyncFd::with_interest(socket, Interest::READABLE).map(Self)
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            let mut heard = false;
            while !heard {
                let mut ready = self.0.readable().await?;
                heard = drain(ready.get_inner())?;
                ready.clear_ready();
            }
            Ok(())
        }
    }

    /// Takes all that is there, unread. Whether there was something.
    fn drain(socket: &OwnedFd) -> io::Result<bool> {
        let mut heard = false;
        loop {
            // What does not fit is cut by the system.
            match recv(socket, &mut [0_u8; 64][..], RecvFlags::empty()) {
                // More than the socket could hold was said: something changed, too.
                Ok(_) | Err(Errno::NOBUFS) => heard = true,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(heard),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod imp {
    use std::io;

    #[derive(Debug)]
    pub(super) struct Listener;

    impl Listener {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            std::future::pending().await
        }
    }
}
