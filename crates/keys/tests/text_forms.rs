//! Keys are written as the field writes them, and what is no key is refused with a reason.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_keys::{
    DiscoPublic, DiscoSecret, KeyError, NodePublic, NodeSecret, PresharedKey, RelayPublic, RelaySecret,
};

const HEX: &str = "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";

#[test]
fn public_forms() {
    let node: NodePublic = format!("nodekey:{HEX}").parse().unwrap();
    let disco: DiscoPublic = format!("discokey:{HEX}").parse().unwrap();
    let relay: RelayPublic = HEX.parse().unwrap();
    assert_eq!(node.to_string(), format!("nodekey:{HEX}"));
    assert_eq!(disco.to_string(), format!("discokey:{HEX}"));
    assert_eq!(relay.to_string(), HEX);
    assert_eq!(node.as_bytes(), disco.as_bytes());
    assert_eq!(node.to_base64(), "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=");
    assert_eq!(NodePublic::from_base64("e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM="), Ok(node));
    assert_eq!(format!("nodekey:{}", HEX.to_uppercase()).parse(), Ok(node), "either case is read");
}

#[test]
fn secret_forms() {
    let text = format!("privkey:{}", "50".repeat(31) + "51");
    let secret: NodeSecret = text.parse().unwrap();
    assert_eq!(*secret.to_text(), text);
    assert_eq!(*secret.to_hex(), text["privkey:".len()..]);
    assert_eq!(NodeSecret::from_base64(&secret.to_base64()).unwrap(), secret);
    assert_eq!(NodeSecret::from_hex(&secret.to_hex()).unwrap(), secret);
    assert_eq!(*text.parse::<DiscoSecret>().unwrap().to_text(), text);
    assert_eq!(*text.parse::<RelaySecret>().unwrap().to_text(), text);
}

#[test]
fn what_debug_shows() {
    let node: NodePublic = format!("nodekey:{HEX}").parse().unwrap();
    assert_eq!(format!("{node:?}"), "nodekey:7b4e909b…");
    assert_eq!(format!("{:?}", DiscoPublic::from(node.to_bytes())), "discokey:7b4e909b…");
    assert_eq!(format!("{:?}", RelayPublic::from(node.to_bytes())), "relaykey:7b4e909b…");
    assert_eq!(format!("{:?}", NodeSecret::from_bytes([0xab; 32])), "nodekey:secret(redacted)");
    assert_eq!(format!("{:?}", PresharedKey::from_bytes([0xab; 32])), "PresharedKey(redacted)");
}

#[test]
fn zero_is_a_public_key_but_no_secret() {
    let zeros = "0".repeat(64);
    assert!(format!("nodekey:{zeros}").parse::<NodePublic>().unwrap().is_zero());
    assert!(!NodePublic::from_bytes([1; 32]).is_zero());
    assert_eq!(format!("privkey:{zeros}").parse::<NodeSecret>(), Err(KeyError::Zero));
    assert_eq!(NodeSecret::from_hex(&zeros), Err(KeyError::Zero));
    assert_eq!(NodeSecret::from_base64(&format!("{}=", "A".repeat(43))), Err(KeyError::Zero));
    assert!(PresharedKey::from_hex(&zeros).unwrap().is_zero(), "WireGuard writes no pre-shared key so");
}

#[test]
fn the_message_says_what_was_expected() {
    for (text, message) in [
        ("", "expected `nodekey:` and 64 hex digits, but it does not start with `nodekey:`"),
        ("privkey:1234", "expected `nodekey:` and 64 hex digits, found a secret key (`privkey:`)"),
        ("discokey:12", "expected `nodekey:` and 64 hex digits, found a public disco key (`discokey:`)"),
        (
            "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=",
            "expected `nodekey:` and 64 hex digits, found a key in WireGuard's base64",
        ),
        ("nodekey:12", "expected `nodekey:` and 64 hex digits, found 2 characters instead of 64"),
    ] {
        assert_eq!(text.parse::<NodePublic>().unwrap_err().to_string(), message);
    }
    let wrong = format!("nodekey:{}g{}", &HEX[..5], &HEX[6..]);
    assert_eq!(
        wrong.parse::<NodePublic>().unwrap_err().to_string(),
        "expected `nodekey:` and 64 hex digits, but character 6 of its digits is none"
    );
    assert_eq!(
        format!("nodekey:{HEX}").parse::<RelayPublic>().unwrap_err().to_string(),
        "expected 64 hex digits, found a public node key (`nodekey:`)"
    );
    assert_eq!(
        format!("nodekey:{HEX}").parse::<PresharedKey>().unwrap_err().to_string(),
        "expected WireGuard's base64 (44 characters), found a public node key (`nodekey:`)"
    );
}

#[test]
fn base64_is_the_one_form_that_wireguard_writes() {
    let expected = "WireGuard's base64 (44 characters)";
    let good = "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=";
    for (wrong, at) in [
        ("e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxN=", 43), // bits beyond the key
        ("e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxMA", 44), // no padding
        ("e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3Px==", 43), // too much padding
        ("=06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=", 1),
        ("e06Qm75__kTEZaIgA31gjuNYl9Me-XLwf3SJLLD3PxM=", 8), // the alphabet for URLs
    ] {
        assert_eq!(NodePublic::from_base64(wrong), Err(KeyError::Digit { expected, at }), "{wrong}");
    }
    let found = good.len() + 1;
    let too_long = KeyError::Length { expected, wanted: 44, found };
    assert_eq!(NodePublic::from_base64(&format!("{good}\n")), Err(too_long));
}

#[test]
fn every_character_that_is_no_digit_is_refused() {
    for code in 0..=127_u8 {
        let character = char::from(code);
        let hex = format!("{}{character}", &HEX[1..]);
        assert_eq!(NodePublic::from_hex(&hex).is_ok(), character.is_ascii_hexdigit(), "{character:?}");
        let base64 = format!("{character}06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM=");
        let digit = character.is_ascii_alphanumeric() || matches!(character, '+' | '/');
        assert_eq!(NodePublic::from_base64(&base64).is_ok(), digit, "{character:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn public_keys_come_back(bytes: [u8; 32]) {
        let key = NodePublic::from_bytes(bytes);
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        prop_assert_eq!(NodePublic::from_hex(&key.to_hex()), Ok(key));
        prop_assert_eq!(NodePublic::from_base64(&key.to_base64()), Ok(key));
        prop_assert_eq!(key.to_base64(), STANDARD.encode(bytes));
    }

    #[test]
    fn preshared_keys_come_back(bytes: [u8; 32]) {
        let key = PresharedKey::from_bytes(bytes);
        prop_assert_eq!(key.expose(), &bytes, "not clamped");
        prop_assert_eq!(&key.to_base64().parse::<PresharedKey>().unwrap(), &key);
        prop_assert_eq!(PresharedKey::from_hex(&key.to_hex()).unwrap(), key);
    }

    #[test]
    fn base64_is_read_as_others_read_it(text in "[A-Za-z0-9+/]{42}[A-Za-z0-9+/=]{2}") {
        let theirs = STANDARD.decode(&text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        prop_assert_eq!(NodePublic::from_base64(&text).ok().map(NodePublic::to_bytes), theirs);
    }

    #[test]
    fn any_text_is_a_key_or_an_error(text in ".{0,100}") {
        prop_assert!(text.parse::<NodePublic>().is_err());
        prop_assert!(text.parse::<DiscoSecret>().is_err());
        let _ = text.parse::<RelayPublic>();
        let _ = text.parse::<PresharedKey>();
    }

    /// The text may be a secret with a typing error.
    #[test]
    fn no_error_repeats_the_text(digits in "[0-9a-f]{40,63}") {
        let error = format!("privkey:{digits}").parse::<NodeSecret>().unwrap_err();
        let shown = format!("{error} {error:?}");
        prop_assert!(!shown.contains(&digits[..8]));
    }
}
