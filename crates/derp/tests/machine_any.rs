//! The connection machine under anything: calls in any order, any bytes, any time. It stays awake when it must, sleeps when it
//! can, and what it writes is always whole frames.

#[path = "support/world.rs"]
mod world;

use proptest::prelude::*;

use world::{Move, World};

fn step() -> impl Strategy<Value = Move> {
    let n = 0usize..4;
    prop_oneof![
        4 => (n.clone(), any::<bool>()).prop_map(|(n, key)| Move::Opened(n, key)),
        1 => (n.clone(), any::<u8>()).prop_map(|(n, how)| Move::Broken(n, how)),
        2 => n.clone().prop_map(Move::WebSocket),
        8 => n.clone().prop_map(Move::Proper),
        3 => (n.clone(), any::<u8>()).prop_map(|(n, kind)| Move::Frame(n, kind)),
        1 => (n.clone(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(n, bytes)| Move::Bytes(n, bytes)),
        8 => (n.clone(), 1usize..3000).prop_map(|(n, count)| Move::Write(n, count)),
        1 => (n, any::<bool>()).prop_map(|(n, blocked)| Move::Blocked(n, blocked)),
        6 => (0u8..5, 0u8..6, 0usize..2000).prop_map(|(region, peer, len)| Move::Send(region, peer, len)),
        6 => prop_oneof![0u64..300, 0u64..20_000, 0u64..200_000].prop_map(Move::Wait),
        1 => any::<u8>().prop_map(Move::Regions),
        1 => prop::option::of(0u8..5).prop_map(Move::Home),
        1 => prop::collection::vec(0u8..5, 0..3).prop_map(Move::Kept),
        1 => Just(Move::NetworkChanged),
    ]
}

proptest! {
    #[test]
    fn anything_in_any_order(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
        }
        world.check_written();
    }
}
