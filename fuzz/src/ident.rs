//! What must hold for the kind of any datagram, against the field's own rules written a second time.

use tidewire_packet_ident::geneve::{self, Header};
use tidewire_packet_ident::{DISCO_MAGIC, Kind, Message, Reason, identify, is_disco};

/// Any datagram.
pub fn ident(data: &[u8]) {
    let ident = identify(data);
    let payload = data.get(ident.payload()).expect("the payload lies in the datagram");
    match ident.geneve {
        Some(header) => {
            assert_eq!(Header::parse(data), Ok((header, payload)));
            assert_eq!(data[..geneve::LEN], header.encode());
            assert_ne!(ident.kind, Kind::Stun, "STUN is never wrapped");
        }
        None => assert_eq!(payload.len(), data.len()),
    }
    check_kind(ident.kind, payload, ident.geneve.is_some());
    if let Some(theirs) = go(data)
        && !matches!(ident.kind, Kind::Unknown(_))
    {
        assert_eq!((class(ident.kind), ident.geneve.is_some()), theirs, "Tailscale sees something else");
    }
    if is_disco(data) {
        assert_eq!((ident.kind, ident.geneve), (Kind::Disco, None));
    }
    index_is_free(data, ident.kind);
}

/// What each kind promises of the bytes.
fn check_kind(kind: Kind, payload: &[u8], wrapped: bool) {
    match kind {
        Kind::Stun => {
            assert!(payload.len() >= 20 && payload[0] < 0x40 && payload[1] == 1);
            assert_eq!(payload[4..8], [0x21, 0x12, 0xa4, 0x42]);
        }
        Kind::Disco => assert!(payload.len() >= 38 && payload.starts_with(&DISCO_MAGIC)),
        Kind::WireGuard(message) => {
            let (number, length) = match message {
                Message::Initiation => (1, Some(148)),
                Message::Response => (2, Some(92)),
                Message::Cookie => (3, Some(64)),
                Message::Data => (4, None),
            };
            assert_eq!(payload[..4], [number, 0, 0, 0]);
            assert!(length.map_or(payload.len() >= 32, |length| payload.len() == length));
        }
        Kind::Unknown(Reason::GeneveBody | Reason::GeneveControl) => assert!(wrapped),
        Kind::Unknown(_) => assert!(!wrapped, "a right header is always told"),
    }
}

/// WireGuard reserves three bytes and not four: the index behind them is any number.
fn index_is_free(data: &[u8], kind: Kind) {
    if let (Kind::WireGuard(_), Some([1..=4, ..])) = (kind, data.first_chunk::<8>()) {
        let mut other = data.to_vec();
        other[4..8].iter_mut().for_each(|byte| *byte = !*byte);
        assert_eq!(identify(&other).kind, kind);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Stun,
    Disco,
    WireGuard,
}

fn class(kind: Kind) -> Class {
    match kind {
        Kind::Stun => Class::Stun,
        Kind::Disco => Class::Disco,
        Kind::WireGuard(_) | Kind::Unknown(_) => Class::WireGuard,
    }
}

/// The order of Tailscale's magicsock, which takes all that is left for WireGuard; and whether eight bytes are stripped.
/// `None` where we are stricter on purpose: options and the critical bit.
fn go(data: &[u8]) -> Option<(Class, bool)> {
    let disco = |data: &[u8]| data.len() >= 38 && data.starts_with(&DISCO_MAGIC);
    if data.len() >= 20 && data[0] & 0xc0 == 0 && data[1] == 1 && data[4..8] == [0x21, 0x12, 0xa4, 0x42] {
        return Some((Class::Stun, false));
    }
    if data.len() >= 8 && data[0] & 0xc0 == 0 && data[1] & 0x3f == 0 && data[7] == 0 && data[2] == 0x7a {
        match data[3] {
            0x11 | 0x12 if data[0] != 0 || data[1] & 0x40 != 0 => return None,
            0x11 if disco(&data[8..]) => return Some((Class::Disco, true)),
            0x11 => return Some((Class::WireGuard, false)),
            0x12 => return Some((Class::WireGuard, true)),
            _ => {}
        }
    }
    Some((if disco(data) { Class::Disco } else { Class::WireGuard }, false))
}
