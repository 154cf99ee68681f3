//! A request is what Tailscale's relays want, and ours answer what theirs would, in the same cases.

use stun::{REQUEST_LEN, RequestError, TxId, parse_request, request};
use tidewire_stun as stun;

const TX: TxId = TxId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

/// Confirmed by Tailscale's own package.
const VECTOR: [u8; REQUEST_LEN] = [
    0x00, 0x01, 0x00, 0x14, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80, 0x22, 0x00,
    0x08, b't', b'a', b'i', b'l', b'n', b'o', b'd', b'e', 0x80, 0x28, 0x00, 0x04, 0xb3, 0x2c, 0x37, 0x0f,
];

/// CRC-32 bit by bit, XORed as STUN wants it.
fn fingerprint(bytes: &[u8]) -> [u8; 4] {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    (!crc ^ 0x5354_554e).to_be_bytes()
}

/// A request with these attributes before its fingerprint, announced with the right length.
fn with(attributes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(attributes.len() + 8).unwrap().to_be_bytes();
    let before = [&[0, 1][..], &len, &VECTOR[4..20], attributes].concat();
    let print = fingerprint(&before);
    [&before[..], &[0x80, 0x28, 0, 4], &print].concat()
}

#[test]
fn the_vector() {
    assert_eq!(request(&TX), VECTOR);
    assert_eq!(parse_request(&VECTOR), Ok(TX));
    assert_eq!(with(&VECTOR[20..32]), VECTOR, "the tests compute the fingerprint as the code does");
}

/// The trap: a bare request, which other STUN servers answer.
#[test]
fn a_bare_request_gets_silence() {
    let bare = [&[0, 1, 0, 0][..], &VECTOR[4..20]].concat();
    assert_eq!(parse_request(&bare), Err(RequestError::Software));
}

#[test]
fn other_software_gets_silence() {
    for software in [
        &b"\x80\x22\x00\x08tailnodf"[..],
        b"\x80\x22\x00\x07tailnod\x00",
        b"\x80\x22\x00\x0ctailnode\x00\x00\x00\x00",
        b"\x80\x22\x00\x00",
        b"\x80\x23\x00\x08tailnode",
    ] {
        assert_eq!(parse_request(&with(software)), Err(RequestError::Software));
    }
}

#[test]
fn further_attributes_may_be_there() {
    let priority = [0, 0x24, 0, 4, 1, 2, 3, 4];
    assert_eq!(parse_request(&with(&[&priority, &VECTOR[20..32]].concat())), Ok(TX));
    assert_eq!(parse_request(&with(&[&VECTOR[20..32], &priority].concat())), Ok(TX));
}

#[test]
fn the_fingerprint_must_be_last_and_fit() {
    assert_eq!(parse_request(&VECTOR[..32]), Err(RequestError::NoFingerprint));
    let behind = [&VECTOR[..], &[0, 0x24, 0, 0]].concat();
    assert_eq!(parse_request(&behind), Err(RequestError::NoFingerprint));
    let other_len = [&VECTOR[..35], &[3], &VECTOR[36..]].concat();
    assert_eq!(parse_request(&other_len), Err(RequestError::NoFingerprint), "three bytes are none");
    for at in 36..40 {
        let mut wrong = VECTOR;
        wrong[at] ^= 1;
        assert_eq!(parse_request(&wrong), Err(RequestError::Fingerprint));
    }
}

#[test]
fn the_fingerprint_covers_the_whole_message() {
    for at in (2..4).chain(8..20) {
        let mut wrong = VECTOR;
        wrong[at] ^= 1;
        assert_eq!(parse_request(&wrong), Err(RequestError::Fingerprint), "byte {at}");
    }
}

/// The trap: Tailscale's relays do not trim, unlike its clients.
#[test]
fn one_byte_more_or_less_gets_silence() {
    assert_eq!(parse_request(&[&VECTOR[..], &[0]].concat()), Err(RequestError::Malformed));
    assert_eq!(parse_request(&VECTOR[..39]), Err(RequestError::Malformed));
}

/// As with Tailscale's relays; the fingerprint covers it, so only a sender can have written it.
#[test]
fn the_announced_length_is_not_looked_at() {
    let mut before = VECTOR[..32].to_vec();
    before[2..4].copy_from_slice(&[0xff, 0xff]);
    let print = fingerprint(&before);
    assert_eq!(parse_request(&[&before[..], &[0x80, 0x28, 0, 4], &print].concat()), Ok(TX));
}

#[test]
fn what_is_no_request() {
    for (kind, number) in [([1, 1], 0x0101), ([1, 0x11], 0x0111), ([0, 0x11], 0x0011), ([0, 3], 3)] {
        let mut other = VECTOR;
        other[..2].copy_from_slice(&kind);
        assert_eq!(parse_request(&other), Err(RequestError::NotRequest { kind: number }));
    }
    for len in 0..20 {
        assert_eq!(parse_request(&VECTOR[..len]), Err(RequestError::NotStun));
    }
    let mut cookie = VECTOR;
    cookie[4] ^= 1;
    assert_eq!(parse_request(&cookie), Err(RequestError::NotStun));
}
