//! The cross-platform userspace API of WireGuard as a protocol: lines in, requests out, answers back; no socket.
//!
//! A client sends `set=1` or `get=1`, lines of `key=value`, and an empty line, as often as it likes; each request is
//! answered by lines, `errno=N` the last of them, and an empty line. [`Session`] takes the bytes of one client, [`Set`]
//! is what a `set=1` asks for, [`Status`] is what a `get=1` tells. See <https://www.wireguard.com/xplatform/>; where that is
//! silent, this does as wireguard-go.

mod errno;
mod line;
mod session;
mod set;
mod status;

pub use self::{
    errno::Errno,
    line::{MAX_LINE, Malformed},
    session::{Closed, MAX_REQUEST, Request, Session},
    set::{PeerSet, PrefixSet, Set},
    status::{PeerStatus, Status, answer},
};
