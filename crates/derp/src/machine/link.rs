//! One connection from its first byte to its last: what it says, and what it makes of what it hears.

use std::time::{Duration, Instant};

use tidewire_keys::{RelayPublic, SharedBox};

use super::{
    LinkId,
    around::{Around, Broken, Heard, say},
    bucket::Bucket,
    http::{parse_head, upgrade_request},
    ladder::{Network, Rung},
    limits::{ANSWER, HEAD_BYTES, LOGIN},
    liveness::{Liveness, Verdict},
    report::{Discard, Seen, Step},
};
use crate::{
    frame::{Decoder, Frame, FrameError, Limits, PING_LEN},
    login::ServerInfo,
    region::Region,
};

/// An attempt at a connection and, if it succeeds, the connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    /// Which node of the region.
    pub(super) node: usize,
    pub(super) proxied: bool,
    pub(super) network: Network,
    pub(super) rung: Option<Rung>,
    stage: Stage,
    /// When this stage must be over.
    deadline: Instant,
    /// When all of it must be over until it is up.
    ends: Instant,
    decoder: Decoder,
    head: Vec<u8>,
    shared: Option<SharedBox>,
    liveness: Liveness,
    bucket: Option<Bucket>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The shell opens a stream.
    Dialing,
    /// The shell agrees on WebSocket.
    WebSocket,
    /// The answer to an upgrade is awaited; after a fast start, frames or an answer that says no.
    Head,
    ServerKey,
    Login,
    Up(Instant),
}

impl Link {
    /// An attempt whose stream the shell is to open, and which must be up before `ends`.
    pub(super) const fn dialing(now: Instant, id: LinkId, node: usize, proxied: bool, ends: Instant) -> Self {
        Self {
            id,
            node,
            proxied,
            network: Network(0),
            rung: None,
            stage: Stage::Dialing,
            deadline: ends,
            ends,
            decoder: Decoder::new(Limits::CLIENT),
            head: Vec::new(),
            shared: None,
            liveness: Liveness::new(now),
            bucket: None,
        }
    }

    /// How far it is, for reports.
    pub(super) const fn step(&self) -> Step {
        match self.stage {
            Stage::Dialing => Step::Connect,
            Stage::WebSocket => Step::WebSocket,
            Stage::Head => Step::Upgrade,
            Stage::ServerKey => Step::ServerKey,
            Stage::Login => Step::Login,
            Stage::Up(_) => Step::Connected,
        }
    }

    pub(super) const fn is_dialing(&self) -> bool {
        matches!(self.stage, Stage::Dialing)
    }

    pub(super) const fn is_in_websocket_handshake(&self) -> bool {
        matches!(self.stage, Stage::WebSocket)
    }

    /// Since when it is logged in.
    pub(super) const fn up_since(&self) -> Option<Instant> {
        match self.stage {
            Stage::Up(since) => Some(since),
            _ => None,
        }
    }

    /// Whether our login is in the stream, so that packets and notes may follow it.
    pub(super) const fn is_past_login(&self) -> bool {
        self.shared.is_some()
    }

    /// The last round trip time.
    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.liveness.rtt()
    }

    /// The stream is open: says what `rung` begins with. `key` is the relay's, where its certificates told it.
    pub(super) fn open(
        &mut self,
        now: Instant,
        rung: Rung,
        key: Option<RelayPublic>,
        region: &Region,
        around: Around<'_>,
    ) {
        self.rung = Some(rung);
        self.liveness.heard(now);
        self.deadline = self.ends.min(now + ANSWER);
        if rung == Rung::WebSocket {
            self.stage = Stage::WebSocket;
            return;
        }
        let fast = key.filter(|_| rung == Rung::FastStart);
        let request = upgrade_request(region, self.node, fast.is_some());
        around.outbox.control().extend_from_slice(request.as_bytes());
        self.stage = Stage::Head;
        if let Some(key) = fast {
            self.log_in(&key, around);
        }
    }

    /// The WebSocket is there; the relay's key is next.
    pub(super) fn websocket_open(&mut self, now: Instant) {
        self.stage = Stage::ServerKey;
        self.deadline = self.ends.min(now + LOGIN);
        self.liveness.heard(now);
    }

    /// Bytes arrived.
    pub(super) fn received(
        &mut self,
        now: Instant,
        mut input: &[u8],
        mut around: Around<'_>,
        mut heard: impl FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        if matches!(self.stage, Stage::Dialing | Stage::WebSocket) {
            // There is no stream yet from which these could be.
            return Ok(());
        }
        self.liveness.heard(now);
        if self.stage == Stage::Head && !self.read_head(now, &mut input)? {
            return Ok(());
        }
        // The decoder stands aside while its frames are looked at, which borrow from it.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Limits::CLIENT));
        let result = loop {
            let step = match decoder.next(&mut input) {
                Ok(Some(Frame::RecvPacket { from, packet })) if matches!(self.stage, Stage::Up(_)) => {
                    heard(Heard::Packet { from, packet });
                    continue;
                }
                Ok(Some(frame)) => self.frame(now, &frame, &mut around, &mut heard),
                Ok(None) => break Ok(()),
                Err(FrameError::TooShort { .. }) if matches!(self.stage, Stage::Up(_)) => {
                    heard(Heard::Discard(Discard::ShortFrame));
                    continue;
                }
                Err(error) => Err((self.step(), Seen::Frame(error))),
            };
            if step.is_err() {
                break step;
            }
        };
        self.decoder = decoder;
        result
    }

    /// How many bytes of packets may be written now.
    pub(super) fn allowance(&self, now: Instant) -> usize {
        match &self.bucket {
            _ if !self.is_past_login() => 0,
            None => usize::MAX,
            Some(bucket) => bucket.allowance(now),
        }
    }

    /// When a frame of `len` bytes may be written, if that is not now.
    pub(super) fn allowed_at(&self, now: Instant, len: usize) -> Option<Instant> {
        let bucket = self.bucket.as_ref().filter(|bucket| bucket.allowance(now) < len)?;
        Some(bucket.ready_at(now, len))
    }

    /// The stream took bytes, `packets` of which were of packets.
    pub(super) fn wrote(&mut self, now: Instant, packets: usize) {
        self.liveness.wrote(now);
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(now, packets);
        }
    }

    /// Whether the stream takes nothing although something waits.
    pub(super) fn set_blocked(&mut self, now: Instant, blocked: bool) {
        self.liveness.set_blocked(now, blocked);
    }

    /// The stream is not being read, on purpose.
    pub(super) const fn held_back(&mut self, now: Instant) {
        self.liveness.heard(now);
    }

    /// When [`check`](Self::check) has something to do, at the earliest.
    pub(super) fn next_check(&self) -> Instant {
        if self.up_since().is_some() { self.liveness.next_check() } else { self.deadline }
    }

    /// Deadlines and signs of life.
    pub(super) fn check(&mut self, now: Instant, around: Around<'_>) -> Result<(), Broken> {
        if self.up_since().is_none() {
            return if now >= self.deadline { Err((self.step(), Seen::Timeout)) } else { Ok(()) };
        }
        match self.liveness.check(now, around.drbg) {
            Verdict::Fine => Ok(()),
            Verdict::Ask(data) => {
                say(&Frame::Ping(data), around.outbox);
                Ok(())
            }
            Verdict::Dead(seen) => Err((Step::Connected, seen)),
        }
    }

    /// The network changed under a connection: is it still there?
    pub(super) fn ask_after_change(&mut self, now: Instant, around: Around<'_>) {
        let data = self.liveness.ask_after_change(now, around.drbg);
        say(&Frame::Ping(data), around.outbox);
    }

    fn log_in(&mut self, relay: &RelayPublic, around: Around<'_>) {
        let Around { identity, drbg, outbox, home } = around;
        let shared = identity.key.shared(relay);
        let nonce = drbg.array();
        let written = identity.info.encode(identity.public, &shared, &nonce, outbox.control());
        debug_assert!(written.is_ok(), "the program's name was cut to a decent length");
        // Also the first write after a login, by which a relay prefers this connection to an older one with our key.
        say(&Frame::NotePreferred(home), outbox);
        self.shared = Some(shared);
    }

    /// The head of the answer to the upgrade. False: it is not whole yet, and `input` is used up.
    fn read_head(&mut self, now: Instant, input: &mut &[u8]) -> Result<bool, Broken> {
        let fast = self.is_past_login();
        if fast && self.head.is_empty() && input.first().is_some_and(|first| *first != b'H') {
            // A fast start is answered by frames, none of which has a type that looks like `HTTP/`.
            self.await_login(now);
            return Ok(true);
        }
        let before = self.head.len();
        let room = (HEAD_BYTES + 1 - before).min(input.len());
        self.head.extend_from_slice(&input[..room]);
        let head = loop {
            match parse_head(&self.head) {
                Ok(Some(head)) if head.status < 200 && head.status != 101 => {
                    drop(self.head.drain(..head.len))
                }
                Ok(Some(head)) => break head,
                Ok(None) if self.head.len() <= HEAD_BYTES => return Ok(false),
                Ok(None) | Err(_) => return Err((Step::Upgrade, Seen::NotHttp)),
            }
        };
        if head.status != 101 {
            return Err((Step::Upgrade, Seen::Status(head.status)));
        }
        if !head.upgrade.eq_ignore_ascii_case("derp") {
            return Err((Step::Upgrade, Seen::UpgradedTo(head.upgrade)));
        }
        // The relay's first frame comes in the very write that its head is in: what lies behind the head is the stream's.
        let behind = self.head.len() - head.len;
        *input = &input[room - behind..];
        self.head = Vec::new();
        if fast {
            // It took no notice of the wish for a fast start, but our login is already on its way.
            self.await_login(now);
        } else {
            self.stage = Stage::ServerKey;
            self.deadline = self.ends.min(now + LOGIN);
        }
        Ok(true)
    }

    fn await_login(&mut self, now: Instant) {
        self.stage = Stage::Login;
        self.deadline = self.ends.min(now + LOGIN);
    }

    fn frame(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        around: &mut Around<'_>,
        heard: &mut impl FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        match (self.stage, *frame) {
            (Stage::ServerKey, Frame::ServerKey(relay)) => {
                self.log_in(&relay, around.again());
                self.await_login(now);
            }
            (Stage::ServerKey, other) => return Err((Step::ServerKey, Seen::Order(other.kind()))),
            // After a fast start the relay's key comes late and says nothing new.
            (_, Frame::ServerKey(_)) => {}
            (_, Frame::ServerInfo(sealed)) => {
                let opened = self.shared.as_ref().map(|shared| ServerInfo::open(shared, &sealed));
                let Some(Ok(info)) = opened else {
                    let error = opened.and_then(Result::err).map_or(Seen::Order(frame.kind()), Seen::Login);
                    return Err((Step::Login, error));
                };
                self.admitted(now, info, around, heard);
            }
            (_, Frame::Ping(data)) => self.answer(data, around),
            (_, Frame::Pong(data)) => {
                if self.liveness.pong(now, data) {
                    heard(Heard::Rtt);
                }
            }
            (_, Frame::KeepAlive) => {}
            (_, Frame::Health(text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                heard(Heard::Health(Some(text).filter(|text| !text.is_empty())));
            }
            (_, Frame::Restarting { reconnect_in, try_for }) => {
                heard(Heard::Restarting { reconnect_in, try_for })
            }
            (Stage::Up(_), Frame::PeerGone { peer, reason }) => heard(Heard::Gone { peer, reason }),
            (Stage::Up(_), _) => heard(Heard::Discard(Discard::ForeignFrame)),
            (_, other) => return Err((Step::Login, Seen::Order(other.kind()))),
        }
        Ok(())
    }

    fn admitted(
        &mut self,
        now: Instant,
        info: ServerInfo,
        around: &mut Around<'_>,
        heard: &mut impl FnMut(Heard<'_>),
    ) {
        self.bucket = info.rate.map(|rate| Bucket::new(now, rate));
        if !matches!(self.stage, Stage::Up(_)) {
            self.stage = Stage::Up(now);
            let data = self.liveness.measure(now, around.drbg);
            say(&Frame::Ping(data), around.outbox);
            heard(Heard::Up);
        }
    }

    /// One answer waits at most, as at a relay: who asks faster gets fewer.
    fn answer(&self, data: [u8; PING_LEN], around: &mut Around<'_>) {
        if around.outbox.control().is_empty() {
            say(&Frame::Pong(data), around.outbox);
        }
    }
}
