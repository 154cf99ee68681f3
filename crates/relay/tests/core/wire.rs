//! How clients put frames on the wire: as they are, or in WebSocket messages.

use tidewire_relay::core::ClientId;

use super::rig::{Got, Rig, read, secret};

/// The request of a client that speaks WebSocket.
pub(crate) const WEBSOCKET: &str = "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                                    Sec-WebSocket-Protocol: derp\r\n\r\n";

/// A client's frame of the WebSocket layer, masked.
pub(crate) fn message(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Takes a server's frames apart: opcode and payload of each.
pub(crate) fn unwrap(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let Some((&first, rest)) = bytes.split_first() {
        assert_eq!(first & 0xf0, 0x80, "final, nothing reserved");
        let (len, header) = match rest[0] {
            126 => (usize::from(u16::from_be_bytes([rest[1], rest[2]])), 3),
            127 => (u64::from_be_bytes(*rest[1..].first_chunk().unwrap()) as usize, 9),
            len @ 0..126 => (usize::from(len), 1),
            _ => panic!("a server does not mask"),
        };
        messages.push((first & 0x0f, rest[header..header + len].to_vec()));
        bytes = &rest[header + len..];
    }
    messages
}

/// The frames in those messages.
pub(crate) fn stream(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    messages.iter().filter(|(opcode, _)| *opcode == 2).flat_map(|(_, payload)| payload.clone()).collect()
}

/// Logs in over WebSocket with the key of that byte; the greeting has been read.
pub(crate) fn login(rig: &mut Rig, byte: u8) -> ClientId {
    let id = rig.connect();
    rig.bytes(id, WEBSOCKET.as_bytes());
    let bytes = rig.raw(id);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(read(&stream(&unwrap(&bytes[end..]))), [Got::ServerKey]);
    let login = rig.login_frame(&secret(byte));
    rig.bytes(id, &message(0x82, &login));
    let answer = rig.raw(id);
    assert_eq!(read(&stream(&unwrap(&answer))), [Got::ServerInfo]);
    id
}
