//! Why a call on the stack failed, and which kind of I/O error that is.

use std::{io, net::IpAddr};

use crate::Local;

/// Why there is no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DialError {
    /// Port zero, or an address that is no single host's. The caller is to blame.
    #[error("the destination cannot be dialled")]
    Unaddressable,
    /// The stack owns no address of the destination's family. The configuration is to blame.
    #[error("this stack has no address of the destination's family")]
    NoAddress,
    /// Each local port is in use towards this destination.
    #[error("no local port is left towards the destination")]
    PortsExhausted,
    /// A limit of [`Limits`](crate::Limits) is reached.
    #[error("the limit of sockets or of their memory is reached")]
    TooManySockets,
    /// The other end answered with a reset: nobody listens there.
    #[error("the other end refused the connection")]
    Refused,
    /// The other end did not answer within [`Timeouts::dial`](crate::Timeouts::dial).
    #[error("the other end did not answer in time")]
    TimedOut,
    /// The stack's task has ended.
    #[error("the stack is gone")]
    Closed,
}

/// Why a socket cannot listen there, or be bound there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else is bound to exactly this.
    #[error("{0} is in use")]
    InUse(Local),
    /// The stack does not own this address.
    #[error("{0} is not an address of this stack")]
    NotOwn(IpAddr),
    /// Port zero was asked for, and each port is in use.
    #[error("no port is left")]
    PortsExhausted,
    /// A limit of [`Limits`](crate::Limits) is reached.
    #[error("the limit of sockets or of their memory is reached")]
    TooManySockets,
    /// The stack's task has ended.
    #[error("the stack is gone")]
    Closed,
}

/// Why a datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// Longer than a packet of the overlay can carry; nothing is fragmented.
    #[error("a datagram of {len} bytes is longer than {most}, the most that fits a packet")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most that fits.
        most: usize,
    },
    /// Port zero, or an address that is no single host's.
    #[error("the destination cannot be addressed")]
    Unaddressable,
    /// The socket has no address of the destination's family.
    #[error("this socket has no address of the destination's family")]
    NoAddress,
    /// As many datagrams wait as may; try again once some have left.
    #[error("the socket's queue is full")]
    Full,
    /// The socket or the stack's task is gone.
    #[error("the stack is gone")]
    Closed,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum End {
    /// Both sides closed it, and everything arrived.
    #[error("the connection is closed")]
    Finished,
    /// A dial was answered with a reset.
    #[error("the other end refused the connection")]
    Refused,
    /// The other end reset it.
    #[error("the other end reset the connection")]
    Reset,
    /// The other end gave no sign of life for too long.
    #[error("the other end did not answer in time")]
    TimedOut,
    /// This side gave it up.
    #[error("the connection was given up")]
    Aborted,
}

impl From<DialError> for io::Error {
    fn from(error: DialError) -> Self {
        let kind = match error {
            DialError::Unaddressable => io::ErrorKind::InvalidInput,
            DialError::NoAddress => io::ErrorKind::AddrNotAvailable,
            DialError::PortsExhausted => io::ErrorKind::AddrInUse,
            DialError::TooManySockets => io::ErrorKind::QuotaExceeded,
            DialError::Refused => io::ErrorKind::ConnectionRefused,
            DialError::TimedOut => io::ErrorKind::TimedOut,
            DialError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        let kind = match error {
            BindError::InUse(_) | BindError::PortsExhausted => io::ErrorKind::AddrInUse,
            BindError::NotOwn(_) => io::ErrorKind::AddrNotAvailable,
            BindError::TooManySockets => io::ErrorKind::QuotaExceeded,
            BindError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::TooLarge { .. } | SendError::Unaddressable => io::ErrorKind::InvalidInput,
            SendError::NoAddress => io::ErrorKind::AddrNotAvailable,
            SendError::Full => io::ErrorKind::WouldBlock,
            SendError::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl From<End> for io::Error {
    fn from(end: End) -> Self {
        let kind = match end {
            End::Finished => io::ErrorKind::NotConnected,
            End::Refused => io::ErrorKind::ConnectionRefused,
            End::Reset => io::ErrorKind::ConnectionReset,
            End::TimedOut => io::ErrorKind::TimedOut,
            End::Aborted => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, end)
    }
}

impl From<End> for DialError {
    fn from(end: End) -> Self {
        match end {
            End::TimedOut => Self::TimedOut,
            End::Aborted => Self::Closed,
            End::Refused | End::Reset | End::Finished => Self::Refused,
        }
    }
}
