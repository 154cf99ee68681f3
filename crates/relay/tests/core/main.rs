//! What the relay's core does, told by bytes in and bytes out, in virtual time.

mod rig;
mod story;
mod wire;

mod admission;
mod duplicates;
mod frames;
mod gone;
mod hostile;
mod http;
mod liveness;
mod login;
mod packets;
mod property;
mod queues;
mod rate;
mod shutdown;
mod websocket;
