//! In serde's formats keys are their text forms, and secrets are only read.
#![cfg(feature = "serde")]

use tidewire_keys::{DiscoPublic, NodePublic, NodeSecret, PresharedKey, RelayPublic, Tai64N};

#[test]
fn public_keys_both_ways() {
    let node = NodePublic::from_bytes([0xab; 32]);
    let json = serde_json::to_string(&node).unwrap();
    assert_eq!(json, format!("\"nodekey:{}\"", "ab".repeat(32)));
    assert_eq!(serde_json::from_str::<NodePublic>(&json).unwrap(), node);
    let relay = RelayPublic::from_bytes([0xab; 32]);
    assert_eq!(serde_json::to_string(&relay).unwrap(), format!("\"{}\"", "ab".repeat(32)));
}

#[test]
fn secrets_are_read() {
    let secret = NodeSecret::from_bytes([0x42; 32]);
    let json = format!("{:?}", *secret.to_text());
    assert_eq!(serde_json::from_str::<NodeSecret>(&json).unwrap(), secret);
    let psk = PresharedKey::from_bytes([0x42; 32]);
    let json = format!("{:?}", *psk.to_base64());
    assert_eq!(serde_json::from_str::<PresharedKey>(&json).unwrap(), psk);
}

#[test]
fn stamps_both_ways() {
    let stamp = Tai64N::from_bytes([0x40; 12]);
    let json = serde_json::to_string(&stamp).unwrap();
    assert_eq!(serde_json::from_str::<Tai64N>(&json).unwrap(), stamp);
}

#[test]
fn errors_say_what_was_expected() {
    let error = serde_json::from_str::<DiscoPublic>("\"nodekey:00\"").unwrap_err().to_string();
    assert!(error.starts_with("expected `discokey:` and 64 hex digits, found a public node key"), "{error}");
    let error = serde_json::from_str::<DiscoPublic>("7").unwrap_err().to_string();
    assert!(error.contains("expected `discokey:` and 64 hex digits"), "{error}");
}
