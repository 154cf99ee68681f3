//! How datagrams leave and enter the machine: UDP sockets of both families on one port, with segmentation offload.
#![doc = include_str!("../README.md")]

mod avoided;
mod bind;
mod changes;
mod config;
mod counters;
mod interfaces;
mod options;
mod refusals;
mod socket;
mod udp;

pub use changes::AddressChanges;
pub use config::Config;
pub use counters::{Counters, Discard, Discards};
pub use interfaces::{Loopback, local_addresses};
pub use udp::{LocalAddrs, Udp, UdpControl};
