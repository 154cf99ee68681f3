//! Whether batches are written whole, also where the device blocks, refuses, is down or is gone.
#![cfg(target_os = "linux")]

mod model;

use std::io::{self, IoSlice};

use model::*;
use tidewire_packet::{Batch, Plain};
use tidewire_tun::{Counters, Discard, Writer};

const TCP: Flow = Flow { v6: false, udp: false, number: 1 };
const UDP: Flow = Flow { v6: true, udp: true, number: 1 };

// Numbers of linux/errno.
const EIO: i32 = 5;
const EINVAL: i32 = 22;
const EBADFD: i32 = 77;

/// A stream of TCP, mixed with datagrams.
fn packets() -> Vec<Vec<u8>> {
    let tcp = (0..10).map(|i| {
        let look = Look { sequence: 1000 * i, id: i as u16, ..Look::default() };
        TCP.packet(&look, &payload(1000, i as u8))
    });
    tcp.zip((0..10).map(|i| UDP.packet(&Look::default(), &payload(500, i))))
        .flat_map(|(a, b)| [a, b])
        .collect()
}

fn whole(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

fn sorted(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.sort();
    packets
}

/// Writes `batch` to a device that answers each write as `answer` says; returns what it took.
fn drain(
    writer: &mut Writer,
    batch: &mut Batch<Plain>,
    counters: &mut Counters,
    mut answer: impl FnMut(usize, &[u8]) -> io::Result<()>,
) -> (io::Result<()>, Vec<Vec<u8>>) {
    let mut taken = Vec::new();
    let mut n = 0;
    let result = writer.drain(batch, counters, |slices| {
        let bytes = whole(slices);
        n += 1;
        answer(n - 1, &bytes)?;
        taken.push(bytes.clone());
        Ok(bytes.len())
    });
    (result, taken)
}

#[test]
fn a_batch_is_written_with_as_few_calls_as_there_are_flows() {
    let mut counters = Counters::default();
    let mut batch = batch(&packets());
    let (result, taken) = drain(&mut Writer::new(true, BOTH), &mut batch, &mut counters, |_, _| Ok(()));
    result.unwrap();
    assert!(batch.is_empty());
    assert_eq!((counters.written, counters.write_calls), (20, 2));
    assert_eq!(sorted(taken.iter().flat_map(|w| expand(w)).collect()), sorted(packets()));
}

#[test]
fn a_device_without_a_header_gets_packets_as_they_are() {
    let mut batch = batch(&packets());
    let mut writer = Writer::new(false, Default::default());
    let (result, taken) = drain(&mut writer, &mut batch, &mut Counters::default(), |_, _| Ok(()));
    result.unwrap();
    assert_eq!(taken, packets());
}

#[test]
fn what_would_block_stays_in_the_batch() {
    let mut counters = Counters::default();
    let mut batch = batch(&packets());
    let mut writer = Writer::new(true, BOTH);
    let (result, first) = drain(&mut writer, &mut batch, &mut counters, |n, _| match n {
        0 => Ok(()),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    });
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(batch.len(), 10);
    let (result, second) = drain(&mut writer, &mut batch, &mut counters, |_, _| Ok(()));
    result.unwrap();
    let all = first.iter().chain(&second).flat_map(|w| expand(w)).collect();
    assert_eq!(sorted(all), sorted(packets()));
    assert_eq!(counters.written, 20);
}

#[test]
fn a_refused_super_packet_is_written_packet_by_packet() {
    let mut counters = Counters::default();
    let mut writer = Writer::new(true, BOTH);
    for round in 0..2 {
        let mut batch = batch(&packets());
        let (result, taken) = drain(&mut writer, &mut batch, &mut counters, |_, write| {
            if write[1] != 0 { Err(io::Error::from_raw_os_error(EINVAL)) } else { Ok(()) }
        });
        result.unwrap();
        assert_eq!(
            sorted(taken.iter().flat_map(|w| expand(w)).collect()),
            sorted(packets()),
            "round {round}"
        );
    }
    // The second batch did not try.
    assert_eq!((counters.ungathered, counters.written), (1, 40));
    assert_eq!(counters.discards, Default::default());
}

#[test]
fn while_the_interface_is_down_packets_are_counted() {
    let mut counters = Counters::default();
    let mut batch = batch(&packets());
    let mut writer = Writer::new(true, BOTH);
    let (result, _) =
        drain(&mut writer, &mut batch, &mut counters, |_, _| Err(io::Error::from_raw_os_error(EIO)));
    result.unwrap();
    assert!(batch.is_empty());
    assert_eq!((counters.discards.get(Discard::Down), counters.written), (20, 0));
}

#[test]
fn what_is_no_packet_is_counted() {
    let mut counters = Counters::default();
    let mut batch = batch(&[vec![0xaa; 30], packets()[0].clone()]);
    let mut writer = Writer::new(true, BOTH);
    let (result, taken) = drain(&mut writer, &mut batch, &mut counters, |_, write| {
        if write[10] == 0xaa { Err(io::Error::from_raw_os_error(EINVAL)) } else { Ok(()) }
    });
    result.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!((counters.discards.get(Discard::Refused), counters.ungathered), (1, 0));
}

#[test]
fn a_device_that_is_gone_is_an_error() {
    let mut batch = batch(&packets());
    let (result, _) = drain(&mut Writer::new(true, BOTH), &mut batch, &mut Counters::default(), |_, _| {
        Err(io::Error::from_raw_os_error(EBADFD))
    });
    assert_eq!(result.unwrap_err().raw_os_error(), Some(EBADFD));
    assert!(batch.is_empty());
}
