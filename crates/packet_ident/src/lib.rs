//! Which protocol a datagram belongs to, decided from its bytes alone.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

pub mod geneve;
mod ident;

pub use crate::ident::{DISCO_MAGIC, Ident, Kind, Message, Reason, identify, is_disco};
