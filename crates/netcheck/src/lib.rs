//! What the netcheck crate offers: a check as a machine without I/O, its report, and a shell that runs it.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod addresses;
mod asks;
mod check;
pub mod limits;
mod plan;
mod report;
mod rounds;
#[cfg(feature = "client")]
mod shell;

#[cfg(feature = "client")]
pub use crate::shell::Netcheck;
pub use crate::{
    check::{Action, Check, NodeId, Why},
    plan::{Extent, Family},
    report::{RegionReport, Report},
    rounds::Rounds,
};

/// The base of time in this crate's tests.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
fn t0() -> std::time::Instant {
    static T0: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    *T0.get_or_init(std::time::Instant::now)
}
