//! How 32 bytes become text and back: hex and base64, without a branch or a table that depends on the key.

use alloc::string::String;

use zeroize::Zeroizing;

/// Why a text is not the key that was wanted. The configuration is to blame; the text itself is never
/// repeated, for it may be a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// A key, but of another kind, told by its prefix or by being WireGuard's base64.
    #[error("expected {expected}, found {found}")]
    OtherKind {
        /// The form that was wanted.
        expected: &'static str,
        /// What was found instead.
        found: &'static str,
    },
    /// The prefix is missing.
    #[error("expected {expected}, but it does not start with `{prefix}`")]
    Prefix {
        /// The form that was wanted.
        expected: &'static str,
        /// What should have stood at the start.
        prefix: &'static str,
    },
    /// Too many or too few digits.
    #[error("expected {expected}, found {found} characters instead of {wanted}")]
    Length {
        /// The form that was wanted.
        expected: &'static str,
        /// How many digits it has.
        wanted: usize,
        /// How many bytes of text were found in their place.
        found: usize,
    },
    /// A character that is no digit of that form.
    #[error("expected {expected}, but character {at} of its digits is none")]
    Digit {
        /// The form that was wanted.
        expected: &'static str,
        /// Which one, counted from 1 after the prefix.
        at: usize,
    },
    /// A secret key of nothing but zeros, which is a placeholder and no secret.
    #[error("expected a secret key, found nothing but zeros")]
    Zero,
}

/// What the text form of each secret key starts with.
pub(crate) const SECRET_PREFIX: &str = "privkey:";
pub(crate) const SECRET_FORM: &str = "`privkey:` and 64 hex digits";

const BASE64_FORM: &str = "WireGuard's base64 (44 characters)";
const HEX_LEN: usize = 64;
const BASE64_LEN: usize = 44;

/// What `parse_*` can recognise of the field's other keys, to say more than "wrong".
const KNOWN: [(&str, &str); 4] = [
    ("nodekey:", "a public node key (`nodekey:`)"),
    ("discokey:", "a public disco key (`discokey:`)"),
    (SECRET_PREFIX, "a secret key (`privkey:`)"),
    ("mkey:", "a machine key (`mkey:`)"),
];

pub(crate) fn parse_prefixed(
    text: &str,
    prefix: &'static str,
    expected: &'static str,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    match text.strip_prefix(prefix) {
        Some(digits) => parse_hex(digits, expected),
        None => Err(other_kind(text, expected).unwrap_or(KeyError::Prefix { expected, prefix })),
    }
}

pub(crate) fn parse_hex(digits: &str, expected: &'static str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let Ok(digits) = <&[u8; HEX_LEN]>::try_from(digits.as_bytes()) else {
        let length = KeyError::Length { expected, wanted: HEX_LEN, found: digits.len() };
        return Err(other_kind(digits, expected).unwrap_or(length));
    };
    let mut bytes = Zeroizing::new([0; 32]);
    let mut valid = -1;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let (value, known) = hex_value(digit);
            *byte = *byte << 4 | value;
            valid &= known;
        }
    }
    if valid == -1 { Ok(bytes) } else { Err(bad_digit(digits, hex_value, expected)) }
}

pub(crate) fn parse_base64(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let expected = BASE64_FORM;
    let Ok(digits) = <&[u8; BASE64_LEN]>::try_from(text.as_bytes()) else {
        let length = KeyError::Length { expected, wanted: BASE64_LEN, found: text.len() };
        return Err(other_kind(text, expected).unwrap_or(length));
    };
    let [body @ .., end] = digits;
    let mut bytes = Zeroizing::new([0; 33]);
    let mut valid = -1;
    for (triple, four) in bytes.chunks_exact_mut(3).zip(body.chunks(4)) {
        let mut group = 0_u32;
        for &digit in four {
            let (value, known) = base64_value(digit);
            group = group << 6 | u32::from(value);
            valid &= known;
        }
        group <<= 6 * (4 - four.len());
        triple.copy_from_slice(&group.to_be_bytes()[1..]);
    }
    if valid != -1 {
        return Err(bad_digit(body, base64_value, expected));
    }
    // The key ends two bits before the last digit does; they are zero, and one padding character follows.
    if bytes[32] != 0 || *end != b'=' {
        return Err(KeyError::Digit { expected, at: if *end == b'=' { BASE64_LEN - 1 } else { BASE64_LEN } });
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&bytes[..32]);
    Ok(key)
}

pub(crate) fn hex(bytes: &[u8; 32]) -> Zeroizing<[u8; HEX_LEN]> {
    let mut digits = Zeroizing::new([0; HEX_LEN]);
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    digits
}

pub(crate) fn base64(bytes: &[u8; 32]) -> Zeroizing<[u8; BASE64_LEN]> {
    let mut digits = Zeroizing::new([b'='; BASE64_LEN]);
    for (four, triple) in digits.chunks_exact_mut(4).zip(bytes.chunks(3)) {
        let mut group = [0; 4];
        group[1..=triple.len()].copy_from_slice(triple);
        let group = u32::from_be_bytes(group);
        for (at, digit) in four.iter_mut().enumerate().take(triple.len() + 1) {
            *digit = base64_digit((group >> (18 - 6 * at) & 63) as u8);
        }
    }
    digits
}

/// Digits (ASCII) behind a prefix, allocated once at full length so that no copy is left behind by growing.
pub(crate) fn secret_string(prefix: &str, digits: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + digits.len()));
    text.push_str(prefix);
    text.extend(digits.iter().map(|&digit| char::from(digit)));
    text
}

fn other_kind(text: &str, expected: &'static str) -> Option<KeyError> {
    let known = KNOWN.iter().find(|(prefix, _)| text.starts_with(prefix)).map(|&(_, found)| found);
    let base64 = text.len() == BASE64_LEN && text.ends_with('=');
    let found = known.or(base64.then_some("a key in WireGuard's base64"))?;
    Some(KeyError::OtherKind { expected, found })
}

/// Names the first character that is no digit, of which there is one.
fn bad_digit(digits: &[u8], value: fn(u8) -> (u8, i32), expected: &'static str) -> KeyError {
    let at = digits.iter().take_while(|&&digit| value(digit).1 == -1).count() + 1;
    KeyError::Digit { expected, at }
}

/// The value of a hex digit, and -1 if it is one, else 0.
fn hex_value(digit: u8) -> (u8, i32) {
    let c = i32::from(digit);
    let decimal = between(c, b'0', b'9');
    let upper = between(c, b'A', b'F');
    let lower = between(c, b'a', b'f');
    let value = (decimal & (c - 48)) | (upper & (c - 55)) | (lower & (c - 87));
    (value as u8, decimal | upper | lower)
}

fn hex_digit(value: u8) -> u8 {
    let v = i32::from(value);
    (v + 87 - ((v - 10) >> 31 & 39)) as u8
}

/// The value of a base64 digit, and -1 if it is one, else 0.
fn base64_value(digit: u8) -> (u8, i32) {
    let c = i32::from(digit);
    let upper = between(c, b'A', b'Z');
    let lower = between(c, b'a', b'z');
    let decimal = between(c, b'0', b'9');
    let plus = between(c, b'+', b'+');
    let slash = between(c, b'/', b'/');
    let value = (upper & (c - 65)) | (lower & (c - 71)) | (decimal & (c + 4)) | (plus & 62) | (slash & 63);
    (value as u8, upper | lower | decimal | plus | slash)
}

fn base64_digit(value: u8) -> u8 {
    let v = i32::from(value);
    let mut c = v + 65;
    c += (25 - v) >> 31 & 6;
    c -= (51 - v) >> 31 & 75;
    c -= (61 - v) >> 31 & 15;
    c += (62 - v) >> 31 & 3;
    c as u8
}

/// -1 if `low <= c <= high`, else 0.
fn between(c: i32, low: u8, high: u8) -> i32 {
    !(((c - i32::from(low)) | (i32::from(high) - c)) >> 31)
}
