//! The device: what follows a configuration and an interface with a data plane.

mod config;
mod control;
mod desired;
mod engine;
mod foreground;
mod handle;
mod label;
mod lent;
mod run;
mod running;

pub use self::{
    config::{Config, CreateError, DEFAULT_MTU, SOCKETS},
    foreground::run_foreground,
    handle::{Device, Gone},
    run::Ended,
};
