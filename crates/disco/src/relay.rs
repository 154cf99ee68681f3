//! What clients and a peer relay say to each other: allocations, and the messages that bind to one.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use tidewire_keys::DiscoPublic;
use zerocopy::{FromBytes, IntoBytes};

use crate::message::ParseError;
use crate::message_type::MessageType;
use crate::wire;

/// One of the three messages by which a client binds its address to an allocation at a peer relay. All are of
/// one size, so that the relay never answers with more than it got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bind {
    /// The virtual network of the allocation, 24 bits; the same as in the Geneve header.
    pub vni: u32,
    /// Chosen by the client, not 0; the same in all three messages.
    pub generation: u32,
    /// The disco key of the other client of the allocation, not of the relay.
    pub remote: DiscoPublic,
    /// What the relay makes from its secret and the client's address; zero in the first message.
    pub challenge: [u8; 32],
}

/// What a peer relay has set aside for two clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allocation {
    /// The relay's disco key.
    pub server: DiscoPublic,
    /// The two clients it is for.
    pub clients: [DiscoPublic; 2],
    /// Of two allocations at one server the higher one is newer.
    pub lamport: u64,
    /// The virtual network, 24 bits.
    pub vni: u32,
    /// How long a client may take to bind. Below 2^64 ns.
    pub bind_lifetime: Duration,
    /// How long it lasts without traffic once bound. Below 2^64 ns.
    pub steady_lifetime: Duration,
    /// Where the relay can be reached: at least one.
    pub addrs: Vec<SocketAddr>,
}

/// Asks a peer relay for an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocateRequest {
    /// The two clients it shall be for; the sender is one of them.
    pub clients: [DiscoPublic; 2],
    /// Chosen by the client, repeated in the response.
    pub generation: u32,
}

/// A peer relay's answer to a request for an allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocateResponse {
    /// The request's.
    pub generation: u32,
    /// What was set aside.
    pub allocation: Allocation,
}

impl Bind {
    pub(crate) fn parse(kind: MessageType, payload: &[u8]) -> Result<Self, ParseError> {
        let short = ParseError::Short { kind, found: payload.len() };
        let (bind, _) = wire::Bind::ref_from_prefix(payload).map_err(|_| short)?;
        Ok(Self {
            vni: bind.vni.get(),
            generation: bind.generation.get(),
            remote: bind.remote.into(),
            challenge: bind.challenge,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let bind = wire::Bind {
            vni: self.vni.into(),
            generation: self.generation.into(),
            remote: self.remote.to_bytes(),
            challenge: self.challenge,
        };
        out.extend_from_slice(bind.as_bytes());
    }
}

impl Allocation {
    pub(crate) fn parse(kind: MessageType, payload: &[u8]) -> Result<Self, ParseError> {
        let short = ParseError::Short { kind, found: payload.len() };
        let (fixed, addrs) = wire::Allocation::ref_from_prefix(payload).map_err(|_| short)?;
        Ok(Self {
            server: fixed.server.into(),
            clients: fixed.clients.map(DiscoPublic::from_bytes),
            lamport: fixed.lamport.get(),
            vni: fixed.vni.get(),
            bind_lifetime: Duration::from_nanos(fixed.bind_lifetime_ns.get()),
            steady_lifetime: Duration::from_nanos(fixed.steady_lifetime_ns.get()),
            addrs: wire::parse_addrs(addrs).ok_or(ParseError::Addresses { kind, found: addrs.len() })?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let nanos = |lifetime: Duration| u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        let fixed = wire::Allocation {
            server: self.server.to_bytes(),
            clients: self.clients.map(DiscoPublic::to_bytes),
            lamport: self.lamport.into(),
            vni: self.vni.into(),
            bind_lifetime_ns: nanos(self.bind_lifetime).into(),
            steady_lifetime_ns: nanos(self.steady_lifetime).into(),
        };
        out.extend_from_slice(fixed.as_bytes());
        wire::encode_addrs(&self.addrs, out);
    }
}

impl AllocateRequest {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let short = ParseError::Short { kind: MessageType::AllocateRequest, found: payload.len() };
        let (request, _) = wire::AllocateRequest::ref_from_prefix(payload).map_err(|_| short)?;
        Ok(Self {
            clients: request.clients.map(DiscoPublic::from_bytes),
            generation: request.generation.get(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let clients = self.clients.map(DiscoPublic::to_bytes);
        out.extend_from_slice(
            wire::AllocateRequest { clients, generation: self.generation.into() }.as_bytes(),
        );
    }
}

impl AllocateResponse {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let kind = MessageType::AllocateResponse;
        let short = ParseError::Short { kind, found: payload.len() };
        let (generation, rest) = payload.split_first_chunk().ok_or(short)?;
        Ok(Self { generation: u32::from_be_bytes(*generation), allocation: Allocation::parse(kind, rest)? })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.generation.to_be_bytes());
        self.allocation.encode(out);
    }
}
