//! Why a transport could not do its work, and who is to blame.

use std::io;

/// Who has to do something about a [`Fault`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// The other end, or the network between: try again, or elsewhere.
    Peer,
    /// This machine: a device or a socket of it failed.
    Local,
    /// What the caller asked for cannot be.
    Configuration,
}

/// A failure of a transport.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The transport is gone for good; the driver detaches it.
    #[error("transport closed")]
    Closed,
    /// The system refused one call; the transport goes on.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, for a person.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused for good (the device was deleted, say); the driver detaches the transport.
    #[error("{what} failed for good: {source}")]
    Broken {
        /// What was tried, for a person.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The other end broke the protocol that carries the datagrams.
    #[error("the other end broke the protocol: {0}")]
    Protocol(&'static str),
    /// Configured in a way that cannot work.
    #[error("configuration: {0}")]
    Configuration(&'static str),
}

impl Fault {
    /// Whether the transport will never work again, so that it is to be detached.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed | Self::Broken { .. } | Self::Configuration(_))
    }

    /// Who has to do something about it.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Closed | Self::Io { .. } | Self::Broken { .. } => Blame::Local,
            Self::Protocol(_) => Blame::Peer,
            Self::Configuration(_) => Blame::Configuration,
        }
    }
}
