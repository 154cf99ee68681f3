//! What must hold for a DERP login: what is read is written back the same, only the right box opens, and nothing crashes a relay.

use std::sync::LazyLock;

use tidewire_derp::frame::{Decoder, Frame, Limits, Sealed};
use tidewire_derp::{ClientInfo, LoginError, ServerInfo};
use tidewire_keys::{NONCE_LEN, NodePublic, NodeSecret, RelaySecret, SharedBox};

/// The keys of the fixed vectors.
static CLIENT: LazyLock<NodePublic> = LazyLock::new(|| NodeSecret::from_bytes([0x11; 32]).public());
/// A precomputed box is the same at both ends.
static SHARED: LazyLock<SharedBox> = LazyLock::new(|| RelaySecret::from_bytes([0x22; 32]).shared(&CLIENT));
const NONCE: [u8; NONCE_LEN] = [0x66; NONCE_LEN];

/// Any bytes: once as a stream to a relay, once as what was sealed by either end.
pub fn derp_login(data: &[u8]) {
    stream(data);
    let boxed = SHARED.seal(&NONCE, data);
    let sealed = Sealed { nonce: &NONCE, boxed: &boxed };
    assert_eq!(
        ClientInfo::open(&NodePublic::from_bytes([0; 32]), &SHARED, &sealed),
        Err(LoginError::ZeroKey)
    );
    if let Ok(info) = ClientInfo::open(&CLIENT, &SHARED, &sealed) {
        client_round_trip(&info);
        spoiled(data, &boxed);
    }
    if let Ok(info) = ServerInfo::open(&SHARED, &sealed) {
        server_round_trip(&info);
    }
}

fn stream(mut data: &[u8]) {
    let mut decoder = Decoder::new(Limits::RELAY);
    while let Ok(Some(frame)) = decoder.next(&mut data) {
        if let Frame::ClientInfo { key, sealed } = frame
            && let Ok(info) = ClientInfo::open(&key, &SHARED, &sealed)
        {
            client_round_trip(&info);
        }
    }
}

fn client_round_trip(info: &ClientInfo) {
    assert_ne!(info.app_name.as_deref(), Some(""), "an empty name is none");
    let mut out = Vec::new();
    info.encode(*CLIENT, &SHARED, &NONCE, &mut out).expect("it fitted into one login");
    let mut decoder = Decoder::new(Limits::RELAY);
    match decoder.next(&mut &out[..]) {
        Ok(Some(Frame::ClientInfo { key, sealed })) => {
            assert_eq!(key, *CLIENT);
            assert_eq!(ClientInfo::open(&key, &SHARED, &sealed).as_ref(), Ok(info));
        }
        other => panic!("a login became {other:?}"),
    }
}

fn server_round_trip(info: &ServerInfo) {
    assert!(info.rate.is_none_or(|rate| rate.bytes_per_second > 0), "a rate of zero is no limit");
    let mut out = Vec::new();
    info.encode(&SHARED, &NONCE, &mut out);
    let mut decoder = Decoder::new(Limits::CLIENT);
    match decoder.next(&mut &out[..]) {
        Ok(Some(Frame::ServerInfo(sealed))) => {
            assert_eq!(ServerInfo::open(&SHARED, &sealed).as_ref(), Ok(info))
        }
        other => panic!("a greeting became {other:?}"),
    }
}

fn spoiled(data: &[u8], boxed: &[u8]) {
    let mut boxed = boxed.to_vec();
    let at = data.iter().fold(0, |sum, byte| sum + usize::from(*byte)) % boxed.len();
    boxed[at] ^= 1;
    let sealed = Sealed { nonce: &NONCE, boxed: &boxed };
    assert!(matches!(ClientInfo::open(&CLIENT, &SHARED, &sealed), Err(LoginError::Sealed(_))));
}
