//! What the path crate offers: the machine that decides where to send a peer's packets.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod budget;
mod call;
mod candidate;
mod discard;
mod discovery;
mod explain;
pub mod limits;
mod local;
mod order;
mod own;
mod paths;
mod peer;
mod probe;
mod receive;
mod route;
mod trust;

pub use discard::{Discard, Discards};
pub use explain::{
    CandidateState, CandidateView, Explanation, OwnView, RelayView, Source, StunView, Verdict, WhyRelayed,
};
pub use order::{Scope, Standing, Tier};
pub use paths::{Identity, Paths, PeerConfig};
pub use route::{Event, Out, PingRefusal, Reason, Route, Why};

#[cfg(test)]
#[path = "../tests/behaviour/kit/t0.rs"]
mod tests;
