//! What a WireGuard device in user space is: an interface, a socket for `wg`, and a data plane between.
#![cfg_attr(feature = "device", doc = include_str!("../README.md"))]
#![cfg(unix)]
#![forbid(unsafe_code)]

#[cfg(feature = "device")]
mod device;
pub mod uapi;

#[cfg(feature = "device")]
pub use device::{Config, CreateError, DEFAULT_MTU, Device, Ended, Gone, SOCKETS, run_foreground};
