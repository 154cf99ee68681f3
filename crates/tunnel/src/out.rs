//! What one call produces: datagrams to send, things that happened, and why to call again.

use tidewire_keys::PeerId;
use tidewire_packet::{Batch, Wire};

use crate::source::Source;

/// What one call produced, in order. Reused between calls: the caller takes out what is in it.
#[derive(Debug, Default)]
pub struct Out {
    /// Datagrams that the tunnel itself had to send. Look at `events` first: they may say where a peer is.
    pub datagrams: Vec<Outgoing>,
    /// What happened.
    pub events: Vec<Event>,
}

/// Datagrams for one receiver.
#[derive(Debug)]
pub struct Outgoing {
    /// Who gets them.
    pub to: To,
    /// The datagrams.
    pub batch: Batch<Wire>,
}

/// Who gets a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// A peer, wherever it is.
    Peer(PeerId),
    /// Wherever the message came from that this answers: handshake responses and cookie replies.
    Source(Source),
}

/// What happened to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A handshake message from there was genuine: the peer is there. Genuine transport messages are told by
    /// [`Opened`]; cookie replies prove nothing about a place.
    Heard {
        /// Who sent it.
        peer: PeerId,
        /// From where.
        source: Source,
    },
    /// There is a new session, and packets are sealed with it.
    Established {
        /// With whom.
        peer: PeerId,
        /// Whether this side began the handshake.
        initiator: bool,
    },
    /// Data was sent and nothing came back for 15 s. A handshake was asked for.
    Silent {
        /// Who is silent.
        peer: PeerId,
    },
    /// Initiations were sent for 90 s without an answer, and what waited was dropped. The next packet begins anew.
    GaveUp {
        /// Who did not answer.
        peer: PeerId,
    },
    /// All sessions with the peer were wiped: no new one for 540 s, or the caller said so.
    Expired {
        /// Whose keys.
        peer: PeerId,
    },
}

/// One packet of the batch that [`Tunnel::open`](crate::Tunnel::open) returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Who sealed it.
    pub peer: PeerId,
    /// The number of the datagram that held it, in the batch as it came in.
    pub datagram: u32,
}

/// Why [`Tunnel::process_events`](crate::Tunnel::process_events) wants to be called at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// Handshake messages are queued: now.
    Handshakes,
    /// An initiation is to be sent (again), or given up.
    Initiation,
    /// Received data is to be answered with a keepalive.
    Keepalive,
    /// Sent data may have gone unanswered for too long.
    NoAnswer,
    /// A persistent keepalive is to be sent.
    PersistentKeepalive,
    /// Old keys are to be wiped.
    Wipe,
}

impl Why {
    /// The reason as a word for logs: lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Initiation => "initiation",
            Self::Keepalive => "keepalive",
            Self::NoAnswer => "no_answer",
            Self::PersistentKeepalive => "persistent_keepalive",
            Self::Wipe => "wipe",
        }
    }
}
