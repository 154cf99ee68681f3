//! What holds for every batch, however it was filled, cut and joined.

use proptest::prelude::*;
use tidewire_packet::{
    BadSpan, Batch, Class, Full, HEADROOM, Kind, Limits, Plain, Pool, TAILROOM, Wire, padded_len,
};

fn pool() -> Pool {
    Pool::new(Limits { small: 4, send: 4, receive: 1, spans: 8 })
}

fn contents<K: Kind>(batch: &Batch<K>) -> Vec<Vec<u8>> {
    batch.iter().map(<[u8]>::to_vec).collect()
}

/// Relabels as the tunnel does.
#[allow(clippy::disallowed_methods)]
fn to_wire(batch: Batch<Plain>) -> Batch<Wire> {
    batch.relabel()
}

fn rooms_hold(batch: &Batch<Plain>) -> bool {
    let mut floor = 0;
    for span in batch.spans() {
        if span.start() < floor + HEADROOM || span.end() + TAILROOM > batch.capacity() {
            return false;
        }
        floor = span.end() + TAILROOM;
    }
    true
}

#[test]
fn full_size_packets_become_back_to_back_datagrams() {
    let mut batch: Batch<Plain> = pool().batch(Class::Send);
    for _ in 0..45 {
        batch.reserve(1420, padded_len(1420, 1420)).unwrap().fill(9);
    }
    let mut batch = to_wire(batch);
    for i in 0..45 {
        assert_eq!(batch.widen(i, HEADROOM, TAILROOM).unwrap().len(), 1452);
    }
    assert!((0..44).all(|i| batch.is_back_to_back(i)));
    assert_eq!(batch.stretch(0..45).unwrap().len(), 45 * 1452);
}

#[test]
fn padding_is_capped_by_the_mtu_and_never_cuts() {
    assert_eq!(padded_len(0, 1420), 0);
    assert_eq!(padded_len(1, 1420), 16);
    assert_eq!(padded_len(1408, 1420), 1408);
    assert_eq!(padded_len(1409, 1420), 1420);
    assert_eq!(padded_len(1420, 1420), 1420);
    assert_eq!(padded_len(1500, 1420), 1500);
    assert_eq!(padded_len(1280, 1280), 1280);
}

#[test]
fn a_full_slab_refuses_and_stays_as_it_was() {
    let mut batch: Batch<Plain> = pool().batch(Class::Small);
    batch.push(&[1; 1500]).unwrap();
    assert_eq!(batch.push(&[2; 1500]), Err(Full { wanted: 1500 }));
    assert_eq!(batch.len(), 1);
    batch.push(&[3; 400]).unwrap();
    assert_eq!(contents(&batch), [vec![1; 1500], vec![3; 400]]);
}

#[test]
fn a_longer_packet_than_any_slab_is_refused() {
    let long = vec![0; Class::Receive.bytes() + 1];
    assert_eq!(Batch::<Wire>::copy_of(&pool(), &long).unwrap_err(), Full { wanted: long.len() });
}

#[test]
fn spans_that_would_overlap_are_refused() {
    let mut batch: Batch<Wire> = pool().batch(Class::Small);
    batch.storage_mut().fill(5);
    batch.push_span(0, 100).unwrap();
    assert_eq!(batch.push_span(99, 10), Err(BadSpan { start: 99, len: 10 }));
    assert_eq!(batch.push_span(2040, 9), Err(BadSpan { start: 2040, len: 9 }));
    assert_eq!(batch.push_span(usize::MAX, 2), Err(BadSpan { start: usize::MAX, len: 2 }));
    batch.push_span(100, 1948).unwrap();
    let mut plain: Batch<Plain> = pool().batch(Class::Small);
    assert!(plain.push_span(15, 10).is_err());
    plain.push_span(16, 10).unwrap();
    assert!(plain.push_span(57, 10).is_err());
    plain.push_span(58, 10).unwrap();
}

#[test]
fn a_datagram_never_takes_a_neighbours_bytes() {
    let mut batch: Batch<Wire> = pool().batch(Class::Small);
    batch.push(&[1; 10]).unwrap();
    batch.push(&[2; 10]).unwrap();
    assert!(batch.widen(1, 1, 0).is_none());
    assert!(batch.widen(0, 0, 1).is_none());
    assert_eq!(batch.widen(1, 0, 6).unwrap().len(), 16);
    assert!(batch.widen(7, 0, 0).is_none());
}

#[test]
fn a_slab_comes_back_whole_and_a_cut_one_does_not() {
    let pool = pool();
    let mut batch: Batch<Wire> = pool.batch(Class::Small);
    batch.push(&[1; 100]).unwrap();
    batch.push(&[2; 100]).unwrap();
    let rest = batch.split_off(1);
    assert_eq!(batch.capacity() + rest.capacity(), Class::Small.bytes());
    drop((batch, rest));
    drop(pool.batch::<Wire>(Class::Small));
    assert_eq!(pool.misses(Class::Small), 2);
}

#[test]
fn strangers_are_not_joined() {
    let pool = pool();
    let mut a: Batch<Wire> = Batch::copy_of(&pool, &[1; 10]).unwrap();
    let b: Batch<Wire> = Batch::copy_of(&pool, &[2; 10]).unwrap();
    let b = a.join(b).unwrap_err();
    assert_eq!((contents(&a), contents(&b)), (vec![vec![1; 10]], vec![vec![2; 10]]));
}

proptest! {
    #[test]
    fn what_was_pushed_is_there_with_its_room(packets in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..300), 0usize..40), 0..40))
    {
        let mut batch: Batch<Plain> = pool().batch(Class::Send);
        for (packet, padding) in &packets {
            batch.reserve(packet.len(), packet.len() + padding).unwrap().copy_from_slice(packet);
        }
        prop_assert!(rooms_hold(&batch));
        prop_assert_eq!(contents(&batch), packets.iter().map(|(p, _)| p.clone()).collect::<Vec<_>>());
        prop_assert_eq!(batch.bytes(), packets.iter().map(|(p, _)| p.len()).sum::<usize>());
    }

    #[test]
    fn cutting_and_joining_changes_nothing(lens in proptest::collection::vec(0usize..200, 1..30), at in 0usize..31) {
        let mut batch: Batch<Plain> = pool().batch(Class::Send);
        for (i, len) in lens.iter().enumerate() {
            batch.push(&vec![u8::try_from(i).unwrap(); *len]).unwrap();
        }
        let (all, spans) = (contents(&batch), batch.spans().to_vec());
        let rest = batch.split_off(at);
        prop_assert!(rooms_hold(&batch) && rooms_hold(&rest));
        prop_assert_eq!([contents(&batch), contents(&rest)].concat(), &all[..]);
        if !rest.is_unbacked() {
            prop_assert!(batch.join(rest).is_ok());
        }
        prop_assert_eq!(contents(&batch), all);
        prop_assert_eq!(batch.spans(), &spans[..]);
        prop_assert!(batch.push(&[1; 20]).is_ok() && rooms_hold(&batch));
    }

    #[test]
    fn retaining_keeps_order_and_room(lens in proptest::collection::vec(0usize..200, 0..30), mask: u32, trim in 0usize..300) {
        let mut batch: Batch<Plain> = pool().batch(Class::Send);
        for (i, len) in lens.iter().enumerate() {
            batch.push(&vec![u8::try_from(i).unwrap(); *len]).unwrap();
        }
        let kept: Vec<Vec<u8>> = contents(&batch).into_iter().enumerate()
            .filter(|(i, _)| mask >> i & 1 == 1).map(|(_, p)| p).collect();
        batch.retain(|i, _| mask >> i & 1 == 1);
        prop_assert_eq!(contents(&batch), &kept[..]);
        batch.trim(0, trim);
        batch.advance(1, trim);
        prop_assert!(rooms_hold(&batch));
        if let Some(first) = kept.first() {
            prop_assert_eq!(batch.get(0).unwrap(), &first[..first.len().min(trim)]);
        }
        if let Some(second) = kept.get(1) {
            prop_assert_eq!(batch.get(1).unwrap(), &second[second.len().min(trim)..]);
        }
    }
}
