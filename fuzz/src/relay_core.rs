//! What must hold for a relay's core: whatever the others send, honest clients get what they say to each other, and only whole frames.

#[path = "../../crates/relay/tests/core/rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod rig;
#[path = "../../crates/relay/tests/core/story.rs"]
mod story;
#[path = "../../crates/relay/tests/core/wire.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod wire;

use self::story::{Step, Story};
use crate::script::Script;

/// Steps are told by a byte each, and what they need behind it.
const MOST_STEPS: usize = 400;

/// A script: what strangers, two villains and two honest clients do at one relay.
pub fn relay_core(data: &[u8]) {
    let mut script = Script::new(data);
    let mut story = Story::new();
    for _ in 0..MOST_STEPS {
        let Some(verb) = script.byte() else { break };
        story.play(match verb % 8 {
            0 if verb >= 0xe0 => Step::WebSocketVillain(verb & 8 != 0, script.bytes().to_vec()),
            1 if verb >= 0xe0 => Step::Block(verb & 8 != 0),
            2 if verb >= 0xe0 => Step::Rate(script.number()),
            3 if verb >= 0xe0 => Step::Admit(verb & 8 != 0),
            4 if verb >= 0xe0 => Step::Gather(script.number()),
            0 if verb & 8 == 0 => Step::Knock(script.bytes().to_vec()),
            0 => Step::Stranger(script.bytes().to_vec()),
            1 => Step::Garbage(script.bytes().to_vec()),
            2 => Step::Frame(script.byte().unwrap_or(0), script.bytes().to_vec()),
            // Keys 1 and 2 are the honest ones, 3 is a villain, and nobody has 4.
            3 => Step::Packet(1 + script.byte().unwrap_or(0) % 4, script.number() % 2000),
            4 => Step::Return,
            5 => Step::Forged(script.bytes().to_vec()),
            6 => Step::Honest(verb & 8 != 0, script.number() % 2000, verb & 16 != 0),
            _ => Step::Wait(script.number() % 500),
        });
    }
    story.check();
}
