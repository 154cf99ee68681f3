//! Which messages there are, and where each may be met.

/// The type byte of a [`Message`](crate::Message).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum MessageType {
    /// [`Message::Ping`](crate::Message::Ping)
    Ping = 1,
    /// [`Message::Pong`](crate::Message::Pong)
    Pong = 2,
    /// [`Message::CallMeMaybe`](crate::Message::CallMeMaybe)
    CallMeMaybe = 3,
    /// [`Message::Bind`](crate::Message::Bind)
    Bind = 4,
    /// [`Message::Challenge`](crate::Message::Challenge)
    Challenge = 5,
    /// [`Message::Answer`](crate::Message::Answer)
    Answer = 6,
    /// [`Message::CallMeMaybeVia`](crate::Message::CallMeMaybeVia)
    CallMeMaybeVia = 7,
    /// [`Message::AllocateRequest`](crate::Message::AllocateRequest)
    AllocateRequest = 8,
    /// [`Message::AllocateResponse`](crate::Message::AllocateResponse)
    AllocateResponse = 9,
}

impl MessageType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Ping,
        Self::Pong,
        Self::CallMeMaybe,
        Self::Bind,
        Self::Challenge,
        Self::Answer,
        Self::CallMeMaybeVia,
        Self::AllocateRequest,
        Self::AllocateResponse,
    ];

    /// The type with that number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == byte)
    }

    /// Whether the message goes between a client and a peer relay itself: these, and no others, have the
    /// control bit in their Geneve header.
    #[must_use]
    pub const fn is_relay_handshake(self) -> bool {
        matches!(self, Self::Bind | Self::Challenge | Self::Answer)
    }

    /// Whether the message is to be believed only when it came through DERP.
    #[must_use]
    pub const fn is_derp_only(self) -> bool {
        matches!(
            self,
            Self::CallMeMaybe | Self::CallMeMaybeVia | Self::AllocateRequest | Self::AllocateResponse
        )
    }
}
