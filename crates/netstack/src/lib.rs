//! Whether a node's traffic stays inside the process: TCP and UDP for programs, over an overlay, without the kernel.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod config;
mod error;
#[cfg(feature = "tokio")]
mod shell;
mod stack;

pub use address::Local;
pub use config::{Config, ConfigError, LEAST_MTU, LEAST_MTU_V6, Limits, MOST_ADDRESSES, MOST_MTU, Timeouts};
pub use error::{BindError, DialError, End, SendError};
#[cfg(feature = "tokio")]
pub use shell::{Net, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream, UdpSocket, netstack};
pub use stack::{Discard, Event, SocketId, Stack, Status, Tally, Why};
