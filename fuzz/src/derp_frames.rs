//! What must hold for a DERP stream: the same frames however it is cut, bounded memory, and each frame written back the same.

use tidewire_derp::frame::{Decoder, Frame, FrameError, HEADER_LEN, Kind, Limits, MAX_LOGIN};

/// How the stream is cut, and then the stream.
pub fn derp_frames(data: &[u8]) {
    let Some((&cuts, stream)) = data.split_first() else { return };
    for limits in [Limits::CLIENT, Limits::RELAY] {
        let whole = decode(limits, [stream]);
        assert_eq!(whole, decode(limits, pieces(stream, cuts)), "cut by {cuts}");
        follows_headers(&whole, limits, stream);
        for frame in whole.frames.iter().flatten() {
            assert_eq!(
                decode(limits, [&frame.written[..]]),
                Decoded { frames: vec![Ok(frame.clone())], between: true }
            );
        }
    }
}

/// Frames come one for each header, in order, and the length in a header leads to the next. Of the last one not all need be there.
fn follows_headers(decoded: &Decoded, limits: Limits, mut stream: &[u8]) {
    let mut frames = decoded.frames.iter();
    while let Some((&[kind, a, b, c, d], rest)) = stream.split_first_chunk::<HEADER_LEN>() {
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let told = Kind::from_byte(kind).is_some() || len > limits.frame;
        let body = rest.split_at_checked(len);
        let frame = if told { frames.next() } else { None };
        match frame {
            Some(Ok(seen)) => assert_eq!(seen.written[0], kind),
            Some(Err(FrameError::TooLong { kind: refused, .. })) => assert_eq!(*refused, kind),
            Some(Err(FrameError::TooShort { kind: refused, .. })) => assert_eq!(*refused as u8, kind),
            Some(Err(FrameError::Magic)) => assert_eq!(kind, Kind::ServerKey as u8),
            None => assert!(!told || body.is_none(), "a whole frame is missing"),
        }
        let Some((_, tail)) = body else { break };
        stream = tail;
    }
    assert!(frames.next().is_none(), "a frame without a header");
}

/// What a decoder made of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    /// Each frame, in order with those that were refused.
    frames: Vec<Result<Seen, FrameError>>,
    between: bool,
}

/// A frame that has outlived its bytes.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Seen {
    /// What it says.
    told: String,
    /// How it is written back.
    written: Vec<u8>,
}

fn decode<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = Decoder::new(limits);
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    frames.push(Ok(Seen { told: format!("{frame:?}"), written: written(&frame) }))
                }
                Err(error) => frames.push(Err(error)),
            }
        }
        assert!(piece.is_empty(), "a decoder takes all");
        assert!(decoder.held() <= HEADER_LEN + MAX_LOGIN, "{} bytes are held", decoder.held());
    }
    Decoded { frames, between: decoder.is_between_frames() }
}

fn written(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut out).expect("what was accepted can be sent");
    assert_eq!(out.len(), HEADER_LEN + frame.body_len());
    out
}

/// The stream in pieces of lengths that follow from `cuts`; with 0 byte by byte.
fn pieces(stream: &[u8], cuts: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(cuts);
    let mut rest = stream;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(if cuts == 0 { 0 } else { 1_013_904_223 });
        let length = 1 + (state >> 16) as usize % 41;
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}
