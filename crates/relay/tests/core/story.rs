//! A story of two honest clients, two that are up to no good, and strangers at one relay; the honest ones must not be harmed. One of
//! either kind speaks WebSocket, and all are limited in their rate. Told by
//! the property test and by the fuzz target `relay_core`, which takes this file as it is.

use tidewire_derp::Frame;
use tidewire_relay::core::{Admission, Closed, Limits, RateLimit, Why};

use super::{
    rig::{Client, Got, Rig, disco, encode, key, ms, read, send_packet},
    wire::{self, message, stream, unwrap},
};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A stranger connects, and says something.
    Knock(Vec<u8>),
    /// A stranger connects, begins as one that will log in, and says something.
    Stranger(Vec<u8>),
    /// A client that is up to no good and speaks WebSocket sends bytes, in a message or as if they were one.
    WebSocketVillain(bool, Vec<u8>),
    /// The sockets of those that are up to no good take nothing any more, and so does that of an honest one until it reads
    /// next. Or: they take everything again.
    Block(bool),
    /// A client that is up to no good sends as much as its socket is read.
    Rate(u16),
    /// Only the honest ones may be here from now on, or everybody may.
    Admit(bool),
    /// Each honest one is sent something, as much as so long a record holds.
    Gather(u16),
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
    /// The second one speaks WebSocket.
    honest: [Client; 2],
    villains: [Client; 2],
    /// Those who are up to no good may be here.
    is_open: bool,
    /// By side: what was sent and is not read yet.
    held: [Vec<u8>; 2],
    /// By side, data and disco apart: disco overtakes.
    sent: [[Vec<Vec<u8>>; 2]; 2],
    got: [[Vec<Vec<u8>>; 2]; 2],
    /// Bytes that were sent since the honest ones have last read.
    unread: usize,
}

/// So much may wait for an honest client: far less than its queue holds. Who never reads is another story.
const UNREAD: usize = 64 << 10;
const VILLAINS: [u8; 2] = [3, 5];
const RATE: RateLimit = RateLimit { bytes_per_second: 200_000, burst: 100_000 };

impl Story {
    pub(crate) fn new() -> Self {
        let mut rig = Rig::with_limits(Limits { rate: Some(RATE), ..Limits::default() });
        let honest = [rig.login(1), login_by_websocket(&mut rig, 2)];
        let villains = [rig.login(VILLAINS[0]), login_by_websocket(&mut rig, VILLAINS[1])];
        let (held, sent, got) = Default::default();
        Self { rig, honest, villains, is_open: true, held, sent, got, unread: 0 }
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
            Step::Garbage(bytes) => self.harm(0, &bytes),
            Step::WebSocketVillain(true, bytes) => self.harm(1, &message(0x82, &bytes)),
            Step::WebSocketVillain(false, bytes) => self.harm(1, &bytes),
            Step::Block(is_blocked) => self.block(is_blocked),
            Step::Rate(len) => self.flood(usize::from(len)),
            Step::Admit(everybody) => self.admit(everybody),
            Step::Gather(full) => self.gather(usize::from(full)),
            Step::Frame(kind, body) => {
                let mut bytes = vec![kind];
                bytes.extend((body.len() as u32).to_be_bytes());
                bytes.extend(body);
                self.harm(0, &bytes);
            }
            Step::Packet(to, len) => {
                let bytes = send_packet(key(to), &vec![0xbb; usize::from(len)]);
                self.harm(0, &bytes);
            }
            Step::Return => self.come_back(),
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

    fn harm(&mut self, villain: usize, bytes: &[u8]) {
        self.rig.bytes(self.villains[villain].id, bytes);
        self.unread += bytes.len();
    }

    fn come_back(&mut self) {
        for villain in self.villains {
            self.rig.core.disconnect(villain.id, Closed::Left);
        }
        if self.is_open {
            self.villains = [self.rig.login(VILLAINS[0]), login_by_websocket(&mut self.rig, VILLAINS[1])];
        }
    }

    fn block(&mut self, is_blocked: bool) {
        for id in [self.villains[0].id, self.villains[1].id, self.honest[0].id] {
            if is_blocked {
                self.rig.core.blocked(self.rig.now, id);
            } else {
                self.rig.core.unblocked(id);
            }
        }
    }

    /// As a socket is read: what the core allows, and nothing while it allows nothing.
    fn flood(&mut self, len: usize) {
        let id = self.villains[0].id;
        let bytes = vec![0x55; len];
        let mut rest = &bytes[..];
        while !rest.is_empty() && self.rig.core.is_readable(id) {
            let (piece, further) = rest.split_at(self.rig.core.allowance(id).min(rest.len()));
            self.harm(0, piece);
            rest = further;
        }
        let is_waiting = !self.rig.core.is_readable(id) && self.rig.closed(id).is_none();
        if is_waiting {
            let due = self.rig.core.next_event().expect("it is read again at some time").0;
            assert!(due <= self.rig.now + Limits::DEFAULT.setup_time.max(ms(65_000)));
        }
    }

    fn admit(&mut self, everybody: bool) {
        let keys = || self.honest.iter().map(|client| client.key).collect();
        let admission = if everybody { Admission::Everyone } else { Admission::Keys(keys()) };
        self.rig.core.set_admission(self.rig.now, admission);
        self.is_open = everybody;
        for villain in self.villains.into_iter().filter(|_| !everybody) {
            self.rig.raw(villain.id);
            self.rig.core.disconnect(villain.id, Closed::Left);
            assert!(self.rig.closed(villain.id).is_some());
        }
    }

    fn gather(&mut self, full: usize) {
        for side in [0, 1] {
            let mut bytes = Vec::new();
            self.rig.core.gather(self.rig.now, self.honest[side].id, full, &mut bytes);
            self.held[side].extend(bytes);
        }
    }

    /// An honest client writes when its socket is read: it waits, and reads meanwhile.
    fn wait_to_write(&mut self, side: usize) {
        let id = self.honest[side].id;
        while !self.rig.core.is_readable(id) && self.rig.closed(id).is_none() {
            self.hear();
            let due = self.rig.core.next_event().expect("it is read again at some time");
            assert!(due.1 != Why::Setup || due.0 <= self.rig.now + Limits::DEFAULT.setup_time);
            self.rig.wait(ms(20));
        }
    }

    fn say(&mut self, side: usize, len: u16, is_disco: bool) {
        self.wait_to_write(side);
        let number = self.sent[side].iter().map(Vec::len).sum::<usize>() as u8;
        let packet = if is_disco { disco(number) } else { vec![number; usize::from(len)] };
        let frame = send_packet(self.honest[1 - side].key, &packet);
        let bytes = if side == 1 { message(0x82, &frame) } else { frame };
        self.rig.bytes(self.honest[side].id, &bytes);
        self.unread += packet.len();
        self.sent[side][usize::from(is_disco)].push(packet);
        if is_disco {
            // Its queue is short, and one message of the villain's may fill it.
            self.hear();
        }
    }

    fn hear(&mut self) {
        for side in [0, 1] {
            let mut bytes = std::mem::take(&mut self.held[side]);
            bytes.extend(self.rig.raw(self.honest[side].id));
            self.rig.core.unblocked(self.honest[side].id);
            let frames = if side == 1 { stream(&unwrap(&bytes)) } else { bytes };
            for got in read(&frames) {
                match got {
                    Got::Packet(from, packet) if from == self.honest[1 - side].key => {
                        let is_disco = packet.starts_with(DISCO);
                        self.got[1 - side][usize::from(is_disco)].push(packet);
                    }
                    Got::Packet(from, _) => {
                        assert!(
                            VILLAINS.map(key).contains(&from),
                            "whom a packet is from is proven by its login"
                        );
                    }
                    Got::Gone(peer, _) => assert!(VILLAINS.map(key).contains(&peer)),
                    Got::KeepAlive => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        for villain in self.villains {
            self.rig.raw(villain.id);
        }
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

fn login_by_websocket(rig: &mut Rig, byte: u8) -> Client {
    Client { id: wire::login(rig, byte), key: key(byte) }
}
