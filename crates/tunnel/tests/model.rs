//! Whether two tunnels over any link, in virtual time, keep what a model of WireGuard promises: what arrives, and what the wire shows.
//!
//! The reference knows nothing of keys and timers. It knows when the link has been sound for long enough that a packet must
//! arrive, whatever happened before; and a monitor on the wire checks each datagram against the rules of the paper.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use common::*;
use proptest::{prelude::*, test_runner::RngSeed};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use tidewire_keys::{Drbg, Epoch, Seed};
use tidewire_tunnel::{
    Discard, Event, KEEPALIVE_TIMEOUT, Message, NO_ANSWER_TIMEOUT, PeerConfig, REJECT_AFTER_TIME,
    REKEY_TIMEOUT, Shard,
};

/// The most that jitter adds.
const JITTER: Duration = Duration::from_millis(334);
/// Time from the first packet on a sound link until every later one must arrive: silence is noticed, and a handshake that had
/// to wait for its turn is done.
const RECOVERY: u64 = 21_500;
/// How long a packet may take on a sound link: it may have to wait for a handshake that has to wait for its turn.
const TRANSIT: u64 = 6_000;
/// The most that any link takes to carry a datagram.
const LONGEST_FLIGHT: u64 = 500;
/// Fewer than may wait for a session.
const MOST_AT_ONCE: u32 = 200;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link {
    /// Percent of datagrams that are lost, from node 0 and from node 1.
    loss: [u8; 2],
    twice: u8,
    delay: u16,
    /// Up to so many milliseconds more, so that datagrams overtake each other.
    jitter: u16,
}

impl Link {
    fn is_sound(&self) -> bool {
        self.loss == [0, 0]
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        from: usize,
        count: u8,
    },
    Wait {
        ms: u32,
    },
    Change(Link),
    Initiate(usize),
    Expire(usize),
    Restart(usize),
    /// Someone on the path sends a recorded datagram again, perhaps with a bit flipped.
    Again {
        which: u16,
        flipped: Option<u16>,
        to: usize,
    },
}

/// What the reference expects.
#[derive(Clone, Debug)]
struct Expected {
    now: u64,
    link: Link,
    /// From when on nothing is under way any more that was sent before the last disturbance.
    quiet_from: u64,
    /// When the first packet was sent by each after that.
    tried: [Option<u64>; 2],
    next_id: u32,
    at_once: u32,
    /// Packets that must arrive at the other side, and by when.
    owed: Vec<(u32, usize, u64)>,
    has_restarted: bool,
}

impl Expected {
    fn disturb(&mut self) {
        self.tried = [None, None];
        self.quiet_from = self.now + LONGEST_FLIGHT;
        let now = self.now;
        self.owed.retain(|&(_, _, due)| due <= now);
    }
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Expected;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Expected> {
        let link = Link { loss: [0, 0], twice: 0, delay: 20, jitter: 0 };
        Just(Expected {
            now: 0,
            link,
            quiet_from: 0,
            tried: [None, None],
            next_id: 0,
            at_once: 0,
            owed: Vec::new(),
            has_restarted: false,
        })
        .boxed()
    }

    fn transitions(_: &Expected) -> BoxedStrategy<Step> {
        let side = 0..2usize;
        let lossy = (
            [prop_oneof![Just(0u8), 1..60u8, Just(100)], prop_oneof![Just(0u8), 1..60u8, Just(100)]],
            0..30u8,
        );
        let link = (lossy, 0..200u16, 0..300u16);
        prop_oneof![
            12 => (side.clone(), 1..9u8).prop_map(|(from, count)| Step::Send { from, count }),
            8 => prop_oneof![0..2_000u32, 2_000..20_000u32].prop_map(|ms| Step::Wait { ms }),
            3 => prop_oneof![20_000..130_000u32, 100_000..200_000u32, 500_000..560_000u32].prop_map(|ms| Step::Wait { ms }),
            2 => link.prop_map(|((loss, twice), delay, jitter)| Step::Change(Link { loss, twice, delay, jitter })),
            3 => (0..30u8, 0..100u16, 0..50u16)
                .prop_map(|(twice, delay, jitter)| Step::Change(Link { loss: [0, 0], twice, delay, jitter })),
            1 => side.clone().prop_map(Step::Initiate),
            1 => side.clone().prop_map(Step::Expire),
            1 => side.clone().prop_map(Step::Restart),
            3 => (any::<u16>(), proptest::option::of(any::<u16>()), side)
                .prop_map(|(which, flipped, to)| Step::Again { which, flipped, to }),
        ]
        .boxed()
    }

    fn apply(mut state: Expected, step: &Step) -> Expected {
        match *step {
            Step::Send { from, count } => {
                if state.link.is_sound() && state.now >= state.quiet_from {
                    let tried = *state.tried[from].get_or_insert(state.now);
                    for id in state.next_id..state.next_id + u32::from(count) {
                        state.at_once += 1;
                        if state.now >= tried + RECOVERY && state.at_once <= MOST_AT_ONCE {
                            state.owed.push((id, from, state.now + TRANSIT));
                        }
                    }
                }
                state.next_id += u32::from(count);
            }
            Step::Wait { ms } => {
                state.now += u64::from(ms);
                if ms > 6_000 {
                    state.at_once = 0;
                }
            }
            Step::Change(link) => {
                // What is under way keeps its delay, and a longer delay can be beyond what was promised.
                state.disturb();
                state.link = link;
            }
            Step::Initiate(_) => {}
            Step::Expire(_) => state.disturb(),
            Step::Restart(_) => {
                state.disturb();
                state.has_restarted = true;
            }
            // A node that has forgotten which initiations it saw can be made to answer an old one again.
            Step::Again { .. } if state.has_restarted => state.disturb(),
            Step::Again { .. } => {}
        }
        state
    }
}

/// A session as one side may send on it.
struct Usable {
    since: Instant,
    local: u32,
    confirmed: bool,
}

/// What the wire showed of one side, and what that side must do because of it.
#[derive(Default)]
struct Monitor {
    initiated: Option<Instant>,
    counters: BTreeMap<u32, u64>,
    /// By the receiver index that its messages bear.
    sessions: BTreeMap<u32, Usable>,
    /// Since when data is unanswered by this side.
    owes: Option<Instant>,
    /// Since when data of this side is unanswered.
    awaits: Option<Instant>,
}

impl Monitor {
    fn sent(&mut self, now: Instant, datagram: &[u8]) {
        self.owes = None;
        match Message::parse(datagram).unwrap() {
            Message::Initiation(_) => {
                assert!(
                    self.initiated.is_none_or(|at| now >= at + REKEY_TIMEOUT),
                    "initiations less than 5 s apart"
                );
                self.initiated = Some(now);
            }
            Message::Response(response) => {
                let session = Usable { since: now, local: response.sender.get(), confirmed: false };
                self.sessions.insert(response.receiver.get(), session);
            }
            Message::CookieReply(_) => {}
            Message::Transport { header, sealed } => {
                let index = header.receiver.get();
                let session = self.sessions.get(&index).expect("a session that a handshake made");
                assert!(session.confirmed, "the responder speaks first");
                assert!(now < session.since + REJECT_AFTER_TIME, "a session is used for too long");
                let counter = self.counters.entry(index).or_default();
                assert_eq!(header.counter.get(), *counter, "counters go up by one");
                *counter += 1;
                if sealed.len() > 16 {
                    self.awaits.get_or_insert(now);
                }
            }
        }
    }

    /// A datagram was delivered, and this is what its receiver made of it.
    fn heard(&mut self, now: Instant, datagram: &[u8], events: &[Event], opened: &[Vec<u8>]) {
        if !opened.is_empty() || events.iter().any(|event| matches!(event, Event::Heard { .. })) {
            self.awaits = None;
        }
        if opened.iter().any(|packet| !packet.is_empty()) {
            self.owes.get_or_insert(now);
        }
        for event in events {
            match (event, Message::parse(datagram)) {
                (Event::Established { initiator: true, .. }, Ok(Message::Response(response))) => {
                    let session = Usable { since: now, local: response.receiver.get(), confirmed: true };
                    self.sessions.insert(response.sender.get(), session);
                }
                (Event::Established { initiator: false, .. }, Ok(Message::Transport { header, .. })) => {
                    let index = header.receiver.get();
                    let session = self.sessions.values_mut().find(|session| session.local == index);
                    session.expect("only an answered session is confirmed").confirmed = true;
                }
                (Event::Established { .. }, _) => panic!("{event:?} by {datagram:02x?}"),
                _ => {}
            }
        }
    }

    fn check(&self, now: Instant, has_session: bool) {
        if let Some(since) = self.owes {
            let grace = if has_session { Duration::ZERO } else { REKEY_TIMEOUT + JITTER };
            assert!(now <= since + KEEPALIVE_TIMEOUT + grace, "received data was not answered");
        }
        if let Some(since) =
            self.awaits.filter(|&since| now > since + NO_ANSWER_TIMEOUT + REKEY_TIMEOUT + JITTER * 2)
        {
            assert!(self.initiated.is_some_and(|at| at >= since), "unanswered data led to no handshake");
        }
    }
}

struct Net {
    now: Instant,
    link: Link,
    nodes: [Node; 2],
    monitors: [Monitor; 2],
    flying: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    recorded: Vec<Vec<u8>>,
    arrived: [BTreeSet<u32>; 2],
    too_old: u64,
    sent: u64,
    next_id: u32,
    chance: Drbg,
}

impl Net {
    fn new(link: Link) -> Self {
        let mut net = Self {
            now: t0(),
            link,
            nodes: [Node::new(1), Node::new(2)],
            monitors: Default::default(),
            flying: BTreeMap::new(),
            recorded: Vec::new(),
            arrived: Default::default(),
            too_old: 0,
            sent: 0,
            next_id: 0,
            chance: Drbg::new(&Seed::new([5; 32]), "link"),
        };
        net.introduce(0);
        net.introduce(1);
        net
    }

    fn introduce(&mut self, side: usize) {
        let key = self.nodes[1 - side].key;
        self.nodes[side].add(self.now, PEER, PeerConfig::new(key));
    }

    fn send(&mut self, from: usize, count: u8) {
        let ids = self.next_id..self.next_id + u32::from(count);
        self.next_id = ids.end;
        let packets: Vec<Vec<u8>> = ids.map(|id| packet(id, from)).collect();
        let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        self.nodes[from].send_all(self.now, PEER, &packets);
        self.pump(self.now);
    }

    fn restart(&mut self, side: usize) {
        let floor = self.nodes[side].tunnel.last_stamp();
        let mut epoch = Epoch::new(Duration::from_secs(1_700_000_000) + self.now.duration_since(t0()));
        if let Some(floor) = floor {
            epoch = epoch.with_floor(floor);
        }
        self.nodes[side] = Node::with(side as u8 + 1, self.now, epoch, Shard::default());
        self.nodes[side].tunnel.reseed(&self.chance.seed());
        self.monitors[side] = Monitor::default();
        self.introduce(side);
    }

    /// Lets everything happen until `end`, in order.
    fn pump(&mut self, end: Instant) {
        loop {
            self.transmit();
            let flying = self.flying.keys().next().map(|(at, _)| *at);
            let events = self.nodes.each_mut().map(|node| node.tunnel.next_event().map(|(at, _)| at));
            let Some(at) = events.into_iter().chain([flying]).flatten().min().filter(|&at| at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, datagram) = entry.remove();
                self.deliver(to, &datagram);
                self.transmit();
            }
            self.nodes.iter_mut().for_each(|node| node.run(self.now));
            self.transmit();
            self.check();
        }
        self.now = end;
        self.check();
    }

    fn transmit(&mut self) {
        for from in [0, 1] {
            for datagram in self.nodes[from].take_sent() {
                self.monitors[from].sent(self.now, &datagram);
                self.recorded.push(datagram.clone());
                let copies = if self.chance.below(100) < self.link.twice.into() { 2 } else { 1 };
                for _ in 0..copies {
                    if self.chance.below(100) >= self.link.loss[from].into() {
                        let delay =
                            u64::from(self.link.delay) + self.chance.below(u64::from(self.link.jitter) + 1);
                        self.sent += 1;
                        let at = self.now + Duration::from_millis(delay);
                        self.flying.insert((at, self.sent), (1 - from, datagram.clone()));
                    }
                }
            }
        }
    }

    fn deliver(&mut self, to: usize, datagram: &[u8]) {
        let node = &mut self.nodes[to];
        node.hear(self.now, source(1 - to as u8), datagram);
        node.run(self.now);
        let opened: Vec<Vec<u8>> = node.received.drain(..).map(|(_, packet)| packet).collect();
        self.monitors[to].heard(self.now, datagram, &node.take_events(), &opened);
        for received in opened.iter().filter(|packet| !packet.is_empty()) {
            let id = u32::from_le_bytes(*received.first_chunk().unwrap());
            let original = packet(id, 1 - to);
            assert!(received.starts_with(&original), "packet {id} arrived changed");
            assert!(received[original.len()..].iter().all(|byte| *byte == 0), "padding is zeros");
            assert!(self.arrived[to].insert(id), "packet {id} arrived twice");
        }
    }

    fn check(&mut self) {
        for (node, monitor) in self.nodes.iter_mut().zip(&self.monitors) {
            let status = node.tunnel.status(self.now, PEER).unwrap();
            let next = node.tunnel.next_event();
            assert!(status.session.is_none() || next.is_some(), "a session without an event");
            assert!(status.waiting == 0 || status.is_shaking_hands, "packets that wait for nothing");
            monitor.check(self.now, status.session.is_some());
        }
    }
}

/// What packet `id` of `from` looks like.
fn packet(id: u32, from: usize) -> Vec<u8> {
    let len = 20 + (id as usize * 37) % 1300;
    let mut packet: Vec<u8> = (0..len).map(|i| (i as u32 * (id + 3) + from as u32) as u8).collect();
    packet[..4].copy_from_slice(&id.to_le_bytes());
    packet[4] = from as u8;
    packet
}

struct TwoTunnels;

impl StateMachineTest for TwoTunnels {
    type SystemUnderTest = Net;
    type Reference = Reference;

    fn init_test(expected: &Expected) -> Net {
        Net::new(expected.link)
    }

    fn apply(mut net: Net, expected: &Expected, step: Step) -> Net {
        match step {
            Step::Send { from, count } => net.send(from, count),
            Step::Wait { .. } => net.pump(t0() + Duration::from_millis(expected.now)),
            Step::Change(link) => net.link = link,
            Step::Initiate(side) => {
                let node = &mut net.nodes[side];
                node.tunnel.initiate(net.now, PEER, &mut node.out);
                node.collect();
                net.pump(net.now);
            }
            Step::Expire(side) => {
                let node = &mut net.nodes[side];
                node.tunnel.expire_peer(PEER, &mut node.out);
                node.collect();
                node.take_events();
                (net.monitors[side].owes, net.monitors[side].awaits) = (None, None);
            }
            Step::Restart(side) => {
                net.too_old += net.nodes[side].discarded(Discard::SessionTooOld);
                net.restart(side);
            }
            Step::Again { which, flipped, to } if !net.recorded.is_empty() => {
                let mut datagram = net.recorded[usize::from(which) % net.recorded.len()].clone();
                if let Some(bit) = flipped {
                    let bit = usize::from(bit) % (datagram.len() * 8);
                    datagram[bit / 8] ^= 1 << (bit % 8);
                }
                net.deliver(to, &datagram);
                net.pump(net.now);
            }
            Step::Again { .. } => {}
        }
        net
    }

    fn check_invariants(net: &Net, expected: &Expected) {
        assert_eq!(net.now, t0() + Duration::from_millis(expected.now));
        let owed = expected.owed.iter().filter(|&&(_, _, due)| due <= expected.now);
        let missing: Vec<_> = owed.filter(|&&(id, from, _)| !net.arrived[1 - from].contains(&id)).collect();
        // A packet that is under way while its session becomes 180 s old is lost.
        let too_old: u64 = net.nodes.iter().map(|node| node.discarded(Discard::SessionTooOld)).sum();
        assert!(missing.len() as u64 <= too_old + net.too_old, "lost on a sound link: {missing:?}");
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        rng_seed: RngSeed::Fixed(20_261_103),
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn two_tunnels_keep_their_promises(sequential 1..120 => TwoTunnels);
}
