//! What the tunnel crate offers: one state machine for all WireGuard peers of a node, and the constants it lives by.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aead;
mod config;
mod cookie;
mod dh;
mod discard;
mod index;
mod known;
mod load;
mod mac;
mod message;
mod noise;
mod out;
mod peer;
mod replay;
mod schedule;
mod session;
mod source;
mod timers;
mod tunnel;
#[cfg(test)]
mod vectors;
mod waiting;

pub use config::{Config, PeerConfig, PeerStatus, SessionStatus};
pub use discard::{Discard, Discards};
pub use index::Shard;
pub use load::{BUDGET_BURST, BUDGET_INTERVAL, BUDGET_SOURCES, HANDSHAKES, LOAD_LINGERS, LOAD_THRESHOLD};
pub use message::{
    COOKIE_REPLY_LEN, CookieReply, INITIATION_LEN, Initiation, KEEPALIVE_LEN, MAC_LEN, Message, MessageError,
    RESPONSE_LEN, Response, TAG_LEN, TRANSPORT_HEADER_LEN, TransportHeader,
};
pub use out::{Event, Opened, Out, Outgoing, To, Why};
pub use session::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME};
pub use source::Source;
pub use timers::{
    INITIATION_INTERVAL, KEEPALIVE_TIMEOUT, NO_ANSWER_TIMEOUT, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT,
    WIPE_AFTER_TIME,
};
pub use tunnel::Tunnel;
pub use waiting::{WAITING_BYTES, WAITING_PACKETS};

/// The base of all time in the tests of this crate.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
fn t0() -> std::time::Instant {
    static T0: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    *T0.get_or_init(std::time::Instant::now)
}
