//! Frames: every type there and back, every limit, and what both ends are lax about.

use std::{net::Ipv6Addr, time::Duration};

use proptest::prelude::*;
use tidewire_derp::frame::{
    Decoder, Frame, FrameError, GoneReason, HEADER_LEN, Kind, Limits, MAGIC, MAX_HEALTH, MAX_LOGIN,
    MAX_PACKET, PeerPresent, Sealed, header,
};
use tidewire_keys::{NodePublic, RelayPublic};

fn key(n: u8) -> NodePublic {
    NodePublic::from_bytes([n; 32])
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).unwrap();
    out
}

fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

/// What a whole stream decodes to: frames as text, or errors.
fn decode(limits: Limits, pieces: &[&[u8]]) -> Vec<Result<String, FrameError>> {
    let mut decoder = Decoder::new(limits);
    let mut seen = Vec::new();
    for mut piece in pieces.iter().copied() {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => seen.push(Ok(format!("{frame:?}"))),
                Ok(None) => break,
                Err(error) => seen.push(Err(error)),
            }
        }
        assert!(piece.is_empty());
    }
    seen
}

fn one_of_each() -> Vec<Frame<'static>> {
    let sealed = Sealed { nonce: &[9; 24], boxed: &[8; 40] };
    let present = PeerPresent { peer: key(5), addr: Some((Ipv6Addr::LOCALHOST, 443)), flags: 3 };
    vec![
        Frame::ServerKey(RelayPublic::from_bytes([1; 32])),
        Frame::ClientInfo { key: key(2), sealed },
        Frame::ServerInfo(sealed),
        Frame::SendPacket { to: key(3), packet: b"there" },
        Frame::RecvPacket { from: key(4), packet: b"" },
        Frame::KeepAlive,
        Frame::NotePreferred(true),
        Frame::PeerGone { peer: key(5), reason: GoneReason::NotHere },
        Frame::PeerPresent(present),
        Frame::PeerPresent(PeerPresent { addr: None, flags: 0, ..present }),
        Frame::ForwardPacket { from: key(6), to: key(7), packet: b"on" },
        Frame::WatchConns,
        Frame::ClosePeer(key(8)),
        Frame::Ping(*b"12345678"),
        Frame::Pong(*b"87654321"),
        Frame::Health(b"duplicate"),
        Frame::Restarting { reconnect_in: Duration::from_millis(500), try_for: Duration::from_secs(60) },
    ]
}

#[test]
fn every_type_comes_back_as_it_was() {
    let frames = one_of_each();
    for kind in Kind::ALL {
        assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        assert!(frames.iter().any(|frame| frame.kind() == kind), "{kind:?} is not tried");
    }
    for frame in frames {
        let bytes = encoded(&frame);
        assert_eq!(bytes.len(), HEADER_LEN + frame.body_len());
        assert_eq!(bytes[..HEADER_LEN], header(frame.kind(), frame.body_len()));
        let mut input = &bytes[..];
        let mut decoder = Decoder::new(Limits::CLIENT);
        assert_eq!(decoder.next(&mut input), Ok(Some(frame)));
        assert!(decoder.is_between_frames() && input.is_empty());
    }
}

#[test]
fn the_bytes_are_those_of_the_field() {
    assert_eq!(encoded(&Frame::NotePreferred(true)), [0x07, 0, 0, 0, 1, 1]);
    assert_eq!(encoded(&Frame::Ping([1, 2, 3, 4, 5, 6, 7, 8])), [0x12, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let restarting =
        Frame::Restarting { reconnect_in: Duration::from_millis(258), try_for: Duration::from_millis(1) };
    assert_eq!(encoded(&restarting), [0x15, 0, 0, 0, 8, 0, 0, 1, 2, 0, 0, 0, 1]);
    assert_eq!(MAGIC, [0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91]);
    assert_eq!(Kind::ForwardPacket as u8, 0x0a);
}

#[test]
fn trap_a_packet_of_64_kib_is_legal_though_its_frame_is_longer() {
    let packet = vec![7; MAX_PACKET];
    let (to, from) = (key(1), key(2));
    for frame in [
        Frame::SendPacket { to, packet: &packet },
        Frame::RecvPacket { from, packet: &packet },
        Frame::ForwardPacket { from, to, packet: &packet },
    ] {
        let bytes = encoded(&frame);
        assert_eq!(Decoder::new(Limits::RELAY).next(&mut &bytes[..]), Ok(Some(frame)));
    }
    let longer = vec![7; MAX_PACKET + 1];
    let mut out = Vec::new();
    let error = Frame::SendPacket { to, packet: &longer }.encode(&mut out).unwrap_err();
    assert_eq!(error, FrameError::TooLong { kind: 4, len: 65_569, max: 65_568 });
    assert!(out.is_empty());
    let forward = Frame::ForwardPacket { from, to, packet: &longer }.encode(&mut out).unwrap_err();
    assert_eq!(forward, FrameError::TooLong { kind: 10, len: 65_601, max: 65_600 });
}

#[test]
fn trap_unknown_types_are_skipped_and_not_kept() {
    let mut decoder = Decoder::new(Limits::CLIENT);
    let mut first = &[0x77, 0, 0x10, 0, 0, 1, 2, 3][..];
    assert_eq!(decoder.next(&mut first), Ok(None));
    let zeros = vec![0; (1 << 20) - 3];
    for mut piece in zeros.chunks(4096) {
        assert_eq!(decoder.next(&mut piece), Ok(None));
        assert_eq!(decoder.held(), 0);
    }
    assert!(decoder.is_between_frames());
    assert_eq!(decoder.next(&mut &encoded(&Frame::KeepAlive)[..]), Ok(Some(Frame::KeepAlive)));
}

#[test]
fn a_client_refuses_what_is_longer_than_1_mib_and_a_relay_skips_it() {
    let head = [0x77, 0, 0x10, 0, 1];
    let error = FrameError::TooLong { kind: 0x77, len: (1 << 20) + 1, max: 1 << 20 };
    assert_eq!(Decoder::new(Limits::CLIENT).next(&mut &head[..]), Err(error));
    assert_eq!(Decoder::new(Limits::RELAY).next(&mut &head[..]), Ok(None));
}

#[test]
fn huge_lengths_of_known_types_are_refused_at_the_header() {
    for kind in Kind::ALL {
        let head = [kind as u8, 0xff, 0xff, 0xff, 0xff];
        let got = Decoder::new(Limits::CLIENT).next(&mut &head[..]).unwrap_err();
        let len = u32::MAX as usize;
        assert!(matches!(got, FrameError::TooLong { len: l, .. } if l == len), "{kind:?}: {got}");
    }
}

#[test]
fn a_promised_length_costs_no_memory() {
    let mut decoder = Decoder::new(Limits::RELAY);
    let mut input = &header(Kind::ClientInfo, MAX_LOGIN)[..];
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert!(decoder.held() < 64, "{}", decoder.held());
}

#[test]
fn a_decoder_owns_no_memory_between_frames() {
    let bytes = encoded(&Frame::SendPacket { to: key(1), packet: &[5; 3000] });
    let mut decoder = Decoder::new(Limits::RELAY);
    assert_eq!(decoder.next(&mut &bytes[..100]), Ok(None));
    assert!(decoder.held() >= 100);
    assert!(decoder.next(&mut &bytes[100..]).unwrap().is_some());
    assert_eq!(decoder.next(&mut &[][..]), Ok(None));
    assert_eq!(decoder.held(), 0);
}

#[test]
fn what_later_versions_append_is_ignored() {
    let mut body = MAGIC.to_vec();
    body.extend([3; 32]);
    body.extend([0xee; 984]);
    let server_key = Frame::ServerKey(RelayPublic::from_bytes([3; 32]));
    assert_eq!(Decoder::new(Limits::CLIENT).next(&mut &raw(1, &body)[..]), Ok(Some(server_key)));
    let mut gone = vec![5; 32];
    let disconnected = Frame::PeerGone { peer: key(5), reason: GoneReason::Disconnected };
    assert_eq!(Frame::parse(Kind::PeerGone, &gone), Ok(disconnected));
    gone.extend([1, 2, 3]);
    let not_here = Frame::PeerGone { peer: key(5), reason: GoneReason::NotHere };
    assert_eq!(Decoder::new(Limits::CLIENT).next(&mut &raw(8, &gone)[..]), Ok(Some(not_here)));
    let ping = raw(0x12, &[4; 1000]);
    assert_eq!(Decoder::new(Limits::CLIENT).next(&mut &ping[..]), Ok(Some(Frame::Ping([4; 8]))));
}

#[test]
fn a_body_that_is_too_short_or_too_long_for_its_type_is_an_error_and_the_stream_goes_on() {
    for (kind, body) in [
        (Kind::ServerKey, 39),
        (Kind::ServerKey, 1025),
        (Kind::ClientInfo, 71),
        (Kind::ServerInfo, 39),
        (Kind::SendPacket, 31),
        (Kind::ForwardPacket, 63),
        (Kind::NotePreferred, 0),
        (Kind::NotePreferred, 2),
        (Kind::PeerGone, 31),
        (Kind::PeerPresent, 31),
        (Kind::WatchConns, 1),
        (Kind::ClosePeer, 33),
        (Kind::Ping, 7),
        (Kind::Ping, 1001),
        (Kind::Pong, 7),
        (Kind::Restarting, 7),
    ] {
        let mut bytes = raw(kind as u8, &vec![0; body]);
        bytes.extend(encoded(&Frame::KeepAlive));
        for cut in [0, 3, 5, bytes.len() - 6] {
            let seen = decode(Limits::CLIENT, &[&bytes[..cut], &bytes[cut..]]);
            assert!(seen[0].is_err(), "{kind:?} of {body}: {seen:?}");
            assert_eq!(seen[1..], [Ok("KeepAlive".to_owned())], "{kind:?} of {body}");
        }
    }
}

#[test]
fn a_server_key_without_magic_is_refused() {
    let seen = decode(Limits::CLIENT, &[&raw(1, &[0; 40])]);
    assert_eq!(seen, [Err(FrameError::Magic)]);
}

#[test]
fn a_long_health_text_is_cut() {
    let bytes = raw(0x14, &vec![b'x'; 100_000]);
    let mut decoder = Decoder::new(Limits::CLIENT);
    let mut texts = 0;
    for mut piece in bytes.chunks(1000) {
        while let Some(frame) = decoder.next(&mut piece).unwrap() {
            assert!(matches!(frame, Frame::Health(text) if text.len() == MAX_HEALTH));
            texts += 1;
        }
        assert!(decoder.held() <= 2 * MAX_HEALTH + 1000);
    }
    assert_eq!(texts, 1);
    assert!(decoder.is_between_frames());
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(cuts in prop::collection::vec(0usize..800, 0..40), junk in 0u8..255) {
        let mut stream = Vec::new();
        for frame in one_of_each() {
            frame.encode(&mut stream).unwrap();
            stream.extend(raw(junk | 0x80, &vec![junk; usize::from(junk) % 23]));
        }
        let whole = decode(Limits::CLIENT, &[&stream]);
        prop_assert_eq!(whole.len(), one_of_each().len());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % stream.len()).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(Limits::CLIENT, &pieces), whole);
    }

    #[test]
    fn any_bytes_give_frames_or_errors_and_memory_stays_bounded(
        stream in prop::collection::vec(prop_oneof![0u8..0x16, any::<u8>(), Just(0)], 0..3000),
        size in 1usize..600,
    ) {
        let whole = decode(Limits::RELAY, &[&stream]);
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        prop_assert_eq!(decode(Limits::RELAY, &pieces), whole);
    }

    #[test]
    fn what_was_parsed_can_be_encoded_and_parsed_again(kind in prop::sample::select(&Kind::ALL[..]), body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = Frame::parse(kind, &body) {
            let bytes = encoded(&frame);
            prop_assert_eq!(Frame::parse(kind, &bytes[HEADER_LEN..]), Ok(frame));
        }
    }
}
