//! What is counted: one number for each reason of a discard, each kind of hop, each kind of message.

use tidewire_packet_ident::Message;
use tidewire_transport::Hop;

use crate::discard::Reason;

/// Datagrams and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of those, without IP and UDP headers or a relay's frames.
    pub bytes: u64,
}

/// How a datagram travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopKind {
    /// UDP to the peer itself.
    Udp,
    /// UDP by way of a peer relay.
    Relayed,
    /// Through a DERP relay.
    Derp,
}

/// What kind of datagram arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// STUN.
    Stun,
    /// Disco.
    Disco,
    /// WireGuard handshake initiation.
    Initiation,
    /// WireGuard handshake response.
    Response,
    /// WireGuard cookie reply.
    Cookie,
    /// WireGuard transport data.
    Data,
}

/// Everything the core counts. Numbers only grow; they start at zero with the core.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    discards: [u64; Reason::ALL.len()],
    received: [Traffic; 3],
    sent: [Traffic; 3],
    messages: [u64; 6],
    pub(crate) tunnel: tidewire_tunnel::Discards,
    pub(crate) path: tidewire_path::Discards,
}

impl Counters {
    /// How often the core discarded something for this reason.
    #[must_use]
    pub const fn discarded(&self, reason: Reason) -> u64 {
        self.discards[reason as usize]
    }

    /// What the tunnel discarded.
    #[must_use]
    pub const fn tunnel(&self) -> &tidewire_tunnel::Discards {
        &self.tunnel
    }

    /// What path discovery discarded.
    #[must_use]
    pub const fn path(&self) -> &tidewire_path::Discards {
        &self.path
    }

    /// What arrived that way.
    #[must_use]
    pub const fn received(&self, kind: HopKind) -> Traffic {
        self.received[kind as usize]
    }

    /// What was handed to transports that way.
    #[must_use]
    pub const fn sent(&self, kind: HopKind) -> Traffic {
        self.sent[kind as usize]
    }

    /// How many datagrams of this kind arrived.
    #[must_use]
    pub const fn messages(&self, kind: MessageKind) -> u64 {
        self.messages[kind as usize]
    }

    pub(crate) fn discard(&mut self, reason: Reason, count: usize) {
        self.discards[reason as usize] += count as u64;
    }

    pub(crate) fn receive(&mut self, hop: &Hop, datagrams: usize, bytes: usize) {
        count(&mut self.received[HopKind::of(hop) as usize], datagrams, bytes);
    }

    pub(crate) fn send(&mut self, hop: &Hop, datagrams: usize, bytes: usize) {
        count(&mut self.sent[HopKind::of(hop) as usize], datagrams, bytes);
    }

    pub(crate) fn message(&mut self, kind: MessageKind) {
        self.messages[kind as usize] += 1;
    }
}

impl HopKind {
    /// The kind of a hop.
    #[must_use]
    pub const fn of(hop: &Hop) -> Self {
        match hop {
            Hop::Udp(_) => Self::Udp,
            Hop::Relayed { .. } => Self::Relayed,
            Hop::Derp { .. } => Self::Derp,
        }
    }
}

impl From<Message> for MessageKind {
    fn from(message: Message) -> Self {
        match message {
            Message::Initiation => Self::Initiation,
            Message::Response => Self::Response,
            Message::Cookie => Self::Cookie,
            Message::Data => Self::Data,
        }
    }
}

fn count(traffic: &mut Traffic, datagrams: usize, bytes: usize) {
    traffic.datagrams += datagrams as u64;
    traffic.bytes += bytes as u64;
}
