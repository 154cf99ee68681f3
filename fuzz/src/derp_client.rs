//! What must hold for the DERP client's machine: calls in any order and any bytes from relays leave it awake, calm and well-spoken.

#[path = "../../crates/derp/tests/support/world.rs"]
mod world;

use self::world::{Move, World};
use crate::script::Script;

/// Moves are told by a byte each, and what they need behind it.
const MOST_MOVES: usize = 400;

/// A script: what happens to a client of three regions, and what its relays say.
pub fn derp_client(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new();
    for _ in 0..MOST_MOVES {
        let Some(verb) = script.byte() else { break };
        let which = usize::from(verb >> 6);
        world.apply(match verb % 16 {
            0 => Move::Opened(which, verb & 16 != 0),
            1 => Move::Broken(which, script.byte().unwrap_or(0)),
            2 => Move::WebSocket(which),
            3 | 4 => Move::Proper(which),
            5 => Move::Frame(which, script.byte().unwrap_or(0)),
            6 => Move::Bytes(which, script.bytes().to_vec()),
            7 | 8 => Move::Write(which, 1 + usize::from(script.number() % 3000)),
            9 => Move::Blocked(which, verb & 16 != 0),
            10 => Move::Send(script.byte().unwrap_or(0) % 5, verb >> 5, usize::from(script.number() % 2000)),
            11 => Move::Wait(u64::from(script.number()) * if verb & 16 == 0 { 1 } else { 4 }),
            12 => Move::Regions(script.byte().unwrap_or(0)),
            13 => Move::Home(script.byte().map(|byte| byte % 5)),
            14 => Move::Kept(script.bytes().iter().take(3).map(|byte| byte % 5).collect()),
            _ => Move::NetworkChanged,
        });
    }
    world.check_written();
}
