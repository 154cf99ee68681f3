//! How a stream of frames travels in WebSocket messages, on the server's side (RFC 6455): a byte stream, message boundaries mean nothing.

use thiserror::Error;

/// Longest message that is sent, in bytes: what Tailscale's own client and server accept.
pub(crate) const MAX_MESSAGE: usize = 32_768;
/// Status codes of a close (RFC 6455, section 7.4.1).
pub(crate) const NORMAL: u16 = 1000;
pub(crate) const GOING_AWAY: u16 = 1001;
/// Longest payload of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Takes a client's messages apart. Keeps nothing but a header or a control frame that is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    header: [u8; 14],
    have: usize,
    /// The frame whose payload is being read.
    current: Option<Current>,
    /// A data message is open: continuations follow.
    is_fragmented: bool,
    control: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    opcode: u8,
    left: u64,
    mask: [u8; 4],
}

/// What a client asks of the WebSocket layer itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Send this back as a pong.
    Ping(Vec<u8>),
    /// Send this back as a close, and end.
    Close(Vec<u8>),
}

/// Why a WebSocket connection is ended. The client is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Violation {
    /// A frame that RFC 6455 forbids: not masked, reserved bits, an unknown opcode, a bad control frame, or fragments in
    /// the wrong order.
    #[error("a WebSocket frame that the protocol forbids")]
    Protocol,
    /// A text message, where only binary ones carry frames.
    #[error("a WebSocket text message")]
    Text,
    /// No subprotocol that is served here.
    #[error("no WebSocket subprotocol `derp`")]
    Subprotocol,
}

impl Violation {
    /// The status code of the close frame that says so (RFC 6455, section 7.4.1).
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::Text => 1003,
            Self::Subprotocol => 1008,
        }
    }
}

impl Intake {
    /// Takes bytes off `input` and appends the payload of data messages to `data`, until `input` is used up (`None`) or a
    /// control frame is whole.
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        data: &mut Vec<u8>,
    ) -> Result<Option<Control>, Violation> {
        while !input.is_empty() {
            match &mut self.current {
                None => self.read_header(input)?,
                Some(current) => {
                    let count = usize::try_from(current.left).unwrap_or(usize::MAX).min(input.len());
                    let (payload, rest) = input.split_at(count);
                    *input = rest;
                    current
                        .unmask(payload, if current.is_control() { &mut self.control } else { &mut *data });
                }
            }
            if let Some(control) = self.finish_frame() {
                return Ok(Some(control));
            }
        }
        Ok(None)
    }

    /// Reads on in a header; when it is whole, the frame is current.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<(), Violation> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.header[self.have] = *byte;
            self.have += 1;
            if self.have < 2 {
                continue;
            }
            if self.have == 2 {
                self.check()?;
            }
            if self.have == self.header_len() {
                self.current = Some(self.parse()?);
                self.have = 0;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Judges the first two bytes.
    fn check(&mut self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        let (is_final, opcode, len) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(Violation::Protocol);
        }
        match opcode {
            TEXT => return Err(Violation::Text),
            BINARY if !self.is_fragmented => self.is_fragmented = !is_final,
            CONTINUATION if self.is_fragmented => self.is_fragmented = !is_final,
            CLOSE | PING | PONG if is_final && usize::from(len) <= MAX_CONTROL => {}
            _ => return Err(Violation::Protocol),
        }
        Ok(())
    }

    const fn header_len(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 2 + 2 + 4,
            127 => 2 + 8 + 4,
            _ => 2 + 4,
        }
    }

    fn parse(&self) -> Result<Current, Violation> {
        let [first, second, a, b, c, d, e, f, g, h, i, j, k, l] = self.header;
        let (left, mask) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), [i, j, k, l]),
            len => (u64::from(len), [a, b, c, d]),
        };
        if left >> 63 != 0 {
            Err(Violation::Protocol)
        } else {
            Ok(Current { opcode: first & 0x0f, left, mask })
        }
    }

    /// Steps behind a frame that is whole.
    fn finish_frame(&mut self) -> Option<Control> {
        let current = self.current.filter(|current| current.left == 0)?;
        self.current = None;
        match current.opcode {
            PING => Some(Control::Ping(std::mem::take(&mut self.control))),
            CLOSE => Some(Control::Close(std::mem::take(&mut self.control))),
            PONG => {
                self.control = Vec::new();
                None
            }
            _ => None,
        }
    }
}

impl Current {
    const fn is_control(&self) -> bool {
        self.opcode & 0x08 != 0
    }

    fn unmask(&mut self, payload: &[u8], into: &mut Vec<u8>) {
        into.extend(payload.iter().zip(self.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.mask.rotate_left(payload.len() % 4);
        self.left -= payload.len() as u64;
    }
}

/// Appends `bytes` to `out` as binary messages.
pub(crate) fn wrap(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.chunks(MAX_MESSAGE).for_each(|message| frame(BINARY, message, out));
}

/// Appends the answer to a ping.
pub(crate) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(PONG, payload, out);
}

/// Appends a close frame with a status code.
pub(crate) fn close(code: u16, out: &mut Vec<u8>) {
    frame(CLOSE, &code.to_be_bytes(), out);
}

/// Appends the answer to a close frame: its status code, or none.
pub(crate) fn close_back(payload: &[u8], out: &mut Vec<u8>) {
    frame(CLOSE, payload.get(..2).unwrap_or_default(), out);
}

fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ ..=125), _) => out.push(len),
        (_, Ok(len)) => {
            out.push(126);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(0, payload, &mut bytes);
        let header_len = bytes.len() - payload.len();
        bytes[0] = first;
        bytes[1] |= 0x80;
        for (byte, mask) in bytes[header_len..].iter_mut().zip(MASK.iter().cycle()) {
            *byte ^= mask;
        }
        bytes.splice(header_len..header_len, MASK);
        bytes
    }

    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<Control>), Violation> {
        let (mut intake, mut data, mut controls) = (Intake::default(), Vec::new(), Vec::new());
        for mut piece in pieces.iter().copied() {
            while let Some(control) = intake.next(&mut piece, &mut data)? {
                controls.push(control);
            }
        }
        Ok((data, controls))
    }

    /// The example of RFC 6455, section 5.7, as a binary message.
    #[test]
    fn a_masked_message_is_read() {
        let bytes = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(&[&bytes]).unwrap().0, b"Hello");
        assert_eq!(masked(0x82, b"Hello"), bytes);
    }

    #[test]
    fn any_split_gives_the_same_bytes() {
        let payload: Vec<u8> = (0..70_000_u32).map(|at| at as u8).collect();
        let mut bytes = Vec::new();
        for (first, range) in
            [(0x02, 0..126), (0x00, 126..300), (0x89, 0..4), (0x80, 300..70_000), (0x82, 0..0), (0x8a, 0..9)]
        {
            bytes.extend(masked(first, &payload[range]));
        }
        for size in [1, 2, 3, 5, 7, 127, 1000, 65_536, 100_000] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let (data, controls) = read(&pieces).unwrap();
            assert_eq!(data, payload);
            assert_eq!(controls, [Control::Ping(vec![0, 1, 2, 3])]);
        }
    }

    #[test]
    fn an_empty_ping_and_an_empty_close_are_seen() {
        let bytes = [masked(0x89, b""), masked(0x88, b"")].concat();
        let (_, controls) = read(&[&bytes]).unwrap();
        assert_eq!(controls, [Control::Ping(vec![]), Control::Close(vec![])]);
    }

    #[test]
    fn what_the_protocol_forbids_is_refused() {
        for (what, bytes) in [
            ("not masked", vec![0x82, 0x01, 0x00]),
            ("reserved bit", masked(0xc2, b"x")),
            ("unknown opcode", masked(0x83, b"x")),
            ("unknown control opcode", masked(0x8b, b"x")),
            ("continuation of nothing", masked(0x80, b"x")),
            ("new message inside another", [masked(0x02, b"x"), masked(0x82, b"x")].concat()),
            ("fragmented ping", masked(0x09, b"x")),
            ("long ping", masked(0x89, &[0; 126])),
            ("absurd length", [&[0x82, 0xff][..], &[0xff; 8], &MASK].concat()),
        ] {
            assert_eq!(read(&[&bytes]), Err(Violation::Protocol), "{what}");
        }
        assert_eq!(read(&[&masked(0x81, b"x")]), Err(Violation::Text));
    }

    #[test]
    fn what_is_sent_is_short_enough_for_the_original() {
        let mut out = Vec::new();
        wrap(&[7; 65_573], &mut out);
        assert_eq!(out[..4], [0x82, 126, 0x80, 0x00]);
        assert_eq!(out[4 + 32_768..][..4], [0x82, 126, 0x80, 0x00]);
        assert_eq!(out[2 * (4 + 32_768)..], [0x82, 37].into_iter().chain([7; 37]).collect::<Vec<_>>());
    }

    #[test]
    fn closes_say_why() {
        let mut out = Vec::new();
        close(1003, &mut out);
        assert_eq!(out, [0x88, 2, 0x03, 0xeb]);
        out.clear();
        close_back(&[0x03, 0xe8, b'b', b'y', b'e'], &mut out);
        assert_eq!(out, [0x88, 2, 0x03, 0xe8]);
        out.clear();
        close_back(&[], &mut out);
        assert_eq!(out, [0x88, 0]);
    }
}
