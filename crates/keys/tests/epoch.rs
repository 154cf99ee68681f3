//! Handshake stamps only ever grow, whatever the clock, the floor and the file that it was kept in do.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_keys::{Epoch, StampError, Tai64N};

const STEP: u32 = 1 << 24;
/// 14 November 2023.
const UNIX: Duration = Duration::from_secs(1_700_000_000);

fn label(secs: u64, nanos: u32) -> Tai64N {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&secs.to_be_bytes());
    bytes[8..].copy_from_slice(&nanos.to_be_bytes());
    Tai64N::from_bytes(bytes)
}

#[test]
fn counts_from_2_to_the_62_and_37_seconds() {
    assert_eq!(Epoch::new(UNIX).stamp(Duration::ZERO), label(0x4000_0000_6553_f125, 0));
    assert_eq!(label(0x4000_0000_6553_f125, 5).to_unix(), Some(UNIX + Duration::from_nanos(5)));
    assert_eq!(label(0x4000_0000_0000_0024, 0).to_unix(), None, "before 1970");
    assert_eq!(label(0x4000_0000_6553_f125, 1_000_000_000).to_unix(), None, "no nanoseconds");
}

/// The trap: an implementation that counts from 2^62 + 10 may have used the key before; its last stamp must
/// not be newer than ours.
#[test]
fn never_older_than_what_the_other_base_leaves_behind() {
    let theirs = label((1 << 62) + 10 + UNIX.as_secs(), 999_999_999);
    assert!(Epoch::new(UNIX).stamp(Duration::ZERO) > theirs);
}

#[test]
fn nanoseconds_are_whitened() {
    let mut epoch = Epoch::new(UNIX);
    let stamp = epoch.stamp(Duration::from_nanos(3 * u64::from(STEP) + 12_345));
    assert_eq!(stamp, label(0x4000_0000_6553_f125, 3 * STEP));
}

#[test]
fn grows_by_a_step_where_time_stands_still_or_goes_back() {
    let mut epoch = Epoch::new(UNIX);
    let later = epoch.stamp(Duration::from_secs(5));
    assert_eq!(later, label(0x4000_0000_6553_f12a, 0));
    assert_eq!(epoch.stamp(Duration::from_secs(5)), label(0x4000_0000_6553_f12a, STEP));
    assert_eq!(epoch.stamp(Duration::ZERO), label(0x4000_0000_6553_f12a, 2 * STEP));
    assert_eq!(epoch.last(), Some(label(0x4000_0000_6553_f12a, 2 * STEP)));
}

#[test]
fn a_step_carries_into_the_next_second() {
    let mut epoch = Epoch::new(UNIX).with_floor(label(0x4000_0000_6553_f125, 59 * STEP));
    assert_eq!(epoch.stamp(Duration::ZERO), label(0x4000_0000_6553_f126, 0));
}

#[test]
fn a_floor_in_the_future_is_passed_in_steps_until_the_clock_is_there() {
    let floor = label(0x4000_0000_6553_f130, 7);
    let mut epoch = Epoch::new(UNIX).with_floor(floor);
    assert_eq!(epoch.stamp(Duration::ZERO), label(0x4000_0000_6553_f130, STEP));
    assert_eq!(epoch.stamp(Duration::from_secs(1)), label(0x4000_0000_6553_f130, 2 * STEP));
    assert_eq!(epoch.stamp(Duration::from_secs(60)), label(0x4000_0000_6553_f161, 0));
}

#[test]
fn a_clock_that_is_set_forward_is_followed_and_one_that_is_set_back_is_not() {
    let mut epoch = Epoch::new(Duration::from_secs(100));
    let _ = epoch.stamp(Duration::from_secs(4));
    epoch.raise(UNIX + Duration::from_secs(10), Duration::from_secs(10));
    assert_eq!(epoch.last(), Some(Tai64N::from_unix(Duration::from_secs(104))), "looking makes no stamp");
    assert_eq!(epoch.stamp(Duration::from_secs(11)), Tai64N::from_unix(UNIX + Duration::from_secs(11)));
    for unix in [Duration::ZERO, Duration::from_secs(7), UNIX, UNIX + Duration::from_secs(11)] {
        epoch.raise(unix, Duration::from_secs(12));
        assert_eq!(epoch.last(), Some(Tai64N::from_unix(UNIX + Duration::from_secs(11))));
    }
    assert_eq!(epoch.stamp(Duration::from_secs(13)), Tai64N::from_unix(UNIX + Duration::from_secs(13)));
    epoch.raise(Duration::MAX, Duration::ZERO);
    assert!(epoch.stamp(Duration::from_secs(14)) > Tai64N::from_unix(UNIX * 1_000_000));
}

#[test]
fn the_higher_of_two_floors_holds() {
    let (low, high) = (label(1 << 62, 0), label((1 << 62) + 1, 0));
    assert_eq!(Epoch::new(UNIX).with_floor(high).with_floor(low).last(), Some(high));
}

#[test]
fn a_broken_floor_stops_at_the_last_label_and_does_not_wrap() {
    let mut epoch = Epoch::new(UNIX).with_floor(Tai64N::MAX);
    assert_eq!(epoch.stamp(Duration::MAX), Tai64N::MAX);
    let mut epoch = Epoch::new(Duration::MAX);
    let first = epoch.stamp(Duration::MAX);
    assert!(epoch.stamp(Duration::ZERO) > first);
    assert_eq!(label(u64::MAX, 0).round_up(Duration::from_secs(u64::MAX - 1)), Tai64N::MAX);
}

#[test]
fn text_form() {
    let stamp = label(0x4000_0000_6553_f125, STEP);
    assert_eq!(stamp.to_string(), "@400000006553f12501000000");
    assert_eq!("@400000006553F12501000000".parse(), Ok(stamp));
    for wrong in
        ["", "@", "400000006553f12501000000", "@400000006553f1250100000", "@+00000006553f12501000000"]
    {
        assert_eq!(wrong.parse::<Tai64N>(), Err(StampError), "{wrong}");
    }
    assert_eq!("@40000000655€f125010000".parse::<Tai64N>(), Err(StampError), "24 bytes, not all ASCII");
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn stamps_grow_strictly_whatever_the_clock_does(
        unix in 0..u64::MAX / 4,
        floor in prop::option::of(prop::array::uniform12(any::<u8>())),
        times in prop::collection::vec(0..100_000_000_000_u64, 1..50),
        looks in prop::collection::vec(0..u64::MAX / 4, 0..50),
    ) {
        let floor = floor.map(Tai64N::from_bytes).filter(|floor| *floor < label(u64::MAX, 0));
        let mut epoch = Epoch::new(Duration::from_secs(unix));
        if let Some(floor) = floor {
            epoch = epoch.with_floor(floor);
        }
        let mut last = floor;
        let mut looks = looks.into_iter();
        for time in times {
            if let Some(unix) = looks.next() {
                epoch.raise(Duration::from_secs(unix), Duration::from_nanos(time));
            }
            let stamp = epoch.stamp(Duration::from_nanos(time));
            prop_assert!(Some(stamp) > last);
            prop_assert!(stamp.to_bytes()[8..] < 1_000_000_000_u32.to_be_bytes()[..], "nanoseconds of a second");
            prop_assert_eq!(&stamp.to_bytes()[9..], [0; 3], "whitened");
            last = Some(stamp);
        }
    }

    #[test]
    fn rounding_up_is_bounded_by_the_step(unix in 0..u64::MAX / 4, nanos in 0..1_000_000_000_u32, step in 1..10_000_000_000_000_u64) {
        let (time, step) = (Duration::new(unix, nanos), Duration::from_nanos(step));
        let stamp = Tai64N::from_unix(time);
        let kept = stamp.round_up(step);
        prop_assert!(kept >= stamp);
        prop_assert!(kept.to_unix().unwrap() - time < step);
        prop_assert_eq!(kept.round_up(step), kept, "what is kept stays as it is");
    }

    #[test]
    fn rounding_up_any_bytes_is_never_earlier(bytes: [u8; 12], step: u64) {
        let stamp = Tai64N::from_bytes(bytes);
        prop_assert!(stamp.round_up(Duration::from_nanos(step)) >= stamp);
    }

    #[test]
    fn text_and_bytes_come_back(bytes: [u8; 12]) {
        let stamp = Tai64N::from_bytes(bytes);
        prop_assert_eq!(stamp.to_bytes(), bytes);
        prop_assert_eq!(stamp.to_string().parse(), Ok(stamp));
    }

    #[test]
    fn wall_times_come_back(secs in 0..u64::MAX / 4, nanos in 0..1_000_000_000_u32) {
        let time = Duration::new(secs, nanos);
        prop_assert_eq!(Tai64N::from_unix(time).to_unix(), Some(time));
    }
}
