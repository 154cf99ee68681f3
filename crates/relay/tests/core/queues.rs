//! Queues are bounded in memory and by age, and the oldest goes first.

use tidewire_relay::core::{Discard, Limits};

use crate::rig::{Got, Rig, disco, ms};

const KIB: usize = 1024;

fn small() -> Limits {
    Limits { data_queue_bytes: 64 * KIB, disco_queue_bytes: 32 * KIB, ..Limits::default() }
}

#[test]
fn a_window_of_256_packets_is_not_lost() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    for number in 0..256_u32 {
        rig.send(a, b.key, &[number as u8; 1400]);
    }
    assert_eq!(rig.packets(b).len(), 256);
}

#[test]
fn a_full_queue_drops_its_oldest_and_counts_them() {
    let mut rig = Rig::with_limits(small());
    let (a, b) = (rig.login(1), rig.login(2));
    for number in 0..1000_u32 {
        rig.send(a, b.key, &[number.to_be_bytes().as_slice(), &[0; 996]].concat());
        assert!(rig.core.stats().queued_bytes as usize <= 64 * KIB);
    }
    let left = rig.packets(b);
    let numbers: Vec<u32> =
        left.iter().map(|packet| u32::from_be_bytes(*packet.first_chunk().unwrap())).collect();
    let dropped = rig.core.stats().discarded(Discard::QueueFull);
    assert_eq!(numbers, (dropped as u32..1000).collect::<Vec<_>>());
    assert!(numbers.len() > 45, "{}", numbers.len());
}

#[test]
fn a_flood_of_data_does_not_cost_one_disco_message() {
    let mut rig = Rig::with_limits(small());
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, &disco(7));
    for _ in 0..1000 {
        rig.send(a, b.key, &[0; 1400]);
    }
    assert_eq!(rig.packets(b)[0], disco(7));
}

#[test]
fn what_waited_too_long_is_dropped_and_counted() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    rig.send(a, b.key, b"old");
    rig.send(a, b.key, &disco(1));
    rig.wait(ms(900));
    rig.send(a, b.key, b"young");
    rig.wait(ms(200));
    assert_eq!(rig.packets(b), [disco(1), b"young".to_vec()]);
    assert_eq!(rig.core.stats().discarded(Discard::Aged), 1);
    rig.send(a, b.key, &disco(2));
    rig.wait(ms(5000));
    assert_eq!(rig.packets(b), Vec::<Vec<u8>>::new(), "disco grows old too");
}

/// The sum of all queues is bounded, and a client beyond it still gets what is passed on within a turn.
#[test]
fn all_queues_together_are_bounded() {
    let limits = Limits { queues_bytes: 256 * KIB, ..Limits::default() };
    let mut rig = Rig::with_limits(limits);
    let sender = rig.login(1);
    let others: Vec<_> = (2..32).map(|byte| rig.login(byte)).collect();
    for other in &others {
        for _ in 0..500 {
            rig.send(sender, other.key, &[0; 1400]);
        }
    }
    let most = 256 * KIB + others.len() * 32 * KIB + 16 * KIB;
    let queued = rig.core.stats().queued_bytes as usize;
    assert!((256 * KIB..=most).contains(&queued), "{queued}");
    assert!(others.iter().all(|other| rig.packets(*other).len() >= 11));
    assert_eq!(rig.core.stats().queued_bytes, 0, "what was sent owns no memory");
}

#[test]
fn a_gathering_is_one_record_of_whole_frames() {
    let mut rig = Rig::new();
    let (a, b) = (rig.login(1), rig.login(2));
    for _ in 0..100 {
        rig.send(a, b.key, &[0; 1400]);
    }
    let mut records = Vec::new();
    loop {
        let mut bytes = Vec::new();
        let more = rig.core.gather(rig.now, b.id, 16_384, &mut bytes).more;
        assert!(bytes.len() <= 16_384);
        records.push(crate::rig::read(&bytes).len());
        if !more {
            break;
        }
    }
    assert_eq!(records.iter().sum::<usize>(), 100);
    assert!(records[..records.len() - 1].iter().all(|count| *count == 11), "{records:?}");
}

#[test]
fn the_relays_own_messages_are_bounded_too() {
    let mut rig = Rig::new();
    let b = rig.login(2);
    for _ in 0..3000 {
        let a = rig.login(1);
        rig.send(a, b.key, b"x");
        rig.core.disconnect(a.id, tidewire_relay::Closed::Left);
    }
    let gone = rig.frames(b.id).into_iter().filter(|got| matches!(got, Got::Gone(..))).count();
    let stats = rig.core.stats();
    assert_eq!((gone as u64, gone as u64 + stats.control_dropped), (stats.peer_gone, 3000));
    assert!(gone < 2000, "{gone}");
}
