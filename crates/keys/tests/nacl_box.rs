//! What is sealed opens for the other side alone, and only unchanged; the fixed vectors of the field open too.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_keys::{BoxError, DiscoSecret, NodeSecret, RelaySecret, TAG_LEN};

const NONCE: [u8; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];

/// The box of a relay login, node 0x11.. to relay 0x22.., made by three other implementations.
const LOGIN: &str =
    "2e0d7f3843087b4e82cb329eaedb99ecf0451eaf045a9e3556169be5ef00ff156ec803a79b07d4a91ae64b197db2c532";
const LOGIN_JSON: &[u8] = br#"{"version":2,"CanAckPings":true}"#;

/// The box of a disco ping, disco 0x11.. to 0x22.., made by three other implementations.
const PING: &str = "b111b30de4cd6a4f3badd29f717d4fe98a6769c8752df25c3f3ca8ddc82e25ed9910f95552f72357f05de8f4965e39d6e118cfc5bcc059313c2b0869748b";

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_login_vector() {
    let node = NodeSecret::from_bytes([0x11; 32]);
    let relay = RelaySecret::from_bytes([0x22; 32]);
    assert_eq!(node.shared(&relay.public()).seal(&NONCE, LOGIN_JSON), unhex(LOGIN));
    assert_eq!(relay.shared(&node.public()).open(&NONCE, &unhex(LOGIN)).unwrap(), LOGIN_JSON);
}

#[test]
fn the_disco_ping_vector() {
    let (a, b) = (DiscoSecret::from_bytes([0x11; 32]), DiscoSecret::from_bytes([0x22; 32]));
    let mut plain = vec![1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    plain.extend([0x99; 32]);
    assert_eq!(a.shared(&b.public()).seal(&NONCE, &plain), unhex(PING));
    assert_eq!(b.shared(&a.public()).open(&NONCE, &unhex(PING)).unwrap(), plain);
}

#[test]
fn too_short_for_a_tag() {
    let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
    for len in 0..TAG_LEN {
        assert_eq!(shared.open(&NONCE, &vec![0; len]), Err(BoxError::Short));
        assert_eq!(shared.open_in_place(&NONCE, &mut vec![0; len]), Err(BoxError::Short));
    }
    assert_eq!(shared.open(&NONCE, &[0; TAG_LEN]), Err(BoxError::Forged));
    assert_eq!(shared.open(&NONCE, &shared.seal(&NONCE, b"")).unwrap(), b"");
}

#[test]
fn sealing_appends() {
    let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
    let mut out = b"before".to_vec();
    shared.seal_into(&NONCE, b"plain", &mut out);
    assert_eq!(out, [&b"before"[..], &shared.seal(&NONCE, b"plain")].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn opens_in_place(plain: Vec<u8>) {
        let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
        let mut sealed = shared.seal(&NONCE, &plain);
        prop_assert_eq!(shared.open_in_place(&NONCE, &mut sealed).unwrap(), &plain[..]);
        prop_assert_eq!(&sealed[TAG_LEN..], &plain[..]);
    }

    #[test]
    fn a_changed_bit_is_found_and_nothing_is_touched(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
        let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
        let mut sealed = shared.seal(&NONCE, &plain);
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        let before = sealed.clone();
        prop_assert_eq!(shared.open_in_place(&NONCE, &mut sealed), Err(BoxError::Forged));
        prop_assert_eq!(sealed, before);
    }

    #[test]
    fn another_nonce_does_not_open(plain: Vec<u8>, nonce: [u8; 24]) {
        prop_assume!(nonce != NONCE);
        let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
        prop_assert_eq!(shared.open(&nonce, &shared.seal(&NONCE, &plain)), Err(BoxError::Forged));
    }

    #[test]
    fn arbitrary_bytes_do_not_open(nonce: [u8; 24], boxed: Vec<u8>) {
        let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
        prop_assert!(shared.open(&nonce, &boxed).is_err());
    }
}
