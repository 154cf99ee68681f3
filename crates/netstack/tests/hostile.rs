//! Whether a peer that breaks every rule of TCP can do harm: nothing panics, and its connection alone suffers.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{A, B, Link, Stream, World, address, ipv4, look};
use proptest::prelude::*;
use tidewire_netstack::{Local, SocketId};

/// What a segment says, relative to where the connection is.
#[derive(Debug, Clone)]
struct Forged {
    seq: i64,
    ack: i64,
    flags: u8,
    window: u16,
    payload: usize,
    options: Vec<u8>,
}

fn forged() -> impl Strategy<Value = Forged> {
    let near = prop_oneof![
        Just(0_i64),
        -3_i64..4,
        -2000_i64..2000,
        -70_000_i64..70_000,
        -1_100_000_i64..2_200_000,
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
    ];
    let flags = prop_oneof![
        Just(0x10_u8),
        Just(0x11),
        Just(0x18),
        Just(0x04),
        Just(0x14),
        Just(2),
        Just(0x12),
        any::<u8>()
    ];
    let payload = prop_oneof![Just(0_usize), Just(1), 0_usize..1200];
    let options = prop_oneof![Just(vec![]), proptest::collection::vec(any::<u8>(), 0..40)];
    (near.clone(), near, flags, any::<u16>(), payload, options).prop_map(
        |(seq, ack, flags, window, payload, mut options)| {
            options.resize(options.len().next_multiple_of(4), 0);
            Forged { seq, ack, flags, window, payload, options }
        },
    )
}

/// B has a connection with a peer at A's address that a test plays.
struct Victim {
    world: World,
    id: Option<SocketId>,
    port: u16,
    seq: u32,
    ack: u32,
}

const PEER: u16 = 5000;

impl Victim {
    fn new() -> Self {
        let mut world = World::new(Link::of(Duration::from_millis(1)));
        world.stacks[B].listen(80).unwrap();
        let mut victim = Self { world, id: None, port: 80, seq: 1000, ack: 0 };
        // MSS 1240, window scale 4, SACK permitted.
        victim.say(1000, 0, 2, 65_535, &[2, 4, 4, 0xd8, 3, 3, 4, 4, 2, 0, 0, 0], &[]);
        victim.seq = 1001;
        let ack = victim.ack;
        victim.say(1001, ack, 0x10, 65_535, &[], &[]);
        victim.id = victim.world.stacks[B].accept(Local::from(80));
        victim
    }

    fn say(&mut self, seq: u32, ack: u32, flags: u8, window: u16, options: &[u8], payload: &[u8]) {
        let mut segment = [PEER.to_be_bytes(), self.port.to_be_bytes()].concat();
        segment.extend(seq.to_be_bytes());
        segment.extend(ack.to_be_bytes());
        segment.extend([((20 + options.len()) as u8 / 4) << 4, flags]);
        segment.extend(window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(options);
        segment.extend(payload);
        let packet = ipv4(address(A, false), address(B, false), 6, &segment, Some(16));
        let batch = tidewire_packet::Batch::copy_of(&self.world.pool, &packet).unwrap();
        self.world.stacks[B].process_inbound(self.world.now, batch);
        while let Some(batch) = self.world.stacks[B].poll_transmit(self.world.now) {
            for packet in batch.iter() {
                let seen = look(packet).unwrap();
                if !seen.rst {
                    self.ack = seen
                        .seq
                        .wrapping_add(seen.payload as u32 + u32::from(seen.syn) + u32::from(seen.fin));
                }
            }
        }
        while self.world.stacks[B].poll_event().is_some() {}
    }

    fn forge(&mut self, forged: &Forged) {
        let (seq, ack) = (self.seq.wrapping_add(forged.seq as u32), self.ack.wrapping_add(forged.ack as u32));
        self.say(seq, ack, forged.flags, forged.window, &forged.options, &vec![9; forged.payload]);
        if forged.seq == 0 {
            self.seq = self.seq.wrapping_add(forged.payload as u32);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn forged_segments_do_no_harm(
        script in proptest::collection::vec((forged(), 0_u8..8, 0_u64..3000), 1..60),
    ) {
        let mut victim = Victim::new();
        let id = victim.id.unwrap();
        for (forged, action, millis) in &script {
            let now = victim.world.now;
            match action {
                0 => drop(victim.world.stacks[B].send(id, &[1; 5000])),
                1 => drop(victim.world.stacks[B].recv(id, 3000, &mut Vec::new())),
                2 if *millis > 2500 => victim.world.stacks[B].shutdown(id),
                3 if *millis > 2900 => victim.world.stacks[B].close(now, id),
                4 => victim.world.stacks[B].nudge(now),
                5 => {
                    victim.world.now += Duration::from_millis(*millis);
                    while victim.world.stacks[B].poll_transmit(victim.world.now).is_some() {}
                }
                _ => {}
            }
            victim.forge(forged);
        }
        // Others are served as ever.
        let mut world = victim.world;
        let a = world.stacks[A].dial(world.now, SocketAddr::new(address(B, false), 80)).unwrap();
        let own = world.status(A, a).local;
        let mut b = None;
        world.run(Duration::from_secs(5), |world| {
            while let Some(id) = world.stacks[B].accept(Local::from(80)) {
                if world.status(B, id).remote == own {
                    b = Some(id);
                }
            }
            b.is_some() && world.status(A, a).established
        });
        let mut stream = Stream::new((A, a), (B, b.unwrap()), 50_000);
        world.run(Duration::from_secs(5), |world| stream.pump(world));
    }

    #[test]
    fn any_bytes_are_taken_in(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut world = World::new(Link::of(Duration::from_millis(1)));
        world.connect(80);
        for packet in &packets {
            world.inject(B, packet);
        }
    }

    #[test]
    fn a_packet_with_flipped_bits_is_taken_in(flips in proptest::collection::vec((0_usize..60, any::<u8>()), 1..4)) {
        let mut victim = Victim::new();
        let mut segment = [PEER.to_be_bytes(), 80_u16.to_be_bytes()].concat();
        segment.extend(victim.seq.to_be_bytes());
        segment.extend(victim.ack.to_be_bytes());
        segment.extend([5 << 4, 0x18, 1, 0, 0, 0, 0, 0]);
        segment.extend([7; 20]);
        let mut packet = ipv4(address(A, false), address(B, false), 6, &segment, Some(16));
        for (at, bits) in &flips {
            packet[*at] ^= bits;
        }
        victim.world.inject(B, &packet);
        let mut text = Vec::new();
        victim.world.stacks[B].recv(victim.id.unwrap(), 100, &mut text);
        // What passes the checksums by chance is at least no longer than what was sent.
        prop_assert!(text.len() <= 20);
    }
}

#[test]
fn a_peer_cannot_send_beyond_the_buffer_before_the_first_acknowledgement() {
    // The window of a SYN is not scaled, and must not be taken as if it were.
    let mut victim = Victim::new();
    let capacity = (1 << 20) - 1;
    let (seq, ack) = (victim.seq, victim.ack);
    for at in [capacity - 500, capacity, capacity + 1, capacity + 400_000, (2 << 20) - 1000] {
        victim.say(seq.wrapping_add(at), ack, 0x18, 1000, &[], &[0xee; 1000]);
    }
    let mut at = 0;
    while at < capacity + 600_000 {
        victim.say(seq.wrapping_add(at), ack, 0x18, 1000, &[], &[0x11; 1200]);
        at += 1200;
        if at > capacity {
            let mut text = Vec::new();
            victim.world.stacks[B].recv(victim.id.unwrap(), 50_000, &mut text);
            let forged = text.iter().filter(|byte| **byte == 0xee).count();
            assert!(text.iter().all(|byte| matches!(byte, 0x11 | 0xee)) && forged <= 500, "{forged}");
        }
    }
}

#[test]
fn a_question_whether_this_end_is_there_is_answered() {
    let mut victim = Victim::new();
    for payload in [&[][..], &[0]] {
        let before = victim.world.now;
        victim.world.now = before + Duration::from_secs(2);
        victim.ack = 0;
        let (seq, ack) = (victim.seq.wrapping_sub(1), 0);
        victim.say(seq, ack, 0x10, 1000, &[], payload);
        assert_ne!(victim.ack, 0, "no answer to {payload:?}");
    }
}
