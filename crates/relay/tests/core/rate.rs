//! A client that sends faster than it may is read from more slowly.

use tidewire_relay::core::{Event, Limits, RateLimit, Why};

use crate::rig::{Rig, ms, send_packet};

fn rig() -> Rig {
    let rate = Some(RateLimit { bytes_per_second: 100_000, burst: 50_000 });
    Rig::with_limits(Limits { rate, ..Limits::default() })
}

#[test]
fn within_its_burst_it_is_read_from() {
    let mut rig = rig();
    let (a, b) = (rig.login(1), rig.login(2));
    for _ in 0..30 {
        rig.send(a, b.key, &[0; 1400]);
        assert!(rig.core.is_readable(a.id));
    }
    assert_eq!(rig.packets(b).len(), 30);
}

#[test]
fn beyond_it_waits_and_nothing_is_lost() {
    let mut rig = rig();
    let (a, b) = (rig.login(1), rig.login(2));
    let packet = send_packet(b.key, &[0; 10_000 - 37]);
    for _ in 0..15 {
        rig.bytes(a.id, &packet);
    }
    assert!(!rig.core.is_readable(a.id), "150 kB of 50 kB");
    assert!(rig.core.is_readable(b.id), "another client is not slowed down");
    assert_eq!(rig.packets(b).len(), 15, "what was read is passed on");
    let (resumes, why) = rig.core.next_event().unwrap();
    assert_eq!((why, (resumes - rig.now).as_millis()), (Why::Resume, 1001), "100 kB of debt, and its login");
    rig.wait(ms(1001));
    assert!(!rig.core.is_readable(a.id));
    rig.wait(ms(1));
    assert!(rig.core.is_readable(a.id));
    let resumed = std::iter::from_fn(|| rig.core.poll_event()).any(|event| event == Event::Resume(a.id));
    assert!(resumed);
}

#[test]
fn every_type_of_frame_counts() {
    let mut rig = rig();
    let a = rig.login(1);
    let mut unknown = vec![0x55, 0, 1, 0, 0];
    unknown.resize(5 + 65_536, 0);
    rig.bytes(a.id, &unknown);
    assert!(!rig.core.is_readable(a.id));
}

/// A read takes what there is left, so that the debt, and the wait after it, are those of a few kilobytes.
#[test]
fn it_is_read_only_as_far_as_its_bucket_goes() {
    let mut rig = rig();
    let (a, b) = (rig.login(1), rig.login(2));
    let mut rest = &send_packet(b.key, &[0; 65_536]).repeat(3)[..];
    let (mut longest, mut arrived) = (ms(0), 0);
    while !rest.is_empty() {
        while !rig.core.is_readable(a.id) {
            assert_eq!(rig.core.allowance(a.id), 0);
            let (resumes, _) = rig.core.next_event().unwrap();
            longest = longest.max(resumes - rig.now);
            rig.wait(resumes - rig.now);
        }
        let (piece, further) = rest.split_at(rig.core.allowance(a.id).min(rest.len()));
        rig.bytes(a.id, piece);
        rest = further;
        arrived += rig.packets(b).len();
    }
    assert!(longest > ms(10) && longest <= ms(42), "{longest:?}");
    assert_eq!(arrived, 3);
    let mut free = Rig::new();
    let client = free.login(1);
    assert_eq!(free.core.allowance(client.id), usize::MAX);
}

#[test]
fn a_rate_that_is_too_little_to_stay_is_raised() {
    let rate = Some(RateLimit { bytes_per_second: 1, burst: 0 });
    let mut rig = Rig::with_limits(Limits { rate, ..Limits::default() });
    let a = rig.login(1);
    rig.bytes(a.id, &[0; 0]);
    let (resumes, why) = rig.core.next_event().unwrap();
    assert_eq!(why, Why::Resume);
    assert!(resumes - rig.now < ms(1000), "a login is less than {} bytes", RateLimit::LEAST);
}
