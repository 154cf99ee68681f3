//! The fuzz targets as plain functions: any bytes go in, and a broken promise panics. One table names them all.
#![forbid(unsafe_code)]

mod derp_client;
mod derp_frames;
mod derp_login;
mod disco;
mod ident;
mod ip;
mod relay_core;
mod script;
pub mod seeds;
mod stun;
mod tun_frame;
mod tunnel;
mod uapi;
mod wg_message;

pub use self::{
    derp_client::derp_client, derp_frames::derp_frames, derp_login::derp_login, disco::disco, ident::ident,
    ip::ip, relay_core::relay_core, stun::stun, tun_frame::tun_frame, tunnel::tunnel, uapi::uapi,
    wg_message::wg_message,
};

/// A function to be fuzzed, under the name of its program and its corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As in `Cargo.toml` and under `corpus/`.
    pub name: &'static str,
    /// Panics if the bytes break a promise.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($function:ident),+ $(,)?) => { &[$(Target { name: stringify!($function), run: $function }),+] };
}

/// All targets. Each has a program of its name in `Cargo.toml`, a file in `targets/` and a corpus.
pub const TARGETS: &[Target] = targets![
    derp_client,
    derp_frames,
    derp_login,
    disco,
    ident,
    ip,
    relay_core,
    stun,
    tun_frame,
    tunnel,
    uapi,
    wg_message
];
