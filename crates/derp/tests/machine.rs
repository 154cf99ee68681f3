//! The connection machine against a scripted relay, without sockets and in virtual time.

use std::time::{Duration, Instant};

use tidewire_derp::{
    ClientInfo, Frame, Region, RegionId, RegionNode, Regions, ServerInfo,
    frame::{Decoder, GoneReason, Limits, MAX_PACKET, PACKET_OVERHEAD},
    login::Rate,
    machine::{
        Action, Config, Dial, Discard, DownReason, Event, LinkId, LinkState, Machine, Network, Opened, Rung,
        Seen, Step, Why, limits,
    },
    proxy::{Proxies, Proxy},
};
use tidewire_keys::{NodePublic, NodeSecret, RelayPublic, RelaySecret, Seed};

const HOME: RegionId = RegionId(1);
const OTHER: RegionId = RegionId(2);
const HEAD: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\nDerp-Version: 2\r\n\r\n";

fn t0() -> Instant {
    static T0: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "the one base time of the tests")]
    *T0.get_or_init(Instant::now)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn peer(n: u8) -> NodePublic {
    NodePublic::from_bytes([n; 32])
}

fn relay_key() -> RelaySecret {
    RelaySecret::from_bytes([0x22; 32])
}

fn frame(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).unwrap();
    out
}

fn region(id: RegionId, nodes: usize) -> Region {
    let nodes = (0..nodes).map(|n| RegionNode::new(format!("{id}{n}"), format!("n{n}.example"))).collect();
    Region::new(id, "x", nodes)
}

fn regions() -> Regions {
    Regions::try_from(vec![region(HOME, 1), region(OTHER, 1)]).unwrap()
}

fn config(regions: Regions) -> Config {
    Config {
        key: NodeSecret::from_bytes([0x11; 32]),
        regions,
        home: Some(HOME),
        kept: Vec::new(),
        proxies: Proxies::none(),
        fast_start: true,
        force_websocket: false,
        app_name: None,
    }
}

/// A machine, the time, and what it asked for and told.
struct Run {
    machine: Machine,
    now: Instant,
    actions: Vec<Action>,
    events: Vec<Event>,
    packets: Vec<(NodePublic, Vec<u8>)>,
}

impl Run {
    fn new(config: Config) -> Self {
        let machine = Machine::new(t0(), config, &Seed::new([5; 32]));
        let mut run =
            Self { machine, now: t0(), actions: Vec::new(), events: Vec::new(), packets: Vec::new() };
        run.collect();
        run
    }

    fn collect(&mut self) {
        self.actions.extend(std::iter::from_fn(|| self.machine.pop_action()));
        self.events.extend(std::iter::from_fn(|| self.machine.pop_event()));
    }

    /// The only dial that was asked for since the last look.
    fn dial(&mut self) -> Dial {
        let mut dials: Vec<Dial> = Vec::new();
        self.actions.retain(|action| match action {
            Action::Dial(dial) => {
                dials.push(dial.clone());
                false
            }
            _ => true,
        });
        assert_eq!(dials.len(), 1, "{dials:?}");
        dials.remove(0)
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn opened(&mut self, link: LinkId, opened: &Opened) {
        self.machine.opened(self.now, link, opened);
        self.collect();
    }

    fn failed(&mut self, link: LinkId, step: Step, seen: Seen) {
        self.machine.failed(self.now, link, step, seen);
        self.collect();
    }

    fn hear(&mut self, link: LinkId, bytes: &[u8]) {
        let packets = &mut self.packets;
        self.machine.received(self.now, link, bytes, |from, packet| packets.push((from, packet.to_vec())));
        self.collect();
    }

    /// Everything the machine wants to write now.
    fn written(&mut self, link: LinkId) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            let bytes = self.machine.to_write(self.now, link).to_vec();
            if bytes.is_empty() {
                return written;
            }
            self.machine.wrote(self.now, link, bytes.len());
            written.extend(bytes);
        }
    }

    fn send(&mut self, region: RegionId, to: NodePublic, packet: &[u8]) {
        self.machine.send(self.now, region, to, std::iter::once(packet));
        self.collect();
    }

    /// Steps from wake-up to wake-up until `until`, and returns why it woke.
    fn run_to(&mut self, until: Instant) -> Vec<Why> {
        let mut whys = Vec::new();
        while let Some((at, why)) = self.machine.next_event(self.now).filter(|(at, _)| *at <= until) {
            assert!(whys.len() < 10_000, "it never sleeps: {why:?}");
            self.now = self.now.max(at);
            self.machine.process_events(self.now);
            self.collect();
            whys.push(why);
        }
        self.now = until;
        whys
    }

    /// Logs in by a plain upgrade at `link`, which was dialed. Returns what the client wrote behind its login.
    fn log_in(&mut self, link: LinkId, info: &ServerInfo) -> Vec<u8> {
        self.opened(link, &Opened::default());
        let request = self.written(link);
        assert!(request.starts_with(b"GET /derp HTTP/1.1\r\nHost: ") && request.ends_with(b"\r\n\r\n"));
        self.hear(link, &[HEAD, &frame(&Frame::ServerKey(relay_key().public()))].concat());
        let login = self.written(link);
        let rest = check_login(&login);
        self.hear(link, &server_info(info));
        let mut written = rest;
        written.extend(self.written(link));
        written
    }

    /// A link to the home that is up, with nothing left to write or tell.
    fn up(config: Config) -> (Self, LinkId) {
        let mut run = Self::new(config);
        let link = run.dial().link;
        run.log_in(link, &ServerInfo::new());
        assert!(matches!(run.events()[..], [Event::Up { region: HOME, .. }]));
        (run, link)
    }

    fn state(&self, region: RegionId) -> LinkState {
        let status = self.machine.status(self.now);
        status.regions.iter().find(|it| it.region == region).map_or(LinkState::Idle, |it| it.state)
    }

    fn discarded(&self, reason: Discard) -> u64 {
        self.machine.counters().discards.get(reason)
    }
}

/// Opens the login as a relay does; returns what stands behind it.
fn check_login(mut bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(Limits::RELAY);
    let Ok(Some(Frame::ClientInfo { key, sealed })) = decoder.next(&mut bytes) else {
        panic!("no login: {bytes:x?}")
    };
    assert_eq!(key, NodeSecret::from_bytes([0x11; 32]).public());
    let info = ClientInfo::open(&key, &relay_key().shared(&key), &sealed).unwrap();
    assert!(info.can_ack_pings && info.version == 2);
    bytes.to_vec()
}

fn server_info(info: &ServerInfo) -> Vec<u8> {
    let mut out = Vec::new();
    let client = NodeSecret::from_bytes([0x11; 32]).public();
    info.encode(&relay_key().shared(&client), &[9; 24], &mut out);
    out
}

/// The frames of a stream, as text.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::new(Limits::RELAY);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        frames.push(format!("{frame:?}"));
    }
    assert!(decoder.is_between_frames());
    frames
}

fn ping_in(bytes: &[u8]) -> Option<[u8; 8]> {
    let (mut bytes, mut decoder) = (bytes, Decoder::new(Limits::RELAY));
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        if let Frame::Ping(data) = frame {
            return Some(data);
        }
    }
    None
}

#[test]
fn a_plain_upgrade_ends_in_a_login_and_only_server_info_means_up() {
    let mut run = Run::new(config(regions()));
    let dial = run.dial();
    assert_eq!((dial.node.host_name.as_str(), &dial.proxy), ("n0.example", &None));
    assert_eq!(run.state(HOME), LinkState::Connecting);
    run.opened(dial.link, &Opened::default());
    assert!(run.written(dial.link).starts_with(b"GET /derp"));
    run.hear(dial.link, HEAD);
    run.hear(dial.link, &frame(&Frame::ServerKey(relay_key().public())));
    let behind = check_login(&run.written(dial.link));
    assert_eq!(frames(&behind), ["NotePreferred(true)"]);
    assert!(run.events().is_empty(), "a login that was sent is not one that was accepted");
    run.hear(dial.link, &server_info(&ServerInfo::new()));
    let up = Event::Up { region: HOME, node: "10".to_owned(), rung: Rung::Upgrade, proxied: false };
    assert_eq!(run.events(), [up]);
    assert_eq!(run.state(HOME), LinkState::Up(run.now));
}

#[test]
fn trap_bytes_behind_the_head_belong_to_the_stream_however_they_are_cut() {
    let mut stream = HEAD.to_vec();
    stream.extend(frame(&Frame::ServerKey(relay_key().public())));
    stream.extend(frame(&Frame::KeepAlive)[..3].to_vec());
    // A KeepAlive before the login is answered is out of order, so it is cut off above; only the key has to get through.
    for cut in 0..stream.len() {
        let mut run = Run::new(config(regions()));
        let link = run.dial().link;
        run.opened(link, &Opened::default());
        run.written(link);
        run.hear(link, &stream[..cut]);
        run.hear(link, &stream[cut..]);
        assert!(run.events().is_empty(), "cut at {cut}: {:?}", run.events);
        check_login(&run.written(link));
    }
}

#[test]
fn informational_heads_before_the_final_one_are_passed() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    run.written(link);
    let stream = [
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        HEAD,
        &frame(&Frame::ServerKey(relay_key().public())),
    ];
    run.hear(link, &stream.concat());
    check_login(&run.written(link));
}

#[test]
fn trap_a_fast_start_sends_everything_at_once_and_ignores_the_late_server_key() {
    let mut run = Run::new(config(regions()));
    run.send(HOME, peer(1), b"first packet");
    let link = run.dial().link;
    run.opened(link, &Opened { relay_key: Some(relay_key().public()), ..Opened::default() });
    let written = run.written(link);
    let end = written.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&written[..end]).contains("\r\nDerp-Fast-Start: 1\r\n"));
    let behind = frames(&check_login(&written[end..]));
    assert_eq!(behind.len(), 2, "{behind:?}");
    let mut stream = frame(&Frame::ServerKey(relay_key().public()));
    stream.extend(server_info(&ServerInfo::new()));
    stream.extend(frame(&Frame::RecvPacket { from: peer(1), packet: b"answer" }));
    for piece in stream.chunks(7) {
        run.hear(link, piece);
    }
    assert!(matches!(run.events()[..], [Event::Up { rung: Rung::FastStart, .. }]));
    assert_eq!(run.packets, [(peer(1), b"answer".to_vec())]);
}

#[test]
fn trap_a_server_that_answers_a_fast_start_with_http_is_recognised() {
    let mut run = Run::new(config(regions()));
    let key = Some(relay_key().public());
    let first = run.dial().link;
    run.opened(first, &Opened { relay_key: key, ..Opened::default() });
    run.written(first);
    run.hear(first, b"HTTP/1.1 404 Not Found\r\n\r\n<html>");
    let events = run.events();
    let [Event::Failed(failure)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (failure.rung, failure.step, &failure.seen),
        (Some(Rung::FastStart), Step::Upgrade, &Seen::Status(404))
    );
    let second = run.dial().link;
    run.opened(second, &Opened { relay_key: key, ..Opened::default() });
    assert!(!String::from_utf8_lossy(&run.written(second)).contains("Fast-Start"), "the next rung, at once");
}

#[test]
fn a_relay_that_takes_no_notice_of_the_fast_start_is_used_all_the_same() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    run.opened(link, &Opened { relay_key: Some(relay_key().public()), ..Opened::default() });
    run.written(link);
    run.hear(
        link,
        &[HEAD, &frame(&Frame::ServerKey(relay_key().public())), &server_info(&ServerInfo::new())].concat(),
    );
    assert!(matches!(run.events()[..], [Event::Up { .. }]));
}

/// Goes down the ladder by `refuse`, and up at the WebSocket; returns the machine and how long it took.
fn to_websocket(mut run: Run, refuse: impl Fn(&mut Run, LinkId)) -> Run {
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    run.written(link);
    refuse(&mut run, link);
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    assert!(
        matches!(&run.actions[..], [.., Action::WebSocket { link: it, .. }] if *it == link),
        "{:?}",
        run.actions
    );
    assert!(run.written(link).is_empty(), "nothing is written before the WebSocket is there");
    run.machine.websocket_opened(run.now, link);
    run.hear(link, &frame(&Frame::ServerKey(relay_key().public())));
    check_login(&run.written(link));
    run.hear(link, &server_info(&ServerInfo::new()));
    assert!(matches!(run.events().last(), Some(Event::Up { rung: Rung::WebSocket, .. })));
    run
}

#[test]
fn what_breaks_the_upgrade_leads_to_websocket_at_once() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 302 Found\r\nLocation: https://login.example\r\n\r\n",
        b"HTTP/1.1 426 Upgrade Required\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    ] {
        let run = to_websocket(Run::new(config(regions())), |run, link| run.hear(link, answer));
        assert_eq!(run.now, t0(), "without a wait");
    }
}

#[test]
fn a_middlebox_that_swallows_the_upgrade_is_noticed() {
    let run = to_websocket(Run::new(config(regions())), |run, _| {
        let whys = run.run_to(t0() + limits::ANSWER);
        assert_eq!(whys, [Why::Connecting]);
    });
    assert_eq!(run.now, t0() + limits::ANSWER);
    let run = to_websocket(Run::new(config(regions())), |run, link| {
        run.machine.ended(run.now, link, Seen::End);
        run.collect();
    });
    assert_eq!(run.now, t0());
}

#[test]
fn an_upgrade_that_nothing_follows_leads_to_websocket() {
    to_websocket(Run::new(config(regions())), |run, link| {
        run.hear(link, HEAD);
        run.run_to(t0() + limits::LOGIN);
    });
}

#[test]
fn alpn_h2_leads_to_websocket() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    run.opened(link, &Opened { alpn: Some(b"h2".to_vec()), ..Opened::default() });
    let events = run.events();
    assert!(matches!(&events[..], [Event::Failed(failure)] if failure.seen == Seen::Alpn("h2".to_owned())));
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    assert!(matches!(&run.actions[..], [.., Action::WebSocket { .. }]));
}

#[test]
fn the_rung_is_remembered_for_the_network_and_the_better_one_tried_again_after_minutes() {
    let mut run = to_websocket(Run::new(config(regions())), |run, link| {
        run.hear(link, b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    });
    let rung_after = |run: &mut Run, network: u64| {
        run.machine.network_changed(run.now);
        run.collect();
        run.run_to(run.now + limits::PONG_AFTER_CHANGE + limits::BACKOFF_FIRST);
        let link = run.dial().link;
        run.actions.clear();
        run.opened(link, &Opened { network: Network(network), ..Opened::default() });
        let websocket = matches!(&run.actions[..], [Action::WebSocket { .. }]);
        if websocket {
            run.machine.websocket_opened(run.now, link);
        } else {
            run.written(link);
            run.hear(link, HEAD);
        }
        run.hear(link, &frame(&Frame::ServerKey(relay_key().public())));
        run.hear(link, &server_info(&ServerInfo::new()));
        run.written(link);
        websocket
    };
    assert!(rung_after(&mut run, 0), "the same network");
    assert!(!rung_after(&mut run, 1), "another network");
    assert!(rung_after(&mut run, 0), "back again");
    run.now = t0() + limits::REMEMBER_RUNG + secs(1);
    assert!(!rung_after(&mut run, 0), "ten minutes later");
}

/// Dials as a slow network has them, and swallows every upgrade; returns how long it took until WebSocket was up.
fn swallowed(dial_takes: Duration, relay_key: Option<RelayPublic>) -> Duration {
    let mut run = Run::new(config(regions()));
    loop {
        assert!(run.now < t0() + secs(60), "it never gets to WebSocket");
        let link = run.dial().link;
        run.run_to(run.now + dial_takes);
        run.opened(link, &Opened { relay_key, ..Opened::default() });
        if matches!(&run.actions[..], [.., Action::WebSocket { link: it, .. }] if *it == link) {
            run.run_to(run.now + ms(300));
            run.machine.websocket_opened(run.now, link);
            run.hear(link, &frame(&Frame::ServerKey(self::relay_key().public())));
            check_login(&run.written(link));
            run.hear(link, &server_info(&ServerInfo::new()));
            assert!(matches!(run.events().last(), Some(Event::Up { rung: Rung::WebSocket, .. })));
            return run.now - t0();
        }
        assert!(!run.written(link).is_empty());
        run.run_to(run.now + limits::ANSWER);
    }
}

#[test]
fn on_a_slow_network_too_a_middlebox_that_swallows_the_upgrade_leads_to_websocket() {
    let key = Some(relay_key().public());
    assert_eq!(swallowed(ms(1500), key), 3 * ms(1500) + 2 * limits::ANSWER + ms(300));
    assert_eq!(swallowed(ms(6500), key), 3 * ms(6500) + 2 * limits::ANSWER + ms(300));
    assert_eq!(swallowed(ms(6500), None), 2 * ms(6500) + limits::ANSWER + ms(300));
}

#[test]
fn what_one_node_refuses_the_next_one_may_grant() {
    let mut run = Run::new(config(Regions::try_from(vec![region(HOME, 2)]).unwrap()));
    for (name, rung) in [
        ("n0.example", Rung::Upgrade),
        ("n0.example", Rung::WebSocket),
        ("n1.example", Rung::Upgrade),
        ("n1.example", Rung::WebSocket),
    ] {
        let dial = run.dial();
        assert_eq!(dial.node.host_name, name);
        run.opened(dial.link, &Opened::default());
        if rung == Rung::WebSocket {
            run.failed(dial.link, Step::WebSocket, Seen::Status(503));
        } else {
            run.written(dial.link);
            run.hear(dial.link, b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        }
        let events = run.events();
        let [Event::Failed(failure)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((failure.rung, &failure.seen), (Some(rung), &Seen::Status(503)));
    }
    assert_eq!(run.now, t0(), "all in one round, without a wait");
    run.run_to(run.now + limits::BACKOFF_FIRST);
    assert_eq!(run.dial().node.host_name, "n0.example");
}

#[test]
fn an_error_of_tcp_in_the_middle_of_an_upgrade_moves_no_rung() {
    let mut run = Run::new(config(regions()));
    for _ in 0..3 {
        let link = run.dial().link;
        run.opened(link, &Opened::default());
        assert!(run.written(link).starts_with(b"GET /derp"));
        run.machine.ended(run.now, link, Seen::Io(std::io::ErrorKind::HostUnreachable));
        run.collect();
        run.run_to(run.now + limits::BACKOFF_MAX);
    }
}

#[test]
fn tcp_and_tls_failures_go_to_the_next_node_and_keep_the_rung() {
    let mut run = Run::new(config(Regions::try_from(vec![region(HOME, 3)]).unwrap()));
    for (n, step, seen) in
        [(0, Step::Connect, Seen::Timeout), (1, Step::Tls, Seen::Tls("bad certificate".to_owned()))]
    {
        let dial = run.dial();
        assert_eq!(dial.node.host_name, format!("n{n}.example"));
        run.failed(dial.link, step, seen);
    }
    let dial = run.dial();
    assert_eq!(dial.node.host_name, "n2.example");
    run.opened(dial.link, &Opened::default());
    let request = String::from_utf8(run.written(dial.link)).unwrap();
    assert!(request.contains("Ideal-Node: 10\r\n"), "{request}");
    assert_eq!(run.now, t0(), "all in one round, without a wait");
}

#[test]
fn stun_only_nodes_are_skipped_and_a_region_without_others_is_reported_once() {
    let mut only = region(HOME, 2);
    only.nodes[0].stun_only = true;
    let mut run = Run::new(config(Regions::try_from(vec![only.clone()]).unwrap()));
    assert_eq!(run.dial().node.host_name, "n1.example");
    only.nodes[1].stun_only = true;
    let mut run = Run::new(config(Regions::try_from(vec![only]).unwrap()));
    run.send(HOME, peer(1), b"x");
    assert_eq!(run.run_to(t0() + secs(60)), [Why::Age], "nobody wakes for what only another map can change");
    let events = run.events();
    assert!(matches!(&events[..], [Event::Failed(failure)] if failure.seen == Seen::NoNode), "{events:?}");
}

#[test]
fn a_round_has_ten_seconds_and_the_next_one_begins_behind_the_node_that_used_them_up() {
    let mut run = Run::new(config(Regions::try_from(vec![region(HOME, 3)]).unwrap()));
    assert_eq!(run.dial().node.host_name, "n0.example");
    let whys = run.run_to(t0() + limits::ROUND);
    assert_eq!(whys, [Why::Connecting]);
    assert!(matches!(run.events()[..], [Event::Failed(_)]));
    run.run_to(run.now + limits::BACKOFF_MAX);
    assert_eq!(run.dial().node.host_name, "n1.example");
}

#[test]
fn retries_never_stop_and_never_storm() {
    let mut run = Run::new(config(regions()));
    let mut dials = 0;
    while run.now < t0() + secs(3600) {
        let link = run.dial().link;
        dials += 1;
        run.failed(link, Step::Connect, Seen::Io(std::io::ErrorKind::ConnectionRefused));
        let (at, why) = run.machine.next_event(run.now).expect("it goes on");
        assert_eq!(why, Why::Reconnect);
        assert!(at > run.now && at <= run.now + limits::BACKOFF_MAX);
        run.run_to(at);
    }
    assert!((700..1600).contains(&dials), "{dials} attempts in an hour");
}

#[test]
fn the_wait_starts_small_again_only_after_a_stable_connection() {
    let (mut run, mut link) = Run::up(config(regions()));
    let mut waits = Vec::new();
    for stable in [false, false, false, false, false, false, true] {
        if stable {
            run.now += limits::STABLE;
        }
        run.machine.ended(run.now, link, Seen::End);
        run.collect();
        let (at, _) = run.machine.next_event(run.now).unwrap();
        waits.push(at - run.now);
        run.run_to(at);
        link = run.dial().link;
        run.log_in(link, &ServerInfo::new());
    }
    assert!(waits[5] >= limits::BACKOFF_MAX / 2 && waits[6] <= limits::BACKOFF_FIRST, "{waits:?}");
}

#[test]
fn a_refused_login_is_told_from_a_broken_network_and_does_not_move_the_rung() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    run.written(link);
    run.hear(link, &[HEAD, &frame(&Frame::ServerKey(relay_key().public()))].concat());
    run.written(link);
    run.machine.ended(run.now, link, Seen::End);
    run.collect();
    let events = run.events();
    let [Event::Failed(failure)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((failure.step, &failure.seen), (Step::Login, &Seen::End));
    run.run_to(run.now + limits::BACKOFF_FIRST);
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    assert!(run.written(link).starts_with(b"GET"));
}

#[test]
fn a_relay_that_lies_ends_that_connection_only() {
    let key = frame(&Frame::ServerKey(relay_key().public()));
    let other = RelaySecret::from_bytes([0x33; 32]).shared(&NodeSecret::from_bytes([0x11; 32]).public());
    let mut forged = Vec::new();
    ServerInfo::new().encode(&other, &[1; 24], &mut forged);
    let wrong_magic = [&[1, 0, 0, 0, 40][..], &[0; 40]].concat();
    let packet = frame(&Frame::RecvPacket { from: peer(1), packet: b"x" });
    let huge = [5, 0x7f, 0xff, 0xff, 0xff];
    for (name, stream) in [
        ("no key first", vec![HEAD, &packet]),
        ("wrong magic", vec![HEAD, &wrong_magic]),
        ("login by another key", vec![HEAD, &key, &forged]),
        ("packet before the login", vec![HEAD, &key, &packet]),
        ("huge length", vec![HEAD, &key, &huge]),
    ] {
        let mut run = Run::new(config(regions()));
        let link = run.dial().link;
        run.opened(link, &Opened::default());
        run.hear(link, &stream.concat());
        assert!(matches!(run.events()[..], [Event::Failed(_)]), "{name}: {:?}", run.events);
        assert!(run.actions.contains(&Action::Close(link)), "{name}");
        run.hear(link, &packet);
        assert!(
            run.packets.is_empty() && run.written(link).is_empty(),
            "{name}: what is late does not count"
        );
        assert!(run.machine.next_event(run.now).is_some(), "{name}: it goes on");
    }
}

#[test]
fn a_key_without_a_secret_logs_nobody_in() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    run.opened(link, &Opened::default());
    run.written(link);
    run.hear(link, &[HEAD, &frame(&Frame::ServerKey(RelayPublic::from_bytes([0; 32])))].concat());
    run.hear(link, &server_info(&ServerInfo::new()));
    let events = run.events();
    assert!(matches!(&events[..], [Event::Failed(it)] if matches!(it.seen, Seen::Login(_))), "{events:?}");
}

#[test]
fn what_a_relay_may_say_at_any_time_ends_nothing() {
    let (mut run, link) = Run::up(config(regions()));
    run.hear(link, &frame(&Frame::KeepAlive));
    run.hear(link, &frame(&Frame::ServerKey(relay_key().public())));
    run.hear(link, &[0x77, 0, 0, 0, 3, 1, 2, 3]);
    run.hear(link, &[8, 0, 0, 0, 2, 1, 2]);
    run.hear(link, &frame(&Frame::SendPacket { to: peer(1), packet: b"x" }));
    run.hear(link, &frame(&Frame::Ping(*b"12345678")));
    assert_eq!(frames(&run.written(link)), [format!("Pong({:?})", b"12345678")]);
    assert_eq!((run.discarded(Discard::ShortFrame), run.discarded(Discard::ForeignFrame)), (1, 1));
    assert!(run.events().is_empty());
    assert!(matches!(run.state(HOME), LinkState::Up(_)));
}

#[test]
fn a_flood_of_pings_is_answered_once_a_write() {
    let (mut run, link) = Run::up(config(regions()));
    run.hear(link, &frame(&Frame::Ping([7; 8])).repeat(1000));
    assert_eq!(run.written(link).len(), 13);
}

#[test]
fn health_is_shown_until_it_is_well_again_and_with_the_connection() {
    let (mut run, link) = Run::up(config(regions()));
    let problem = |run: &Run| run.machine.status(run.now).regions[0].problem.clone();
    run.hear(link, &frame(&Frame::Health(b"duplicate")).repeat(2));
    assert_eq!(run.events(), [Event::Health { region: HOME, problem: Some("duplicate".to_owned()) }]);
    assert_eq!(problem(&run).as_deref(), Some("duplicate"));
    run.hear(link, &frame(&Frame::Health(b"")));
    assert_eq!(run.events(), [Event::Health { region: HOME, problem: None }]);
    run.hear(link, &frame(&Frame::Health(b"x")));
    run.machine.ended(run.now, link, Seen::End);
    assert_eq!(problem(&run), None);
}

#[test]
fn a_relay_that_restarts_is_left_alone_for_as_long_as_it_asks_within_reason() {
    for (asked, least, most) in
        [(secs(5), secs(5), ms(6250)), (Duration::from_millis(u64::from(u32::MAX)), secs(24), secs(30))]
    {
        let (mut run, link) = Run::up(config(regions()));
        run.hear(link, &frame(&Frame::Restarting { reconnect_in: asked, try_for: secs(60) }));
        assert!(matches!(run.events()[..], [Event::Restarting { .. }]));
        assert!(matches!(run.state(HOME), LinkState::Up(_)), "until it ends");
        run.machine.ended(run.now, link, Seen::End);
        let (at, why) = run.machine.next_event(run.now).unwrap();
        assert_eq!(why, Why::Reconnect);
        assert!(at - run.now >= least && at - run.now <= most, "{:?}", at - run.now);
    }
}

#[test]
fn where_a_region_has_another_relay_it_is_taken_while_the_first_one_restarts() {
    let mut nodes = region(HOME, 3);
    nodes.nodes[1].stun_only = true;
    let (mut run, link) = Run::up(config(Regions::try_from(vec![nodes]).unwrap()));
    run.hear(link, &frame(&Frame::Restarting { reconnect_in: secs(20), try_for: secs(60) }));
    run.machine.ended(run.now, link, Seen::End);
    run.collect();
    run.run_to(run.now + limits::BACKOFF_FIRST);
    let dial = run.dial();
    assert_eq!(dial.node.host_name, "n2.example");
    run.log_in(dial.link, &ServerInfo::new());
    run.machine.ended(run.now, dial.link, Seen::End);
    run.collect();
    run.run_to(run.now + limits::BACKOFF_MAX);
    assert_eq!(run.dial().node.host_name, "n0.example", "the first one is the first again");
}

#[test]
fn half_open_tcp_is_found_within_15_s_when_there_is_something_to_say() {
    let (mut run, link) = Run::up(config(regions()));
    run.hear(link, &frame(&Frame::KeepAlive));
    run.send(HOME, peer(1), b"into the void");
    run.written(link);
    let mut asked = 0;
    while matches!(run.state(HOME), LinkState::Up(_)) {
        let (at, _) = run.machine.next_event(run.now).unwrap();
        run.run_to(at);
        run.hear(link, b"");
        asked += usize::from(ping_in(&run.written(link)).is_some());
    }
    assert_eq!((run.now - t0(), asked), (secs(15), 2), "and a read of nothing is no sign of life");
    let events = run.events();
    assert!(
        matches!(&events[..], [Event::Down { why: DownReason::Failed(it), .. }] if it.seen == Seen::Silent)
    );
}

#[test]
fn an_idle_home_wakes_for_nothing_but_the_relays_silence() {
    let (mut run, link) = Run::up(config(regions()));
    let mut wakes = 0;
    for _ in 0..60 {
        run.hear(link, &frame(&Frame::KeepAlive));
        wakes += run.run_to(run.now + secs(62)).len();
        assert!(run.written(link).is_empty());
    }
    assert_eq!(wakes, 0, "an hour of signs of life");
}

#[test]
fn a_pong_tells_the_round_trip_time() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    let behind = run.log_in(link, &ServerInfo::new());
    let data = ping_in(&behind).expect("a login is followed by a ping");
    run.now += ms(17);
    run.hear(link, &frame(&Frame::Pong(data)));
    assert_eq!(run.machine.status(run.now).regions[0].rtt, Some(ms(17)));
}

#[test]
fn a_stream_that_takes_nothing_is_given_up() {
    let (mut run, link) = Run::up(config(regions()));
    run.send(HOME, peer(1), b"x");
    run.machine.set_blocked(run.now, link, true);
    for _ in 0..30 {
        run.now += ms(500);
        run.hear(link, &frame(&Frame::KeepAlive));
        run.machine.process_events(run.now);
    }
    run.collect();
    let events = run.events();
    assert!(
        matches!(&events[..], [Event::Down { why: DownReason::Failed(it), .. }] if it.seen == Seen::Stalled)
    );
}

#[test]
fn after_a_change_of_network_a_dead_connection_is_replaced_in_3_s() {
    let (mut run, link) = Run::up(config(regions()));
    run.machine.network_changed(run.now);
    assert!(ping_in(&run.written(link)).is_some());
    run.run_to(t0() + secs(3));
    assert!(matches!(run.events()[..], [Event::Down { .. }]));
    let (at, why) = run.machine.next_event(run.now).unwrap();
    assert!(why == Why::Reconnect && at - run.now <= limits::BACKOFF_FIRST);
}

#[test]
fn after_a_change_of_network_an_attempt_begins_anew_at_once() {
    let mut run = Run::new(config(regions()));
    let first = run.dial().link;
    run.machine.network_changed(run.now);
    run.collect();
    assert!(run.actions.contains(&Action::Close(first)));
    let second = run.dial().link;
    assert_ne!(first, second);
    run.opened(first, &Opened::default());
    assert!(run.written(first).is_empty(), "what is late does not count");
}

#[test]
fn packets_wait_for_the_login_and_disco_goes_first() {
    let mut run = Run::new(config(regions()));
    run.send(HOME, peer(1), &[4; 100]);
    let mut disco = b"TS\xf0\x9f\x92\xac".to_vec();
    disco.resize(100, 0);
    run.send(HOME, peer(2), &disco);
    let link = run.dial().link;
    let behind = frames(&run.log_in(link, &ServerInfo::new()));
    assert!(behind[0].starts_with("NotePreferred(true)"));
    assert!(behind[1].starts_with("SendPacket { to: nodekey:02020202"), "{}", behind[1]);
    assert!(behind[2].starts_with("SendPacket { to: nodekey:01010101"), "{}", behind[2]);
    assert!(behind[3].starts_with("Ping"));
}

#[test]
fn packets_that_wait_too_long_go_with_a_reason() {
    let mut run = Run::new(config(regions()));
    run.send(HOME, peer(1), b"x");
    run.run_to(t0() + limits::AGE_CONNECTING);
    assert_eq!(run.discarded(Discard::Old), 1);
    let (mut run, link) = Run::up(config(regions()));
    run.send(HOME, peer(1), b"x");
    assert_eq!(run.machine.next_event(run.now), Some((run.now + limits::AGE, Why::Age)));
    run.run_to(t0() + limits::AGE);
    assert!(run.written(link).is_empty());
    assert_eq!(run.discarded(Discard::Old), 1);
}

#[test]
fn the_relays_limit_is_honoured_and_pings_pass_it() {
    let mut run = Run::new(config(regions()));
    let link = run.dial().link;
    let rate = Rate { bytes_per_second: 100_000, burst: 1 };
    run.log_in(link, &ServerInfo { version: 2, rate: Some(rate) });
    let mut sent = 0;
    for _ in 0..100 {
        run.send(HOME, peer(1), &[4; 963]);
        sent += run.written(link).len();
    }
    // A burst that lets no packet pass counts as one that lets the largest pass.
    assert_eq!(sent, (MAX_PACKET + PACKET_OVERHEAD) / 1000 * 1000);
    run.hear(link, &frame(&Frame::Ping([1; 8])));
    assert_eq!(run.written(link).len(), 13);
    let (at, why) = run.machine.next_event(run.now).unwrap();
    assert!(why == Why::Allowance && at > run.now && at <= run.now + ms(10), "{why:?} {:?}", at - run.now);
    run.now = at;
    assert_eq!(run.written(link).len(), 1000);
}

#[test]
fn a_region_on_demand_is_opened_by_a_packet_and_closed_a_minute_after_the_last() {
    let (mut run, home) = Run::up(config(regions()));
    run.send(OTHER, peer(1), b"hello");
    let link = run.dial().link;
    assert_eq!(link.region(), OTHER);
    let behind = frames(&run.log_in(link, &ServerInfo::new()));
    assert!(behind[0].starts_with("NotePreferred(false)") && behind[1].starts_with("SendPacket"));
    run.events();
    // Reads do not count, writes do.
    for second in 1..100_u64 {
        run.now = t0() + secs(second);
        if second <= 30 {
            run.send(OTHER, peer(1), b"again");
            run.written(link);
        }
        for it in [home, link] {
            run.hear(it, &frame(&Frame::KeepAlive));
        }
        run.machine.process_events(run.now);
        run.collect();
        let up = matches!(run.state(OTHER), LinkState::Up(_));
        assert_eq!(up, second < 90, "{second}");
    }
    assert_eq!(run.events(), [Event::Down { region: OTHER, why: DownReason::Idle }]);
    assert!(run.actions.contains(&Action::Close(link)));
    assert!(matches!(run.state(HOME), LinkState::Up(_)));
}

#[test]
fn kept_regions_stay_connected_and_are_not_preferred() {
    let mut run = Run::new(Config { home: None, kept: vec![OTHER], ..config(regions()) });
    let link = run.dial().link;
    let behind = frames(&run.log_in(link, &ServerInfo::new()));
    assert_eq!(behind[0], "NotePreferred(false)");
    for _ in 0..10 {
        run.hear(link, &frame(&Frame::KeepAlive));
        run.run_to(run.now + secs(60));
    }
    assert!(matches!(run.state(OTHER), LinkState::Up(_)));
    run.machine.set_kept(run.now, Vec::new());
    run.hear(link, &frame(&Frame::KeepAlive));
    run.machine.process_events(run.now);
    assert_eq!(run.state(OTHER), LinkState::Idle, "unused for long, so it goes");
}

#[test]
fn a_move_of_the_home_is_told_to_both_relays() {
    let (mut run, old) = Run::up(config(regions()));
    run.machine.set_home(run.now, Some(OTHER));
    run.collect();
    assert_eq!(frames(&run.written(old)), ["NotePreferred(false)"]);
    let new = run.dial().link;
    assert_eq!(frames(&run.log_in(new, &ServerInfo::new()))[0], "NotePreferred(true)");
    run.machine.set_home(run.now, Some(HOME));
    assert_eq!(frames(&run.written(old)), ["NotePreferred(true)"]);
    assert_eq!(frames(&run.written(new)), ["NotePreferred(false)"]);
}

#[test]
fn a_peer_is_answered_through_the_relay_where_it_was_heard_while_that_connection_lives() {
    let mut three: Vec<Region> = regions().into();
    three.push(region(RegionId(3), 1));
    let (mut run, home) = Run::up(config(Regions::try_from(three).unwrap()));
    run.hear(home, &frame(&Frame::RecvPacket { from: peer(9), packet: b"hi" }));
    run.send(RegionId(3), peer(9), b"answer");
    assert_eq!(frames(&run.written(home)).len(), 1, "its home is not connected, and was not asked for");
    assert!(run.actions.iter().all(|action| !matches!(action, Action::Dial(_))));
    run.send(RegionId(77), peer(9), b"to a region that is not in the map");
    assert_eq!(run.discarded(Discard::NoRegion), 1);
    run.hear(home, &frame(&Frame::PeerGone { peer: peer(9), reason: GoneReason::NotHere }));
    assert_eq!(run.events(), [Event::PeerGone { region: HOME, peer: peer(9), reason: GoneReason::NotHere }]);
    run.send(RegionId(3), peer(9), b"now to its home");
    assert_eq!(run.dial().link.region(), RegionId(3));
    run.hear(home, &frame(&Frame::RecvPacket { from: peer(9), packet: b"hi again" }));
    run.send(RegionId(3), peer(9), b"heard again, while its home is still being connected");
    assert_eq!(frames(&run.written(home)).len(), 1);
    run.machine.ended(run.now, home, Seen::End);
    run.collect();
    run.actions.clear();
    run.send(RegionId(3), peer(9), b"the connection that brought it is gone");
    run.run_to(run.now + limits::BACKOFF_FIRST);
    let again = run.dial().link;
    run.log_in(again, &ServerInfo::new());
    run.send(RegionId(3), peer(9), b"a new connection to that relay is not the one that brought it");
    assert!(run.written(again).is_empty());
}

#[test]
fn a_relay_that_floods_with_peers_that_are_gone_hides_no_other_event() {
    let (mut run, home) = Run::up(config(regions()));
    run.send(OTHER, peer(1), b"x");
    let other = run.dial().link;
    run.log_in(other, &ServerInfo::new());
    run.events();
    let revision = run.machine.revision();
    run.machine.ended(run.now, other, Seen::End);
    let told = run.machine.revision();
    assert!(told > revision);
    let gone = frame(&Frame::PeerGone { peer: peer(9), reason: GoneReason::NotHere });
    run.machine.received(run.now, home, &gone.repeat(5000), |_, _| ());
    assert_eq!(run.machine.revision(), told, "no status shows it");
    run.collect();
    let events = run.events();
    assert!(matches!(events[0], Event::Down { region: OTHER, .. }));
    assert_eq!(events.len(), 1 + limits::EVENTS_GONE);
    assert_eq!(run.machine.counters().events_lost, 5000 - limits::EVENTS_GONE as u64);
}

#[test]
fn a_region_that_is_redefined_or_gone_loses_its_connection_and_others_keep_theirs() {
    let (mut run, home) = Run::up(config(regions()));
    run.send(OTHER, peer(1), b"x");
    let other = run.dial().link;
    run.log_in(other, &ServerInfo::new());
    run.events();
    run.machine.set_regions(run.now, regions());
    run.collect();
    assert!(run.events().is_empty(), "the same map changes nothing");
    run.send(OTHER, peer(1), b"waiting");
    run.machine.set_regions(run.now, Regions::try_from(vec![region(HOME, 1)]).unwrap());
    run.collect();
    assert_eq!(run.events(), [Event::Down { region: OTHER, why: DownReason::Map }]);
    assert_eq!(run.discarded(Discard::Map), 1);
    run.machine.set_regions(run.now, Regions::try_from(vec![region(HOME, 2)]).unwrap());
    run.collect();
    assert_eq!(run.events(), [Event::Down { region: HOME, why: DownReason::Map }]);
    assert!(run.actions.contains(&Action::Close(home)) && run.actions.contains(&Action::Close(other)));
    assert_eq!(run.dial().link.region(), HOME);
}

#[test]
fn a_packet_that_was_cut_by_the_end_of_its_stream_is_not_continued_on_the_next() {
    let (mut run, link) = Run::up(config(regions()));
    for n in 0..3 {
        run.send(HOME, peer(n), &[n; 500]);
    }
    run.machine.wrote(run.now, link, 100);
    run.machine.ended(run.now, link, Seen::End);
    run.collect();
    assert_eq!(run.discarded(Discard::Cut), 1);
    run.run_to(run.now + limits::BACKOFF_FIRST);
    let link = run.dial().link;
    let behind = frames(&run.log_in(link, &ServerInfo::new()));
    let packets = behind.iter().filter(|frame| frame.starts_with("SendPacket")).count();
    assert_eq!(packets, 2);
}

#[test]
fn a_relay_that_is_stuck_holds_nothing_else() {
    let (mut run, home) = Run::up(config(regions()));
    run.send(OTHER, peer(1), b"x");
    let other = run.dial().link;
    run.log_in(other, &ServerInfo::new());
    run.machine.set_blocked(run.now, home, true);
    for _ in 0..10_000 {
        run.send(HOME, peer(1), &[1; 1400]);
    }
    assert!(run.discarded(Discard::QueueFull) > 5000, "bounded");
    run.send(OTHER, peer(2), b"passes");
    assert_eq!(frames(&run.written(other)).len(), 1);
}

#[test]
fn a_packet_that_no_relay_carries_is_dropped_with_a_reason() {
    let (mut run, link) = Run::up(config(regions()));
    run.send(HOME, peer(1), &vec![0; MAX_PACKET + 1]);
    run.send(HOME, peer(1), &vec![0; MAX_PACKET]);
    assert_eq!(run.discarded(Discard::TooLong), 1);
    assert_eq!(
        run.written(link).len(),
        MAX_PACKET + PACKET_OVERHEAD,
        "trap: the largest one passes, and the connection lives"
    );
}

#[test]
fn a_proxy_is_used_for_tls_and_not_for_plain_nodes() {
    let mut with_plain: Vec<Region> = regions().into();
    with_plain[1].nodes[0].plain = true;
    let proxies = Proxies::always(Proxy::parse("proxy:3128").unwrap());
    let mut run = Run::new(Config { proxies, ..config(Regions::try_from(with_plain).unwrap()) });
    let dial = run.dial();
    assert_eq!(dial.proxy.map(|proxy| proxy.port), Some(3128));
    run.failed(dial.link, Step::Proxy, Seen::Status(407));
    let events = run.events();
    assert!(
        matches!(&events[..], [Event::Failed(it)] if it.proxied && it.to_string().contains("through the proxy"))
    );
    run.send(OTHER, peer(1), b"x");
    assert_eq!(run.dial().proxy, None);
}

#[test]
fn a_force_to_websocket_takes_nothing_else() {
    let mut run = Run::new(Config { force_websocket: true, ..config(regions()) });
    for _ in 0..5 {
        let link = run.dial().link;
        run.opened(link, &Opened { relay_key: Some(relay_key().public()), ..Opened::default() });
        assert!(matches!(&run.actions[..], [.., Action::WebSocket { .. }]));
        run.failed(link, Step::WebSocket, Seen::RawDerp);
        run.run_to(run.now + limits::BACKOFF_MAX);
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let history = || {
        let mut run = Run::new(config(regions()));
        let mut waits = Vec::new();
        for _ in 0..20 {
            let link = run.dial().link;
            run.failed(link, Step::Connect, Seen::Timeout);
            let (at, _) = run.machine.next_event(run.now).unwrap();
            waits.push(at);
            run.run_to(at);
        }
        let link = run.dial().link;
        (waits, run.log_in(link, &ServerInfo::new()))
    };
    assert_eq!(history(), history());
}
