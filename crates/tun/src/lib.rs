//! How packets pass between the operating system and the data plane: a TUN device, with offload where the system has it.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod checksum;
mod counters;
mod errors;
mod flow;
pub mod gather;
mod reader;
pub mod segment;
pub mod vnet;
mod writer;

pub use counters::{Counters, Discard, Discards};
pub use reader::Reader;
pub use writer::Writer;

/// Declares what exists only where devices can be made.
macro_rules! with_devices {
    ($($item:item)*) => {
        $(
            #[cfg(any(
                target_os = "linux",
                target_os = "macos",
                target_os = "freebsd",
                target_os = "netbsd",
                target_os = "openbsd"
            ))]
            $item
        )*
    };
}

with_devices! {
    mod config;
    mod control;
    mod device;
    mod events;
    mod tun;

    pub use config::Config;
    pub use control::TunControl;
    pub use events::{TunEvent, TunEvents};
    pub use tun::Tun;
}

#[cfg(target_os = "linux")]
mod netlink;
