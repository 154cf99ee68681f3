//! A connection machine and what is around it, and what must hold whatever happens to it. Told by the property test and by the fuzz
//! target `derp_client`, which takes this file as it is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tidewire_derp::{
    Frame, Region, RegionId, RegionNode, Regions, ServerInfo,
    frame::{Decoder, GoneReason, Limits},
    login::Rate,
    machine::{Action, Config, LinkId, LinkState, Machine, Network, Opened, Seen, Step, limits},
    proxy::Proxies,
};
use tidewire_keys::{NodePublic, NodeSecret, RelaySecret, Seed};

fn t0() -> Instant {
    static T0: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "the one base time of the tests")]
    *T0.get_or_init(Instant::now)
}

/// What happens next. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub(crate) enum Move {
    /// A dial ends well, with or without the relay's key.
    Opened(usize, bool),
    /// A stream or a dial ends badly.
    Broken(usize, u8),
    /// A WebSocket is agreed on.
    WebSocket(usize),
    /// The relay says what it must at this point of a login.
    Proper(usize),
    /// The relay says a frame of this kind.
    Frame(usize, u8),
    /// The relay says anything.
    Bytes(usize, Vec<u8>),
    /// The stream takes this much.
    Write(usize, usize),
    Blocked(usize, bool),
    Send(u8, u8, usize),
    Wait(u64),
    Regions(u8),
    Home(Option<u8>),
    Kept(Vec<u8>),
    NetworkChanged,
}

fn relay_key() -> RelaySecret {
    RelaySecret::from_bytes([0x22; 32])
}

fn node_key() -> NodeSecret {
    NodeSecret::from_bytes([0x11; 32])
}

/// Three regions of one to three nodes; bits of `shape` change them.
fn regions(shape: u8) -> Regions {
    let region = |id: u8| {
        let nodes = (0..=id % 3).map(|n| RegionNode {
            stun_only: shape & 1 << (id + n) != 0,
            ..RegionNode::new(format!("{id}{n}"), format!("n{n}.example"))
        });
        Region::new(RegionId(u16::from(id)), "x", nodes.collect())
    };
    Regions::try_from((1..=3).filter(|id| shape & 0x80 >> id == 0).map(region).collect::<Vec<_>>()).unwrap()
}

/// A stream as the relay sees it.
#[derive(Default)]
struct Wire {
    open: bool,
    websocket: bool,
    /// Everything that was written.
    written: Vec<u8>,
    /// How far the relay is in a proper login.
    said: usize,
}

pub(crate) struct World {
    machine: Machine,
    now: Instant,
    wires: BTreeMap<LinkId, Wire>,
}

impl World {
    pub(crate) fn new() -> Self {
        let config = Config {
            key: node_key(),
            regions: regions(0),
            home: Some(RegionId(1)),
            kept: Vec::new(),
            proxies: Proxies::none(),
            fast_start: true,
            force_websocket: false,
            app_name: Some("test".to_owned()),
        };
        let machine = Machine::new(t0(), config, &Seed::new([1; 32]));
        let mut world = Self { machine, now: t0(), wires: BTreeMap::new() };
        world.act();
        world
    }

    fn pick(&self, n: usize) -> Option<LinkId> {
        self.wires.keys().copied().nth(n % self.wires.len().max(1))
    }

    /// Does one thing, and looks whether all is well.
    pub(crate) fn apply(&mut self, step: Move) {
        let now = self.now;
        match step {
            Move::Opened(n, key) => self.with(n, |machine, link, wire| {
                if !wire.open {
                    wire.open = true;
                    let relay_key = key.then(|| relay_key().public());
                    machine.opened(
                        now,
                        link,
                        &Opened { relay_key, network: Network(1), ..Opened::default() },
                    );
                }
            }),
            Move::Broken(n, how) => self.with(n, |machine, link, wire| match how % 4 {
                0 => machine.failed(now, link, Step::Connect, Seen::Timeout),
                1 => machine.failed(now, link, Step::Tls, Seen::Tls(String::new())),
                2 if wire.websocket => machine.failed(now, link, Step::WebSocket, Seen::Status(404)),
                _ => machine.ended(now, link, Seen::End),
            }),
            Move::WebSocket(n) => self.with(n, |machine, link, _| machine.websocket_opened(now, link)),
            Move::Proper(n) => self.with(n, |machine, link, wire| {
                let mut bytes = Vec::new();
                match (wire.said, wire.websocket) {
                    (0, false) => bytes.extend(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n"),
                    (0, true) => {}
                    (1, _) => Frame::ServerKey(relay_key().public()).encode(&mut bytes).unwrap(),
                    (n, _) => {
                        let shared = relay_key().shared(&node_key().public());
                        let rate = (n % 3 == 0).then_some(Rate { bytes_per_second: 5000, burst: 0 });
                        ServerInfo { version: 2, rate }.encode(&shared, &[n as u8; 24], &mut bytes);
                    }
                }
                wire.said += 1;
                machine.received(now, link, &bytes, |_, _| ());
            }),
            Move::Frame(n, kind) => {
                let peer = NodePublic::from_bytes([kind; 32]);
                let frame = match kind % 8 {
                    0 => Frame::KeepAlive,
                    1 => Frame::Ping([kind; 8]),
                    2 => Frame::Pong([kind; 8]),
                    3 => Frame::PeerGone { peer, reason: GoneReason::NotHere },
                    4 => Frame::Health(b"x"),
                    5 => Frame::Restarting {
                        reconnect_in: Duration::from_secs(u64::from(kind)),
                        try_for: Duration::ZERO,
                    },
                    6 => Frame::RecvPacket { from: peer, packet: &[kind; 50] },
                    _ => Frame::ServerKey(relay_key().public()),
                };
                let mut bytes = Vec::new();
                frame.encode(&mut bytes).unwrap();
                self.with(n, |machine, link, _| machine.received(now, link, &bytes, |_, _| ()));
            }
            Move::Bytes(n, bytes) => {
                self.with(n, |machine, link, _| machine.received(now, link, &bytes, |_, _| ()))
            }
            Move::Write(n, most) => self.with(n, |machine, link, wire| {
                let bytes = machine.to_write(now, link);
                let bytes = bytes[..bytes.len().min(most)].to_vec();
                assert!(wire.open || bytes.is_empty(), "bytes for a stream that is not open");
                machine.wrote(now, link, bytes.len());
                wire.written.extend(bytes);
            }),
            Move::Blocked(n, blocked) => {
                self.with(n, |machine, link, _| machine.set_blocked(now, link, blocked))
            }
            Move::Send(region, peer, len) => {
                let packet = vec![4; len];
                let to = NodePublic::from_bytes([peer; 32]);
                self.machine.send(now, RegionId(u16::from(region)), to, std::iter::once(&packet[..]));
            }
            Move::Wait(ms) => self.sleep_to(now + Duration::from_millis(ms)),
            Move::Regions(shape) => self.machine.set_regions(now, regions(shape)),
            Move::Home(home) => self.machine.set_home(now, home.map(|id| RegionId(u16::from(id)))),
            Move::Kept(kept) => {
                self.machine.set_kept(now, kept.into_iter().map(|id| RegionId(u16::from(id))).collect());
            }
            Move::NetworkChanged => self.machine.network_changed(now),
        }
        self.act();
        self.machine.process_events(self.now);
        self.act();
        self.check_awake();
    }

    fn with(&mut self, n: usize, act: impl FnOnce(&mut Machine, LinkId, &mut Wire)) {
        let Some(link) = self.pick(n) else { return };
        let wire = self.wires.get_mut(&link).unwrap();
        act(&mut self.machine, link, wire);
    }

    fn act(&mut self) {
        while let Some(action) = self.machine.pop_action() {
            match action {
                Action::Dial(dial) => {
                    let old = self.wires.insert(dial.link, Wire::default());
                    assert!(old.is_none(), "a link is never used twice");
                    assert!(!dial.node.stun_only);
                }
                Action::WebSocket { link, .. } => self.wires.get_mut(&link).unwrap().websocket = true,
                Action::Close(link) => check(&self.wires.remove(&link).expect("what is closed was dialed")),
            }
        }
        let regions: Vec<RegionId> = self.wires.keys().map(|link| link.region()).collect();
        assert!(regions.windows(2).all(|pair| pair[0] != pair[1]), "one link a region: {regions:?}");
        while self.machine.pop_event().is_some() {}
    }

    /// Sleeps as a shell does: to each wake-up, and not for ever on the spot.
    fn sleep_to(&mut self, until: Instant) {
        let (mut at_once, mut wakes) = (0, 0);
        while let Some((at, why)) = self.machine.next_event(self.now).filter(|(at, _)| *at <= until) {
            at_once = if at <= self.now { at_once + 1 } else { 0 };
            wakes += 1;
            assert!(at_once < 8, "it spins: {why:?}");
            self.now = self.now.max(at);
            self.machine.process_events(self.now);
            self.act();
        }
        let seconds = (until - self.now).as_secs() + 200;
        assert!(wakes < 60 * seconds, "{wakes} wake-ups");
        self.now = until;
    }

    /// What was written to the streams that are still open makes sense, too.
    pub(crate) fn check_written(&self) {
        self.wires.values().for_each(check);
    }

    /// A region that is wanted is never forgotten.
    fn check_awake(&self) {
        let status = self.machine.status(self.now);
        for region in &status.regions {
            let next = self.machine.next_event(self.now);
            match region.state {
                LinkState::Idle => {}
                LinkState::Waiting(at) => {
                    let most = limits::RESTART_MAX.max(limits::BACKOFF_MAX);
                    assert!(at <= self.now + most, "it waits for ever");
                }
                LinkState::Connecting => {
                    let (at, _) = next.expect("an attempt has an end");
                    assert!(at <= self.now + limits::ROUND, "an attempt has a hard bound");
                }
                LinkState::Up(_) => {
                    let (at, _) = next.expect("a connection is watched");
                    assert!(at <= self.now + limits::SILENCE);
                }
            }
        }
    }
}

/// What was written to a stream is a request, if it is no WebSocket, and whole frames; the last one may be cut by the end.
fn check(wire: &Wire) {
    let mut bytes = &wire.written[..];
    if bytes.starts_with(b"GET") {
        let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return };
        bytes = &bytes[at + 4..];
    }
    let mut decoder = Decoder::new(Limits::RELAY);
    let mut first = true;
    while let Some(frame) = decoder.next(&mut bytes).expect("the client sends only what a relay takes") {
        assert_eq!(
            first,
            matches!(frame, Frame::ClientInfo { .. }),
            "a login comes first, and once: {frame:?}"
        );
        first = false;
        let proper = matches!(
            frame,
            Frame::ClientInfo { .. }
                | Frame::SendPacket { .. }
                | Frame::NotePreferred(_)
                | Frame::Ping(_)
                | Frame::Pong(_)
        );
        assert!(proper, "{frame:?} is no client's");
    }
}
