//! Where in the protocol one client is: bytes in, whole requests out, within limits of memory.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{
    PeerSet, PrefixSet, Set,
    line::{self, MAX_LINE, Malformed},
};

/// The largest `set=1` request that is taken, in bytes of memory as [`Set`]s: more than 65,000 peers with two prefixes
/// each. A larger one is done as far as that, and refused.
pub const MAX_REQUEST: usize = 16 << 20;

/// One client's side of the protocol: a machine without a socket.
///
/// [`feed`](Self::feed) it what was read, in pieces of any size, then take requests by
/// [`next_request`](Self::next_request) until there is none. Each request wants one answer. What is kept is at most a line
/// and a request of [`MAX_REQUEST`].
pub struct Session {
    // What was fed and is not a whole line yet, from `read` on. Keys pass through it.
    buffer: Zeroizing<Vec<u8>>,
    read: usize,
    // The rest of a line that was too long is coming.
    is_cut: bool,
    state: State,
    zone: fn(&str) -> Option<u32>,
}

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// `get=1`: to be told everything.
    Get,
    /// `set=1`: these changes, in order; and what is wrong with the line behind them, if they end before the request does.
    Set(Vec<Set>, Result<(), Malformed>),
    /// A request of which nothing is to be done.
    Wrong(Malformed),
}

/// The client speaks another language: its connection is to be closed without an answer, as wireguard-go does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("neither `get=1` nor `set=1`")]
pub struct Closed;

enum State {
    /// Between requests.
    Ready,
    /// Behind `get=1`.
    Get,
    /// In a `set=1`.
    Set(Building),
    /// In a request that was answered already, up to its empty line.
    Skip,
}

#[derive(Default)]
struct Building {
    done: Vec<Set>,
    peer: Option<PeerSet>,
    // Memory that all of this takes.
    weight: usize,
}

impl Session {
    /// The session of a client that has just connected. `zone` finds the number of an interface by its name, for endpoints
    /// like `[fe80::1%eth0]:51820`; where there are no names, numbers are read without it.
    #[must_use]
    pub fn new(zone: fn(&str) -> Option<u32>) -> Self {
        Self { buffer: Zeroizing::default(), read: 0, is_cut: false, state: State::Ready, zone }
    }

    /// Takes bytes that were read. Take out all requests before feeding more: what is fed is kept until then.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            // A vector that grows by itself does not wipe what it leaves behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next request that is there as a whole, or wrong already; `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`Closed`]: what came is no request.
    pub fn next_request(&mut self) -> Result<Option<Request>, Closed> {
        loop {
            // Anything but an end of line is wrong behind `get=1`, and need not be waited for.
            if matches!(self.state, State::Get)
                && self.buffer.get(self.read).is_some_and(|byte| *byte != b'\n')
            {
                self.state = State::Skip;
                return Ok(Some(Request::Wrong(Malformed::GetWithLines)));
            }
            let Some(line) = self.line() else { return Ok(None) };
            if let Some(request) = self.step(line)? {
                return Ok(Some(request));
            }
        }
    }

    /// The client sends no more: a `set=1` that was not ended is a request all the same, as far as it goes.
    #[must_use]
    pub fn finish(mut self) -> Option<Request> {
        match std::mem::replace(&mut self.state, State::Skip) {
            State::Set(mut building) => {
                let rest = self.buffer.get(self.read..).unwrap_or_default();
                let last = if rest.is_empty() { Ok(()) } else { building.take(rest, self.zone) };
                Some(building.request(last))
            }
            State::Ready | State::Get | State::Skip => None,
        }
    }

    /// The next line without its end; `Err` for one that is too long, as soon as that is known.
    fn line(&mut self) -> Option<Result<Range<usize>, Malformed>> {
        loop {
            let rest = self.buffer.get(self.read..)?;
            let end = rest.iter().position(|byte| *byte == b'\n');
            let start = self.read;
            if std::mem::take(&mut self.is_cut) {
                self.read = end.map_or(self.buffer.len(), |end| start + end + 1);
                self.is_cut = end.is_none();
                if self.is_cut {
                    return None;
                }
                continue;
            }
            return match end {
                Some(end) if end <= MAX_LINE => {
                    self.read = start + end + 1;
                    Some(Ok(start..start + end))
                }
                None if rest.len() <= MAX_LINE => None,
                _ => {
                    self.is_cut = true;
                    Some(Err(Malformed::LineTooLong))
                }
            };
        }
    }

    fn step(&mut self, line: Result<Range<usize>, Malformed>) -> Result<Option<Request>, Closed> {
        let line = match line {
            Ok(range) => Ok(self.buffer.get(range).unwrap_or_default()),
            Err(error) => Err(error),
        };
        match &mut self.state {
            State::Ready => {
                self.state = match line {
                    Ok(b"get=1") => State::Get,
                    Ok(b"set=1") => State::Set(Building::default()),
                    _ => return Err(Closed),
                };
                Ok(None)
            }
            // `next_request` has seen to it that the line is empty.
            State::Get => {
                self.state = State::Ready;
                Ok(Some(Request::Get))
            }
            State::Skip => {
                if line == Ok(b"") {
                    self.state = State::Ready;
                }
                Ok(None)
            }
            State::Set(building) => {
                let taken = match line {
                    Ok(b"") => {
                        let building = std::mem::take(building);
                        self.state = State::Ready;
                        return Ok(Some(building.request(Ok(()))));
                    }
                    Ok(line) => building.take(line, self.zone),
                    Err(error) => Err(error),
                };
                let Err(error) = taken else { return Ok(None) };
                let building = std::mem::take(building);
                self.state = State::Skip;
                Ok(Some(building.request(Err(error))))
            }
        }
    }
}

impl Building {
    fn take(&mut self, line: &[u8], zone: fn(&str) -> Option<u32>) -> Result<(), Malformed> {
        if self.weight >= MAX_REQUEST {
            return Err(Malformed::RequestTooLong);
        }
        let (key, value) = line::split(line)?;
        if let Some(peer) = self.peer.as_mut().filter(|_| key != "public_key") {
            let before = peer.allowed_ips.len();
            line::peer(peer, key, value, zone)?;
            self.weight += peer.allowed_ips.len().saturating_sub(before) * size_of::<PrefixSet>();
            return Ok(());
        }
        let set = line::device(key, value)?;
        self.weight += size_of::<Set>();
        self.done.extend(self.peer.take().map(Set::Peer));
        match set {
            Set::Peer(peer) => self.peer = Some(peer),
            set => self.done.push(set),
        }
        Ok(())
    }

    fn request(mut self, last: Result<(), Malformed>) -> Request {
        self.done.extend(self.peer.take().map(Set::Peer));
        Request::Set(self.done, last)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("buffered", &(self.buffer.len() - self.read)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidewire_keys::NodePublic;

    use super::*;
    use crate::uapi::Errno;

    fn session() -> Session {
        Session::new(|_| None)
    }

    /// All requests in `text`, fed in pieces of `piece` bytes.
    fn requests(text: &[u8], piece: usize) -> (Vec<Request>, Result<(), Closed>) {
        let (mut session, mut requests) = (session(), Vec::new());
        for bytes in text.chunks(piece) {
            session.feed(bytes);
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

    fn peer(n: u8) -> PeerSet {
        PeerSet::new(NodePublic::from_bytes([n; 32]))
    }

    fn hex(n: u8) -> String {
        format!("{n:02x}").repeat(32)
    }

    fn add(prefix: &str) -> PrefixSet {
        PrefixSet::Add(prefix.parse().unwrap())
    }

    #[test]
    fn lines_behind_a_public_key_are_about_that_peer() {
        let text = format!(
            "set=1\nlisten_port=7\nreplace_peers=true\npublic_key={}\nallowed_ip=10.0.0.1/32\npersistent_keepalive_interval=25\n\
             public_key={}\nremove=true\n\nget=1\n\n",
            hex(1),
            hex(2)
        );
        let mut one = peer(1);
        one.allowed_ips = vec![add("10.0.0.1/32")];
        one.keepalive = Some(25);
        let mut two = peer(2);
        two.remove = true;
        let sets = vec![Set::ListenPort(7), Set::ReplacePeers, Set::Peer(one), Set::Peer(two)];
        for piece in [1, 7, 4096] {
            let expected = vec![Request::Set(sets.clone(), Ok(())), Request::Get];
            assert_eq!(requests(text.as_bytes(), piece), (expected, Ok(())));
        }
    }

    #[test]
    fn what_stands_before_a_bad_line_is_done_and_what_stands_behind_it_is_not() {
        let text = format!(
            "set=1\nfwmark=1\npublic_key={}\nallowed_ip=10.0.0.1/32\nbogus=1\nallowed_ip=10.0.0.2/32\n\nget=1\n\n",
            hex(1)
        );
        let (requests, end) = requests(text.as_bytes(), 4096);
        let mut one = peer(1);
        one.allowed_ips = vec![add("10.0.0.1/32")];
        let Request::Set(sets, Err(error)) = &requests[0] else { panic!("{requests:?}") };
        assert_eq!(*sets, [Set::Fwmark(1), Set::Peer(one)]);
        assert_eq!(error.errno(), Errno::Invalid);
        assert_eq!((&requests[1..], end), (&[Request::Get][..], Ok(())));
    }

    #[test]
    fn replacing_prefixes_forgets_those_of_the_same_block_that_stand_before() {
        let text = format!(
            "set=1\npublic_key={}\nallowed_ip=10.0.0.1/32\nreplace_allowed_ips=true\nallowed_ip=10.0.0.2/32\n\n",
            hex(1)
        );
        let mut one = peer(1);
        one.replace_allowed_ips = true;
        one.allowed_ips = vec![add("10.0.0.2/32")];
        assert_eq!(requests(text.as_bytes(), 5).0, [Request::Set(vec![Set::Peer(one)], Ok(()))]);
    }

    #[test]
    fn a_request_that_ends_with_the_connection_is_done() {
        assert_eq!(
            requests(b"set=1\nfwmark=1\nfwmark=2", 3).0,
            [Request::Set(vec![Set::Fwmark(1), Set::Fwmark(2)], Ok(()))]
        );
        assert_eq!(requests(b"set=1\n", 3).0, [Request::Set(vec![], Ok(()))]);
        assert_eq!(requests(b"get=1\n", 3).0, []);
        assert_eq!(requests(b"get=1", 3).0, []);
    }

    #[test]
    fn get_takes_no_lines_and_the_next_request_is_heard() {
        let (requests, end) = requests(b"get=1\nx=1\ny=2\n\nget=1\n\n", 4096);
        assert_eq!(requests, [Request::Wrong(Malformed::GetWithLines), Request::Get]);
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn another_language_closes_the_connection() {
        for text in [&b"GET / HTTP/1.1\r\n"[..], b"\n", b"get=2\n", b"get=1 \n", b"set=1\r\n", b"\xff\xfe\n"]
        {
            assert_eq!(requests(text, 4096), (vec![], Err(Closed)));
        }
        assert_eq!(requests(&vec![b'x'; MAX_LINE + 2], 4096), (vec![], Err(Closed)));
    }

    #[test]
    fn a_line_may_be_long_but_not_longer() {
        let long = |len: usize| {
            let key = "endpoint=";
            format!(
                "set=1\npublic_key={}\n{key}{}\nremove=true\n\nget=1\n\n",
                hex(1),
                "1".repeat(len - key.len())
            )
        };
        for (len, errno) in [(MAX_LINE, Errno::Invalid), (MAX_LINE + 1, Errno::Io), (3 * MAX_LINE, Errno::Io)]
        {
            let (requests, end) = requests(long(len).as_bytes(), 4096);
            let Request::Set(sets, Err(error)) = &requests[0] else { panic!("{requests:?}") };
            assert_eq!((sets.as_slice(), error.errno()), (&[Set::Peer(peer(1))][..], errno), "{len}");
            assert_eq!((&requests[1..], end), (&[Request::Get][..], Ok(())));
        }
    }

    #[test]
    fn a_request_without_end_is_refused_when_it_is_too_long() {
        let mut session = session();
        session.feed(b"set=1\n");
        let line = b"fwmark=1\n".repeat(1000);
        let mut fed = 0;
        let request = loop {
            session.feed(&line);
            fed += line.len();
            if let Some(request) = session.next_request().unwrap() {
                break request;
            }
            assert!(fed <= MAX_REQUEST);
        };
        assert!(matches!(request, Request::Set(_, Err(Malformed::RequestTooLong))));
        assert_eq!(session.next_request(), Ok(None));
        session.feed(b"\nget=1\n\n");
        assert_eq!(session.next_request(), Ok(Some(Request::Get)));
    }

    #[test]
    fn what_is_buffered_is_at_most_a_line_and_a_piece() {
        let mut session = session();
        session.feed(b"set=1\n");
        for _ in 0..1000 {
            session.feed(&[b'x'; 4096]);
            while session.next_request().unwrap().is_some() {}
            assert!(session.buffer.capacity() <= 4 * MAX_LINE);
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("set=1"), Just("get=1"), Just(""), Just("fwmark=3"), Just("remove=true"), Just("x"),
                    Just("public_key=0101010101010101010101010101010101010101010101010101010101010101"),
                    Just("allowed_ip=10.0.0.0/8"), Just("allowed_ip=-10.0.0.0/8"), Just("replace_allowed_ips=true"),
                ],
                0..40,
            ),
            piece in 1usize..50,
        ) {
            let text = lines.join("\n");
            prop_assert_eq!(requests(text.as_bytes(), piece), requests(text.as_bytes(), usize::MAX));
        }

        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000), in_set: bool) {
            let mut text = if in_set { b"set=1\n".to_vec() } else { Vec::new() };
            text.extend(bytes);
            let (requests, end) = requests(&text, 64);
            prop_assert!(in_set || end.is_err() || requests.len() <= 1);
        }
    }
}
