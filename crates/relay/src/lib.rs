//! What the relay crate offers: a relay as a state machine, and the thread with sockets and TLS that drives it.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod core;
mod http;
pub mod stun;
mod websocket;

#[cfg(feature = "server")]
mod allow;
#[cfg(feature = "server")]
mod certificate;
#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod descriptors;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
mod region;
#[cfg(feature = "server")]
mod relay;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sockets;
#[cfg(feature = "server")]
mod state;

#[cfg(feature = "server")]
pub use crate::{
    allow::{Allow, AllowError},
    certificate::Certificate,
    config::{CertificateError, Config, StartError, Tls},
    metrics::Stats,
    relay::Relay,
    state::{State, StateError},
};
pub use crate::{
    core::{Admission, Closed, Discard, Limits, RateLimit},
    websocket::Violation,
};

/// The base of time in this crate's tests.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
fn t0() -> std::time::Instant {
    static T0: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    *T0.get_or_init(std::time::Instant::now)
}
