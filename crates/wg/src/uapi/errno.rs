//! How a failure is told to a client: the few error numbers that the protocol's clients know.

use rustix::io::Errno as System;

/// The number behind `errno=` in an answer. Written negative, as wireguard-go does; zero is success.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Errno {
    /// A line is too long, or could not be read.
    #[error("input could not be read")]
    Io,
    /// A line without `=`.
    #[error("not the protocol")]
    Protocol,
    /// An unknown key, or a value that the key cannot have.
    #[error("invalid argument")]
    Invalid,
    /// The port is taken, or the mark was refused.
    #[error("port in use, or mark refused")]
    PortInUse,
    /// The request is longer than is taken.
    #[error("request too long")]
    TooLong,
    /// The device is being taken down.
    #[error("the device is gone")]
    Gone,
}

impl Errno {
    /// The number as it is written: this system's, negated.
    #[must_use]
    pub const fn code(self) -> i32 {
        -match self {
            Self::Io => System::IO,
            Self::Protocol => System::PROTO,
            Self::Invalid => System::INVAL,
            Self::PortInUse => System::ADDRINUSE,
            Self::TooLong => System::TOOBIG,
            Self::Gone => System::NODEV,
        }
        .raw_os_error()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_wireguard_go_writes_on_linux() {
        assert_eq!(Errno::Io.code(), -5);
        assert_eq!(Errno::Protocol.code(), -71);
        assert_eq!(Errno::Invalid.code(), -22);
        assert_eq!(Errno::PortInUse.code(), -98);
    }
}
