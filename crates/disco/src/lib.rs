//! What the disco crate offers: the codec of path discovery messages, and the envelope they travel in.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod envelope;
mod message;
mod message_type;
mod relay;
mod wire;

pub use crate::envelope::{Envelope, EnvelopeError, HEADER_LEN, MAGIC, MIN_LEN, OpenError, SENDER_END, seal};
pub use crate::message::{Message, ParseError, Ping, Pong, TxId};
pub use crate::message_type::MessageType;
pub use crate::relay::{AllocateRequest, AllocateResponse, Allocation, Bind};
