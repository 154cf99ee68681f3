//! Whatever several clients send, in any order and any pieces: each hears whole frames that make sense, and what two honest
//! ones say to each other arrives.

use proptest::prelude::*;

use crate::story::{Step, Story};

fn step() -> impl Strategy<Value = Step> {
    let bytes = |len| prop::collection::vec(any::<u8>(), 0..len);
    prop_oneof![
        bytes(300).prop_map(Step::Knock),
        bytes(300).prop_map(Step::Stranger),
        bytes(300).prop_map(Step::Garbage),
        (any::<u8>(), bytes(200)).prop_map(|(kind, body)| Step::Frame(kind, body)),
        (1..4_u8, 0..2000_u16).prop_map(|(to, len)| Step::Packet(to, len)),
        Just(Step::Return),
        bytes(120).prop_map(Step::Forged),
        (any::<bool>(), 0..2000_u16, any::<bool>())
            .prop_map(|(side, len, disco)| Step::Honest(side, len, disco)),
        (0..500_u16).prop_map(Step::Wait),
        (any::<bool>(), bytes(300)).prop_map(|(wrapped, bytes)| Step::WebSocketVillain(wrapped, bytes)),
        any::<bool>().prop_map(Step::Block),
        any::<u16>().prop_map(Step::Rate),
        any::<bool>().prop_map(Step::Admit),
        (0..4000_u16).prop_map(Step::Gather),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_client_never_harms_anothers_stream(steps in prop::collection::vec(step(), 1..80)) {
        let mut story = Story::new();
        for step in steps {
            story.play(step);
        }
        story.check();
    }
}
