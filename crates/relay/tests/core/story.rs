//! A story of two honest clients, one that is up to no good, and strangers at one relay; the honest ones must not be harmed. Told by
//! the property test and by the fuzz target `relay_core`, which takes this file as it is.

use tidewire_derp::Frame;
use tidewire_relay::core::Closed;

use super::rig::{Client, Got, Rig, disco, encode, key, ms, read, send_packet};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A stranger connects, and says something.
    Knock(Vec<u8>),
    /// A stranger connects, begins as one that will log in, and says something.
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

/// Data of honest clients never begins so.
const DISCO: &[u8] = b"TS\xf0\x9f\x92\xac";

pub(crate) struct Story {
    rig: Rig,
    honest: [Client; 2],
    villain: Client,
    /// By side, data and disco apart: disco overtakes.
    sent: [[Vec<Vec<u8>>; 2]; 2],
    got: [[Vec<Vec<u8>>; 2]; 2],
    /// Bytes that were sent since the honest ones have last read.
    unread: usize,
}

/// So much may wait for an honest client: far less than its queue holds. Who never reads is another story.
const UNREAD: usize = 64 << 10;

impl Story {
    pub(crate) fn new() -> Self {
        let mut rig = Rig::new();
        let honest = [rig.login(1), rig.login(2)];
        let villain = rig.login(3);
        Self { rig, honest, villain, sent: Default::default(), got: Default::default(), unread: 0 }
    }

    pub(crate) fn play(&mut self, step: Step) {
        match step {
            Step::Knock(bytes) => {
                let id = self.rig.connect();
                self.rig.bytes(id, &bytes);
            }
            Step::Stranger(bytes) => {
                let id = self.rig.begin();
                self.rig.bytes(id, &bytes);
            }
            Step::Garbage(bytes) => self.harm(&bytes),
            Step::Frame(kind, body) => {
                let mut bytes = vec![kind];
                bytes.extend((body.len() as u32).to_be_bytes());
                bytes.extend(body);
                self.harm(&bytes);
            }
            Step::Packet(to, len) => {
                let bytes = send_packet(key(to), &vec![0xbb; usize::from(len)]);
                self.harm(&bytes);
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
            Step::Wait(time) => {
                // What waits for a second is dropped: honest clients read before.
                self.hear();
                self.rig.wait(ms(time.into()));
            }
        }
        if self.unread > UNREAD {
            self.hear();
        }
    }

    fn harm(&mut self, bytes: &[u8]) {
        self.rig.bytes(self.villain.id, bytes);
        self.unread += bytes.len();
    }

    fn say(&mut self, side: usize, len: u16, is_disco: bool) {
        let number = self.sent[side].iter().map(Vec::len).sum::<usize>() as u8;
        let packet = if is_disco { disco(number) } else { vec![number; usize::from(len)] };
        self.rig.send(self.honest[side], self.honest[1 - side].key, &packet);
        self.unread += packet.len();
        self.sent[side][usize::from(is_disco)].push(packet);
        if is_disco {
            // Its queue is short, and one message of the villain's may fill it.
            self.hear();
        }
    }

    fn hear(&mut self) {
        for side in [0, 1] {
            let bytes = self.rig.raw(self.honest[side].id);
            for got in read(&bytes) {
                match got {
                    Got::Packet(from, packet) if from == self.honest[1 - side].key => {
                        let is_disco = packet.starts_with(DISCO);
                        self.got[1 - side][usize::from(is_disco)].push(packet);
                    }
                    Got::Packet(from, _) => {
                        assert_eq!(from, key(3), "whom a packet is from is proven by its login");
                    }
                    Got::Gone(peer, _) => assert_eq!(peer, key(3)),
                    Got::KeepAlive => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        self.rig.raw(self.villain.id);
        self.unread = 0;
    }

    /// What must be true at the end.
    pub(crate) fn check(mut self) {
        self.hear();
        assert_eq!(self.sent, self.got, "what honest clients say to each other arrives, whole and in order");
        for client in self.honest {
            assert_eq!(self.rig.closed(client.id), None, "an honest client was disconnected");
        }
    }
}
