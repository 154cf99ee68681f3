//! What the derp crate offers: the DERP stream as frames, the login sealed in it, and where relays are found.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
pub mod frame;
pub mod home;
pub mod login;
pub mod machine;
pub mod proxy;
pub mod region;

pub use tidewire_transport::RegionId;

pub use crate::{
    frame::{Decoder, Frame, FrameError},
    login::{ClientInfo, LoginError, ServerInfo},
    region::{Region, RegionNode, Regions},
};
