//! How local ports and the seed of the initial sequence numbers are drawn: from a ChaCha20 key stream.

use std::net::IpAddr;

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};

use crate::{BindError, Local};

/// First of the ports that are given out where none was asked for (RFC 6335, section 6: the dynamic ports).
const FIRST_PORT: u16 = 49_152;
const PORTS: u16 = u16::MAX - FIRST_PORT + 1;

/// A key stream, read from its start.
pub(crate) struct Random(ChaCha20);

impl Random {
    /// What the machine draws.
    pub(super) const STACK: u8 = 0;

    /// What handles draw.
    #[cfg(feature = "tokio")]
    pub(crate) const PLACES: u8 = 1;

    /// The key stream of that number; those of one seed have nothing in common.
    pub(crate) fn new(seed: [u8; 32], stream: u8) -> Self {
        Self(ChaCha20::new(&seed.into(), &[stream; 12].into()))
    }

    pub(super) fn draw_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.apply_keystream(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A dynamic port that is `free`: the first one from a random start on (RFC 6056, 3.3.1), or none if none is.
    pub(super) fn port(&mut self, free: impl Fn(u16) -> bool) -> Option<u16> {
        let start = (self.draw_u64() % u64::from(PORTS)) as u16;
        (0..PORTS).map(|step| FIRST_PORT + (start + step) % PORTS).find(|port| free(*port))
    }

    /// A place to listen or to be bound at: `wanted`, with a free port where it has none.
    pub(crate) fn bind(
        &mut self,
        own: &[IpAddr],
        wanted: Local,
        free: impl Fn(Local) -> bool,
    ) -> Result<Local, BindError> {
        if let Some(address) = wanted.address
            && !own.contains(&address)
        {
            return Err(BindError::NotOwn(address));
        }
        if wanted.port == 0 {
            let port = self.port(|port| free(Local { port, ..wanted })).ok_or(BindError::PortsExhausted)?;
            return Ok(Local { port, ..wanted });
        }
        if free(wanted) { Ok(wanted) } else { Err(BindError::InUse(wanted)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_dynamic_and_differ_by_seed() {
        let draw = |seed| {
            let mut random = Random::new([seed; 32], Random::STACK);
            (0..64).map(|_| random.port(|_| true).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|port| *port >= FIRST_PORT));
    }

    #[test]
    fn the_last_free_port_is_found_and_then_none() {
        let mut random = Random::new([7; 32], Random::STACK);
        assert_eq!(random.port(|port| port == 50_000), Some(50_000));
        assert_eq!(random.port(|_| false), None);
    }
}
