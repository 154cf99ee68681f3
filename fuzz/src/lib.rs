//! The fuzz targets as plain functions: any bytes go in, and a broken promise panics. One table names them all.
#![forbid(unsafe_code)]

mod derp_frames;
mod derp_login;
mod disco;
mod ident;
mod ip;
pub mod seeds;
mod stun;
mod wg_message;

pub use self::{
    derp_frames::derp_frames, derp_login::derp_login, disco::disco, ident::ident, ip::ip, stun::stun,
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
pub const TARGETS: &[Target] = targets![derp_frames, derp_login, disco, ident, ip, stun, wg_message];
