//! A relay with real sockets on loopback, against clients that write the bytes themselves.

mod rig;

mod admission;
mod bulk;
mod certificates;
mod ends;
mod fan_in;
mod http;
mod logins;
mod metrics;
mod state;
mod stun;
mod websocket;
