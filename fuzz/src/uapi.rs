//! What must hold for the userspace API: the same requests however the bytes are cut, and answers that say in the same words what
//! was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tidewire_keys::{NodePublic, PresharedKey};
use tidewire_wg::uapi::{self, Closed, PeerSet, PeerStatus, PrefixSet, Request, Session, Set, Status};

/// How the stream is cut, and then what a client sends.
pub fn uapi(data: &[u8]) {
    let Some((&cuts, stream)) = data.split_first() else { return };
    let whole = requests([stream]);
    assert_eq!(whole, requests(pieces(stream, cuts)), "cut by {cuts}");
    assert_eq!(whole, requests(stream.chunks(1)), "byte by byte");
    let mut model = Model::default();
    for request in whole.0 {
        match request {
            Request::Get => {}
            Request::Wrong(error) => refused(error.errno()),
            Request::Set(sets, last) => {
                sets.into_iter().for_each(|set| model.apply(set));
                if let Err(error) = last {
                    refused(error.errno());
                }
            }
        }
        told(&model.status());
    }
}

/// All requests of a client, and whether it was sent away.
fn requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Result<(), Closed>) {
    let mut session = Session::new(zone);
    let mut requests = Vec::new();
    for piece in pieces {
        session.feed(piece);
        loop {
            match session.next_request() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(closed) => return (requests, Err(closed)),
            }
        }
    }
    requests.extend(session.finish());
    (requests, Ok(()))
}

fn zone(name: &str) -> Option<u32> {
    (name == "eth0").then_some(2)
}

fn refused(errno: uapi::Errno) {
    assert!(errno.code() < 0, "a refusal is a negative number");
    let text = String::from_utf8(uapi::answer(Err(errno))).expect("an answer is text");
    assert_eq!(text, format!("errno={}\n\n", errno.code()));
}

/// A `get=1` answered: lines of a key and a value, the end where it should be; and as a request the answer asks for what is there.
fn told(status: &Status) {
    let answer = status.answer();
    let text = str::from_utf8(&answer).expect("an answer is text");
    let lines = text.strip_suffix("errno=0\n\n").expect("success stands at the end");
    assert!(lines.is_empty() || lines.ends_with('\n'));
    assert!(lines.lines().all(|line| line.split_once('=').is_some_and(|(key, value)| {
        !value.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })));
    let is_asked = |line: &&str| !["last_", "tx_", "rx_"].iter().any(|told| line.starts_with(told));
    let asked: String = lines.lines().filter(is_asked).map(|line| format!("{line}\n")).collect();
    let (again, end) = requests([format!("set=1\n{asked}\n").as_bytes()]);
    let [Request::Set(sets, Ok(()))] = &again[..] else { panic!("{again:?}") };
    assert_eq!(end, Ok(()));
    let mut model = Model::default();
    sets.iter().cloned().for_each(|set| model.apply(set));
    assert!(model.status() == *status, "what was told is not what was set");
}

/// A device that does as it is told and nothing else.
#[derive(Default)]
struct Model {
    status: Status,
    peers: BTreeMap<NodePublic, PeerStatus>,
}

impl Model {
    fn apply(&mut self, set: Set) {
        match set {
            Set::PrivateKey(key) => self.status.private_key = key,
            Set::ListenPort(port) => self.status.listen_port = port,
            Set::Fwmark(mark) => self.status.fwmark = mark,
            Set::ReplacePeers => self.peers.clear(),
            Set::Peer(set) if set.remove => drop(self.peers.remove(&set.key)),
            Set::Peer(set) => self.peer(set),
        }
    }

    fn peer(&mut self, set: PeerSet) {
        let prefixes = set.allowed_ips.iter().map(|set| match set {
            PrefixSet::Add(prefix) | PrefixSet::Remove(prefix) => prefix,
        });
        assert!(prefixes.clone().all(|prefix| prefix.addr() == prefix.network()), "host bits are cut");
        if let Some(IpAddr::V6(ip)) = set.endpoint.map(|endpoint| endpoint.ip()) {
            assert!(ip.to_ipv4_mapped().is_none(), "IPv4 is unmapped");
        }
        let peer = self.peers.entry(set.key).or_insert_with(|| nobody(set.key));
        peer.psk = set.psk.unwrap_or_else(|| peer.psk.clone());
        peer.endpoint = set.endpoint.or(peer.endpoint);
        peer.keepalive = set.keepalive.unwrap_or(peer.keepalive);
        let before = if set.replace_allowed_ips { Vec::new() } else { std::mem::take(&mut peer.allowed_ips) };
        let mut allowed: BTreeSet<_> = before.into_iter().collect();
        for prefix in set.allowed_ips {
            match prefix {
                PrefixSet::Add(prefix) => allowed.insert(prefix),
                PrefixSet::Remove(prefix) => allowed.remove(&prefix),
            };
        }
        peer.allowed_ips = allowed.into_iter().collect();
    }

    fn status(&self) -> Status {
        Status { peers: self.peers.values().cloned().collect(), ..self.status.clone() }
    }
}

fn nobody(key: NodePublic) -> PeerStatus {
    PeerStatus {
        key,
        psk: PresharedKey::from_bytes([0; 32]),
        endpoint: None,
        last_handshake: None,
        rx_bytes: 0,
        tx_bytes: 0,
        keepalive: 0,
        allowed_ips: Vec::new(),
    }
}

/// The stream in pieces of lengths that follow from `cuts`.
fn pieces(stream: &[u8], cuts: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(cuts);
    let mut rest = stream;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 1 + (state >> 16) as usize % 61;
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}
