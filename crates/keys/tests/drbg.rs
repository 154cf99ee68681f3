//! The generator gives the same bytes for the same seed everywhere, however they are asked for.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_keys::{Drbg, Seed};

fn drbg(seed: u8, label: &str) -> Drbg {
    Drbg::new(&Seed::new([seed; 32]), label)
}

/// Computed with an implementation of ChaCha20 and BLAKE2s that shares nothing with this one.
#[test]
fn known_bytes() {
    let mut drbg = drbg(7, "path");
    assert_eq!(u128::from_be_bytes(drbg.array()), 0x28f8_f60f_8240_913d_8dd4_1ef8_5940_2a97);
    let _ = drbg.array::<456>();
    assert_eq!(
        u128::from_be_bytes(drbg.array()),
        0x8f0c_6bda_95fa_85f4_e6fb_6bcf_a19f_be6c,
        "across a refill"
    );
    drbg.reseed(&Seed::new([8; 32]));
    assert_eq!(u128::from_be_bytes(drbg.array()), 0xc594_5a4c_3bfe_5431_9670_531d_bea1_a695, "reseeded");
}

#[test]
fn each_label_and_seed_has_its_own_stream() {
    let first = |mut drbg: Drbg| drbg.array::<32>();
    let streams = [drbg(1, "path"), drbg(1, "tunnel"), drbg(1, ""), drbg(2, "path")].map(first);
    for (at, stream) in streams.iter().enumerate() {
        assert!(!streams[..at].contains(stream));
    }
    assert_eq!(first(drbg(1, "path")), streams[0]);
}

#[test]
fn a_child_seed_is_its_own_stream() {
    let mut parent = drbg(1, "node");
    let (a, b) = (parent.seed(), parent.seed());
    let mut same = drbg(1, "node");
    assert_eq!(Drbg::new(&a, "x").next_u64(), Drbg::new(&same.seed(), "x").next_u64());
    assert_ne!(Drbg::new(&a, "x").next_u64(), Drbg::new(&b, "x").next_u64());
}

#[test]
fn reseeding_depends_on_both_the_state_and_the_seed() {
    let after = |state: u8, seed: u8| {
        let mut drbg = drbg(state, "x");
        drbg.reseed(&Seed::new([seed; 32]));
        drbg.next_u64()
    };
    let all = [after(1, 1), after(1, 2), after(2, 1), after(2, 2)];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one));
    }
}

#[test]
fn a_seed_can_be_filled_where_it_stays() {
    let seed = Seed::try_fill(|bytes| {
        bytes.fill(7);
        Ok::<_, ()>(())
    });
    assert_eq!(Drbg::new(&seed.unwrap(), "path").next_u64(), drbg(7, "path").next_u64());
    assert_eq!(Seed::try_fill(|_| Err("no randomness")).unwrap_err(), "no randomness");
}

#[test]
fn below_takes_every_value_equally_often() {
    let mut drbg = drbg(1, "dice");
    let mut counts = [0_u32; 6];
    for _ in 0..60_000 {
        counts[drbg.below(6) as usize] += 1;
    }
    // 10,000 each, standard deviation 91; the seed is fixed, so this holds always or never.
    assert!(counts.iter().all(|count| count.abs_diff(10_000) < 400), "{counts:?}");
}

#[test]
fn below_at_its_ends() {
    let mut drbg = drbg(1, "ends");
    for _ in 0..64 {
        assert_eq!(drbg.below(0), 0);
        assert_eq!(drbg.below(1), 0);
        assert!(drbg.below(2) < 2);
        assert!(drbg.below(u64::MAX) < u64::MAX);
        assert!(drbg.below((1 << 63) + 1) <= 1 << 63);
    }
}

#[test]
fn numbers_are_little_endian_bytes_of_the_stream() {
    let (mut a, mut b) = (drbg(1, "x"), drbg(1, "x"));
    assert_eq!(a.next_u32(), u32::from_le_bytes(b.array()));
    assert_eq!(a.next_u64(), u64::from_le_bytes(b.array()));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn the_pieces_do_not_matter(pieces in prop::collection::vec(0..1200_usize, 0..8)) {
        let mut whole = vec![0; pieces.iter().sum()];
        drbg(3, "pieces").fill(&mut whole);
        let mut joined = Vec::new();
        let mut drbg = drbg(3, "pieces");
        for piece in pieces {
            let start = joined.len();
            joined.resize(start + piece, 0);
            drbg.fill(&mut joined[start..]);
        }
        prop_assert_eq!(joined, whole);
    }

    #[test]
    fn below_is_below(bound in 1..=u64::MAX, seed: u8) {
        prop_assert!(drbg(seed, "bound").below(bound) < bound);
    }
}
