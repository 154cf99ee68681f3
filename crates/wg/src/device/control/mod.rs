//! The control socket: who may connect, how many at a time, and what ends it.

mod client;
mod listener;
mod watch;

pub(crate) use self::listener::Listener;
