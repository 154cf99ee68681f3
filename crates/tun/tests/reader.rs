//! Whether what the device hands over is in the batches, whatever its lengths, and what does not fit is in the next.

mod model;

use std::{
    collections::VecDeque,
    io::{self, IoSliceMut},
};

use model::*;
use proptest::prelude::*;
use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tun::{Counters, Discard, Reader, vnet::Header};

/// Reads one frame, as `readv` does: what does not fit is lost.
fn read(frames: &mut VecDeque<Vec<u8>>, places: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let frame = frames.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
    let mut rest = &frame[..];
    for place in places {
        let (now, later) = rest.split_at(place.len().min(rest.len()));
        place[..now.len()].copy_from_slice(now);
        rest = later;
    }
    assert!(rest.is_empty(), "there is room for the longest packet");
    Ok(frame.len())
}

/// All batches until the device would block.
fn batches(
    reader: &mut Reader,
    frames: Vec<Vec<u8>>,
    mtu: usize,
    counters: &mut Counters,
) -> Vec<Vec<Vec<u8>>> {
    let pool = Pool::default();
    let mut frames = VecDeque::from(frames);
    let mut batches = Vec::new();
    loop {
        let mut batch: Batch<Plain> = pool.batch(Class::Send);
        match reader.fill(&mut batch, mtu, counters, |places| read(&mut frames, places)) {
            Ok(()) => batches.push(batch.iter().map(<[u8]>::to_vec).collect()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                assert!(frames.is_empty() && !reader.has_left());
                return batches;
            }
        }
    }
}

fn plain_frame(packet: &[u8]) -> Vec<u8> {
    [&Header::default().encode()[..], packet].concat()
}

const FLOW: Flow = Flow { v6: false, udp: false, number: 1 };

/// A super-packet whose segments are as long as the MTU.
fn full(segments: usize, mtu: usize) -> Vec<u8> {
    let size = mtu - FLOW.headers(&Look::default());
    let (header, packet) = FLOW.super_packet(&Look::default(), &payload(segments * size, 5), size as u16);
    [&header.encode()[..], &packet].concat()
}

#[test]
fn small_packets_share_a_batch_up_to_a_bound() {
    let packets: Vec<_> = (0..300).map(|i| FLOW.packet(&Look::default(), &payload(i % 50, 1))).collect();
    let frames = packets.iter().map(|packet| plain_frame(packet)).collect();
    let mut counters = Counters::default();
    let read = batches(&mut Reader::new(true), frames, 1420, &mut counters);
    assert!(read.iter().map(Vec::len).eq([128, 128, 44]));
    assert_eq!(read.concat(), packets);
    assert_eq!((counters.read, counters.read_calls), (300, 300));
}

#[test]
fn a_batch_goes_on_over_several_super_packets_and_holds_one_sends_worth() {
    let frames = vec![full(47, 1420), full(47, 1420), full(3, 1420)];
    let expected: Vec<_> = frames.iter().flat_map(|frame| expand(frame)).collect();
    let mut counters = Counters::default();
    let read = batches(&mut Reader::new(true), frames, 1420, &mut counters);
    assert!(read.iter().map(Vec::len).eq([45, 45, 7]));
    assert_eq!(read.concat(), expected);
    assert_eq!((counters.read, counters.read_calls), (97, 3));
}

#[test]
fn segments_of_several_super_packets_lie_back_to_back() {
    let mut frames = VecDeque::from([full(20, 1420), full(20, 1420)]);
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Send);
    let mut reader = Reader::new(true);
    reader.fill(&mut batch, 1420, &mut Counters::default(), |places| read(&mut frames, places)).unwrap();
    assert_eq!(batch.len(), 40);
    assert!(batch.spans().windows(2).all(|pair| pair[1].start() - pair[0].start() == 1452));
}

#[test]
fn a_packet_beyond_the_mtu_passes_and_is_noticed() {
    let long = FLOW.packet(&Look::default(), &payload(9000, 1));
    let short = FLOW.packet(&Look::default(), &payload(10, 1));
    let (partial, unsummed) = FLOW.super_packet(&Look::default(), &payload(8000, 1), 1);
    let partial = Header { gso: None, ..partial };
    let frames = vec![
        plain_frame(&short),
        plain_frame(&long),
        [&partial.encode()[..], &unsummed].concat(),
        plain_frame(&short),
    ];
    let mut reader = Reader::new(true);
    let read = batches(&mut reader, frames, 1420, &mut Counters::default()).concat();
    assert_eq!(read, [short.clone(), long, FLOW.packet(&Look::default(), &payload(8000, 1)), short]);
    assert!(reader.take_seen_longer());
    assert!(!reader.take_seen_longer());
}

#[test]
fn the_longest_packet_passes_at_any_mtu() {
    let flow = Flow { v6: true, ..FLOW };
    let longest = flow.packet(&Look::default(), &payload(65_535 - 32, 1));
    assert_eq!(longest.len(), 65_575);
    for mtu in [576, 1280, 65_535] {
        let mut counters = Counters::default();
        let read = batches(&mut Reader::new(true), vec![plain_frame(&longest)], mtu, &mut counters);
        assert_eq!(read, [[longest.clone()]]);
    }
}

#[test]
fn frames_that_make_no_sense_are_counted_and_hold_nobody_up() {
    let good = FLOW.packet(&Look::default(), &payload(10, 1));
    let mut unknown = plain_frame(&good);
    unknown[1] = 3;
    let mut contradiction = full(3, 1420);
    contradiction[1] = 4;
    let frames = vec![vec![0; 4], plain_frame(&[]), unknown, contradiction, plain_frame(&good)];
    let mut counters = Counters::default();
    assert_eq!(batches(&mut Reader::new(true), frames, 1420, &mut counters), [[good]]);
    assert_eq!((counters.discards.get(Discard::Malformed), counters.read), (4, 1));
}

#[test]
fn a_device_without_a_header_hands_over_packets_as_they_are() {
    let packets: Vec<_> =
        [10, 1300, 4000, 10].map(|len| FLOW.packet(&Look::default(), &payload(len, 1))).into();
    let read = batches(&mut Reader::new(false), packets.clone(), 1420, &mut Counters::default());
    assert_eq!(read.concat(), packets);
}

#[test]
fn an_error_comes_after_what_was_read_before_it() {
    let good = FLOW.packet(&Look::default(), &payload(10, 1));
    let mut frames = VecDeque::from([plain_frame(&good)]);
    let mut reader = Reader::new(true);
    let mut read = |places: &mut [IoSliceMut<'_>]| match read(&mut frames, places) {
        Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        read => read,
    };
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Send);
    reader.fill(&mut batch, 1420, &mut Counters::default(), &mut read).unwrap();
    assert_eq!(batch.len(), 1);
    batch.clear();
    let error = reader.fill(&mut batch, 1420, &mut Counters::default(), &mut read).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let super_packet =
        (any_flow(), any_look(), 2usize..30_000, 20u16..1500).prop_map(|(flow, look, len, size)| {
            let size = size.max((len / 120) as u16 + 1);
            let len = len.max(usize::from(size) + 1);
            let (header, packet) = flow.super_packet(&look, &payload(len, 3), size);
            [&header.encode()[..], &packet].concat()
        });
    let packet = (any_flow(), any_look(), 0usize..3000)
        .prop_map(|(flow, look, len)| plain_frame(&flow.packet(&look, &payload(len, 4))));
    prop_oneof![super_packet, packet]
}

proptest! {
    #[test]
    fn every_frame_is_in_the_batches_in_order(
        frames in prop::collection::vec(any_frame(), 1..20),
        mtu in prop_oneof![Just(1280usize), Just(1420), 100usize..9000],
    ) {
        let expected: Vec<_> = frames.iter().flat_map(|frame| expand(frame)).collect();
        let mut counters = Counters::default();
        let read = batches(&mut Reader::new(true), frames, mtu, &mut counters).concat();
        prop_assert_eq!(counters.read as usize, expected.len());
        prop_assert!(read == expected, "a packet was lost or changed");
    }

    #[test]
    fn any_frames_are_read_to_an_end(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), mtu in 68usize..2000) {
        batches(&mut Reader::new(true), frames, mtu, &mut Counters::default());
    }
}
