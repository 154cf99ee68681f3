//! Whatever several clients send, in any order and any pieces: each hears whole frames that make sense, and what two honest
//! ones say to each other arrives.

use proptest::prelude::*;
use tidewire_derp::Frame;
use tidewire_relay::core::Closed;

use crate::rig::{Client, Got, Rig, disco, encode, key, ms, read, secret, send_packet};

#[derive(Debug, Clone)]
enum Step {
    /// A stranger connects, and says something.
    Stranger(Vec<u8>),
    /// A client that is up to no good sends bytes that are no frames.
    Garbage(Vec<u8>),
    /// It sends a frame, perhaps a wrong one.
    Frame(u8, Vec<u8>),
    /// It sends a packet to one of the others.
    Packet(u8, u16),
    /// It is cut off, or cuts itself off, and logs in anew.
    Return,
    /// Somebody logs in with an honest client's key: it must hold that key.
    Forged(Vec<u8>),
    /// An honest client says something to the other.
    Honest(bool, u16, bool),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = |len| prop::collection::vec(any::<u8>(), 0..len);
    prop_oneof![
        bytes(300).prop_map(Step::Stranger),
        bytes(300).prop_map(Step::Garbage),
        (any::<u8>(), bytes(200)).prop_map(|(kind, body)| Step::Frame(kind, body)),
        (1..4_u8, 0..2000_u16).prop_map(|(to, len)| Step::Packet(to, len)),
        Just(Step::Return),
        bytes(120).prop_map(Step::Forged),
        (any::<bool>(), 0..2000_u16, any::<bool>())
            .prop_map(|(side, len, disco)| Step::Honest(side, len, disco)),
        (0..500_u16).prop_map(Step::Wait),
    ]
}

struct Story {
    rig: Rig,
    honest: [Client; 2],
    villain: Client,
    sent: [Vec<Vec<u8>>; 2],
    got: [Vec<Vec<u8>>; 2],
}

impl Story {
    fn new() -> Self {
        let mut rig = Rig::new();
        let honest = [rig.login(1), rig.login(2)];
        let villain = rig.login(3);
        Self { rig, honest, villain, sent: Default::default(), got: Default::default() }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Stranger(bytes) => {
                let id = self.rig.begin();
                self.rig.bytes(id, &bytes);
            }
            Step::Garbage(bytes) => self.rig.bytes(self.villain.id, &bytes),
            Step::Frame(kind, body) => {
                let mut bytes = vec![kind];
                bytes.extend((body.len() as u32).to_be_bytes());
                bytes.extend(body);
                self.rig.bytes(self.villain.id, &bytes);
            }
            Step::Packet(to, len) => {
                let bytes = send_packet(key(to), &vec![0xbb; usize::from(len)]);
                self.rig.bytes(self.villain.id, &bytes);
            }
            Step::Return => {
                self.rig.core.disconnect(self.villain.id, Closed::Left);
                self.villain = self.rig.login(3);
            }
            Step::Forged(boxed) => {
                let id = self.rig.begin();
                let mut bytes = encode(Frame::ClosePeer(key(1)));
                bytes[0] = 2;
                bytes.extend(&boxed);
                bytes[1..5].copy_from_slice(&(32 + boxed.len() as u32).to_be_bytes());
                self.rig.bytes(id, &bytes);
            }
            Step::Honest(side, len, is_disco) => self.say(usize::from(side), len, is_disco),
            Step::Wait(time) => self.rig.wait(ms(time.into())),
        }
        self.hear();
    }

    fn say(&mut self, side: usize, len: u16, is_disco: bool) {
        let number = self.sent[side].len() as u8;
        let packet = if is_disco { disco(number) } else { vec![number; usize::from(len)] };
        self.rig.send(self.honest[side], self.honest[1 - side].key, &packet);
        self.sent[side].push(packet);
    }

    fn hear(&mut self) {
        for side in [0, 1] {
            let bytes = self.rig.raw(self.honest[side].id);
            for got in read(&bytes) {
                match got {
                    Got::Packet(from, packet) if from == self.honest[1 - side].key => {
                        self.got[1 - side].push(packet);
                    }
                    Got::Packet(from, packet) => {
                        assert_eq!(from, key(3), "whom a packet is from is proven by its login");
                        assert!(packet.iter().all(|byte| *byte == 0xbb) || !packet.is_empty());
                    }
                    Got::Gone(peer, _) => assert_eq!(peer, key(3)),
                    Got::KeepAlive => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        self.rig.raw(self.villain.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_client_never_harms_anothers_stream(steps in prop::collection::vec(step(), 1..80)) {
        let mut story = Story::new();
        for step in steps {
            story.play(step);
        }
        prop_assert_eq!(&story.sent, &story.got);
        for client in story.honest {
            prop_assert_eq!(story.rig.closed(client.id), None);
        }
        prop_assert_eq!(secret(1).public(), story.honest[0].key);
    }
}
