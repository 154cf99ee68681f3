//! For any bytes the answer is that of the rules written out one by one, and no two rules apply at once.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_packet_ident::{Kind, Message, identify};

const MAGIC: &[u8] = b"TS\xf0\x9f\x92\xac";

/// RFC 8489 section 6, as far as Tailscale looks.
fn is_stun(b: &[u8]) -> bool {
    b.len() >= 20 && b[0] & 0xc0 == 0 && b[1] == 1 && b[4..8] == [0x21, 0x12, 0xa4, 0x42]
}

fn is_disco(b: &[u8]) -> bool {
    b.len() >= 38 && &b[..6] == MAGIC
}

fn is_wireguard(b: &[u8]) -> Option<Message> {
    if b.len() < 4 || b[1..4] != [0, 0, 0] {
        return None;
    }
    match (b[0], b.len()) {
        (1, 148) => Some(Message::Initiation),
        (2, 92) => Some(Message::Response),
        (3, 64) => Some(Message::Cookie),
        (4, 32..) => Some(Message::Data),
        _ => None,
    }
}

/// RFC 8926 section 3.4 without options; protocol, control bit, VNI.
fn geneve(b: &[u8]) -> Option<(u16, bool, u32)> {
    if b.len() < 8 || b[0] != 0 || b[1] & 0x7f != 0 || b[7] != 0 {
        return None;
    }
    let protocol = u16::from_be_bytes([b[2], b[3]]);
    let vni = u32::from_be_bytes([b[4], b[5], b[6], b[7]]) >> 8;
    matches!(protocol, 0x7a11 | 0x7a12).then_some((protocol, b[1] == 0x80, vni))
}

fn model(b: &[u8]) -> Option<Kind> {
    match geneve(b) {
        Some((0x7a11, _, _)) => is_disco(&b[8..]).then_some(Kind::Disco),
        Some((_, control, _)) => is_wireguard(&b[8..]).filter(|_| !control).map(Kind::WireGuard),
        None if is_stun(b) => Some(Kind::Stun),
        None if is_disco(b) => Some(Kind::Disco),
        None => is_wireguard(b).map(Kind::WireGuard),
    }
}

fn check(datagram: &[u8]) -> Result<(), TestCaseError> {
    let ident = identify(datagram);
    let known = if let Kind::Unknown(_) = ident.kind { None } else { Some(ident.kind) };
    prop_assert_eq!(known, model(datagram));
    let header = ident.geneve.map(|header| (header.protocol().number(), header.control(), header.vni()));
    prop_assert_eq!(header, geneve(datagram));
    prop_assert!(datagram.get(ident.payload()).is_some());
    let rules =
        [geneve(datagram).is_some(), is_stun(datagram), is_disco(datagram), is_wireguard(datagram).is_some()];
    prop_assert!(rules.iter().filter(|applies| **applies).count() <= 1, "the rules overlap");
    Ok(())
}

/// The start of something that is, or nearly is, of a known kind.
fn start() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![]),
        Just(MAGIC.to_vec()),
        (0..6_u8).prop_map(|kind| vec![kind, 0, 0, 0]),
        any::<[u8; 2]>().prop_map(|kind| [&kind[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42]].concat()),
        (
            0..3_u8,
            prop::sample::select(vec![0, 0, 0x80, 0x40, 1]),
            0x10..0x14_u8,
            prop::sample::select(vec![0, 0, 7])
        )
            .prop_map(|(version, flags, protocol, last)| vec![version, flags, 0x7a, protocol, 0, 0, 5, last]),
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..200_usize,
        prop::sample::select(vec![12, 24, 28, 32, 56, 60, 64, 84, 88, 92, 140, 144, 148])
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn any_bytes(datagram: Vec<u8>) {
        check(&datagram)?;
    }

    #[test]
    fn bytes_that_start_like_something(outer in start(), inner in start(), fill: u8, len in length()) {
        check(&[outer, inner, vec![fill; len]].concat())?;
    }

    #[test]
    fn one_changed_bit(outer in start(), inner in start(), len in length(), at: prop::sample::Index, bit in 0..8_u8) {
        let mut datagram = [outer, inner, vec![0; len + 1]].concat();
        let at = at.index(datagram.len().min(16));
        datagram[at] ^= 1 << bit;
        check(&datagram)?;
    }
}

#[test]
fn every_pair_of_first_bytes() {
    for first in 0..=255 {
        for second in 0..=255 {
            for tail in [[0, 0, 0x21, 0x12, 0xa4, 0x42], [0x7a, 0x12, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]] {
                let datagram = [&[first, second][..], &tail, &[4, 0, 0, 0], &[0; 136]].concat();
                check(&datagram).unwrap();
            }
        }
    }
}
