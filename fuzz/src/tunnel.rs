//! What must hold for a tunnel under attack: strangers and a peer gone mad make it neither panic, nor grow, nor send more than it got,
//! and another peer's session goes on.

mod world;

use std::time::Duration;

use world::{GOOD, MAD, STRANGER, World};

/// What is done, one thing after the other: a byte says what, and takes from the bytes behind it what it needs.
pub fn tunnel(data: &[u8]) {
    let mut world = World::new();
    let mut input = Input(data);
    while let Some(what) = input.byte() {
        step(&mut world, what, &mut input);
        world.settle();
        world.check_good();
    }
    world.recover();
}

fn step(world: &mut World, what: u8, input: &mut Input<'_>) {
    match what % 14 {
        // Time, from a millisecond to nine minutes.
        0 => world.wait(Duration::from_millis(1 << (input.number() % 20))),
        // Strangers: anything, then with the first MAC that a handshake message needs.
        1 => {
            let datagram = input.rest(200);
            world.strange(STRANGER, &datagram);
        }
        2 | 3 => {
            let datagram = world::signed(what % 14 - 1, &input.rest(116));
            world.strange(STRANGER + input.byte().unwrap_or(0) % 4, &datagram);
        }
        4 => {
            let template = world::signed(1, &input.rest(32));
            (0..=input.number()).for_each(|_| world.strange(STRANGER, &template));
        }
        // Someone on the path: what was sent before, perhaps changed, perhaps signed again, from anywhere.
        5 => {
            let (which, change) = (input.number(), input.rest(6));
            world.again(which, &change);
        }
        6 => {
            let cookie = input.rest(60);
            world.cookie(&cookie);
        }
        // The mad peer: genuine messages of any content, as many as it likes, and handshakes whenever it is due.
        7 => {
            let (times, content) = (input.byte().unwrap_or(0) % 80, input.rest(300));
            world.send(MAD, &vec![&content[..]; usize::from(times) + 1]);
        }
        8 => world.initiate(MAD),
        9 => {
            let sender = input.rest(4);
            world.initiate_as(&sender);
        }
        // The tunnel itself: it has something for the mad peer, or its owner changes what that is.
        10 => world.send_to_mad(&input.rest(100), usize::from(input.byte().unwrap_or(0))),
        11 => world.configure_mad(input.byte().unwrap_or(0)),
        12 => world.swallow(input.byte().unwrap_or(0) & 1 == 1),
        _ => world.send(GOOD, &[b"all is well"]),
    }
}

/// What is left of the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    /// A byte says how many bytes, up to `most`.
    fn rest(&mut self, most: usize) -> Vec<u8> {
        let len = self.number().min(most).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken.to_vec()
    }
}
