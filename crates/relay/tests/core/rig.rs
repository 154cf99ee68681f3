//! A core and its clients: logs in, sends frames, and reads what the core would send.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use tidewire_derp::{
    ClientInfo, Decoder, Frame, ServerInfo,
    frame::{GoneReason, Limits as FrameLimits},
};
use tidewire_keys::{NodePublic, NodeSecret, RelaySecret, Seed, SharedBox};
use tidewire_relay::core::{Admission, ClientId, Closed, Core, Event, Limits};

pub(crate) const FAST_START: &str =
    "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";

#[allow(clippy::disallowed_methods)]
pub(crate) fn t0() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    *T0.get_or_init(Instant::now)
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secret(byte: u8) -> NodeSecret {
    NodeSecret::from_bytes([byte; 32])
}

/// Kept, for it is asked for with every packet.
pub(crate) fn key(byte: u8) -> NodePublic {
    static KEYS: [OnceLock<NodePublic>; 256] = [const { OnceLock::new() }; 256];
    *KEYS[usize::from(byte)].get_or_init(|| secret(byte).public())
}

/// Looks like disco to a relay, and is told from others by `number`.
pub(crate) fn disco(number: u8) -> Vec<u8> {
    let mut packet = b"TS\xf0\x9f\x92\xac".to_vec();
    packet.resize(62, number);
    packet
}

pub(crate) fn encode(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes).unwrap();
    bytes
}

pub(crate) fn send_packet(to: NodePublic, packet: &[u8]) -> Vec<u8> {
    encode(Frame::SendPacket { to, packet })
}

/// A frame that a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    ServerKey,
    ServerInfo,
    Packet(NodePublic, Vec<u8>),
    KeepAlive,
    Gone(NodePublic, GoneReason),
    Pong([u8; 8]),
    Health(String),
    Restarting(Duration, Duration),
}

pub(crate) struct Rig {
    pub(crate) core: Core,
    pub(crate) now: Instant,
    pub(crate) relay: RelaySecret,
    nonces: u64,
    closed: Vec<(ClientId, Closed)>,
}

/// A client that has logged in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) key: NodePublic,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Admission::Everyone, Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with(Admission::Everyone, limits)
    }

    pub(crate) fn with(admission: Admission, limits: Limits) -> Self {
        let relay = RelaySecret::from_bytes([0x77; 32]);
        let core = Core::new(relay.clone(), admission, limits, &Seed::new([1; 32]));
        Self { core, now: t0(), relay, nonces: 0, closed: Vec::new() }
    }

    pub(crate) fn connect(&mut self) -> ClientId {
        self.core.connect(self.now)
    }

    pub(crate) fn bytes(&mut self, id: ClientId, bytes: &[u8]) {
        self.core.receive(self.now, id, bytes);
    }

    /// A stream that has begun, and nobody logged in.
    pub(crate) fn begin(&mut self) -> ClientId {
        let id = self.connect();
        self.bytes(id, FAST_START.as_bytes());
        id
    }

    pub(crate) fn shared(&self, client: &NodeSecret) -> SharedBox {
        client.shared(&self.relay.public())
    }

    pub(crate) fn login_frame(&mut self, client: &NodeSecret) -> Vec<u8> {
        self.login_frame_with(client, &ClientInfo::new())
    }

    pub(crate) fn login_frame_with(&mut self, client: &NodeSecret, info: &ClientInfo) -> Vec<u8> {
        self.nonces += 1;
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.nonces.to_le_bytes());
        let mut bytes = Vec::new();
        info.encode(client.public(), &self.shared(client), &nonce, &mut bytes).unwrap();
        bytes
    }

    /// Logs in with the key of that byte; the greeting has been read.
    pub(crate) fn login(&mut self, byte: u8) -> Client {
        let id = self.begin();
        let login = self.login_frame(&secret(byte));
        self.bytes(id, &login);
        assert_eq!(self.frames(id), [Got::ServerKey, Got::ServerInfo]);
        Client { id, key: key(byte) }
    }

    pub(crate) fn send(&mut self, from: Client, to: NodePublic, packet: &[u8]) {
        self.bytes(from.id, &send_packet(to, packet));
    }

    /// All that waits for a connection, as bytes.
    pub(crate) fn raw(&mut self, id: ClientId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let gathered = self.core.gather(self.now, id, 16_384, &mut bytes);
            all.extend(bytes);
            if !gathered.more {
                return all;
            }
        }
    }

    /// All that waits for a connection, as frames.
    pub(crate) fn frames(&mut self, id: ClientId) -> Vec<Got> {
        read(&self.raw(id))
    }

    /// The packets that wait for a client, who sent them left out.
    pub(crate) fn packets(&mut self, client: Client) -> Vec<Vec<u8>> {
        let packet = |got| if let Got::Packet(_, packet) = got { Some(packet) } else { None };
        self.frames(client.id).into_iter().filter_map(packet).collect()
    }

    /// Lets time pass, with each event at its time.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some((at, _)) = self.core.next_event().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.core.process_events(self.now);
        }
        self.now = until;
    }

    /// Why a connection ended, if it did.
    pub(crate) fn closed(&mut self, id: ClientId) -> Option<Closed> {
        while let Some(event) = self.core.poll_event() {
            if let Event::Closed { id, reason, .. } = event {
                self.closed.push((id, reason));
            }
        }
        self.closed.iter().find(|(closed, _)| *closed == id).map(|(_, reason)| *reason)
    }

    /// Reads what is left for a connection that is about to end, and why it ends.
    pub(crate) fn end(&mut self, id: ClientId) -> (Vec<u8>, Closed) {
        let bytes = self.raw(id);
        let gathered = self.core.gather(self.now, id, 16_384, &mut Vec::new());
        assert!(gathered.end || self.closed(id).is_some(), "it goes on");
        self.core.disconnect(id, Closed::Left);
        (bytes, self.closed(id).unwrap())
    }

    /// Those that have something to send, in order.
    pub(crate) fn dirty(&mut self) -> Vec<ClientId> {
        std::iter::from_fn(|| self.core.poll_dirty()).collect()
    }
}

pub(crate) fn read(mut bytes: &[u8]) -> Vec<Got> {
    let mut decoder = Decoder::new(FrameLimits::CLIENT);
    let mut got = Vec::new();
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        got.push(match frame {
            Frame::ServerKey(_) => Got::ServerKey,
            Frame::ServerInfo(_) => Got::ServerInfo,
            Frame::RecvPacket { from, packet } => Got::Packet(from, packet.to_vec()),
            Frame::KeepAlive => Got::KeepAlive,
            Frame::PeerGone { peer, reason } => Got::Gone(peer, reason),
            Frame::Pong(data) => Got::Pong(data),
            Frame::Health(text) => Got::Health(String::from_utf8(text.to_vec()).unwrap()),
            Frame::Restarting { reconnect_in, try_for } => Got::Restarting(reconnect_in, try_for),
            other => panic!("a relay never sends {other:?}"),
        });
    }
    assert!(decoder.is_between_frames(), "frames leave whole");
    got
}

/// Opens the answer to a login.
pub(crate) fn server_info(shared: &SharedBox, mut bytes: &[u8]) -> ServerInfo {
    let mut decoder = Decoder::new(FrameLimits::CLIENT);
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        if let Frame::ServerInfo(sealed) = frame {
            return ServerInfo::open(shared, &sealed).unwrap();
        }
    }
    panic!("no answer to the login");
}
