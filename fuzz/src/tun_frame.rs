//! What must hold for frames of a TUN device: any frames are read to an end, and what is gathered for writing is, read
//! again, the same packets.

use std::io::{self, IoSlice, IoSliceMut};

use tidewire_packet::{Batch, Class, Plain, Pool};
use tidewire_tun::{Counters, Reader, Writer, gather::Offload};

/// The first byte says how; then frames, each behind its length in two bytes and a byte of how often it is repeated (which
/// makes them as long as super-packets without as many bytes of input).
pub fn tun_frame(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let mtu = 576 + usize::from(how >> 3) * 50;
    let offload = Offload { tcp: how & 2 != 0, udp: how & 4 != 0 };
    let packets = read(&frames(rest), how & 1 != 0, mtu);
    let mut batch: Batch<Plain> = Pool::default().batch(Class::Receive);
    let packets: Vec<_> = packets.into_iter().take_while(|packet| batch.push(packet).is_ok()).collect();
    let mut written = Vec::new();
    let mut counters = Counters::default();
    let write = |slices: &[IoSlice<'_>]| {
        written.push(slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>());
        Ok(0)
    };
    Writer::new(true, offload).drain(&mut batch, &mut counters, write).expect("nothing blocks");
    assert_eq!(counters.written as usize, packets.len(), "every packet is written once");
    let again = read(&written, true, 65_535);
    assert!(comparable(again) == comparable(packets), "what was gathered is not what was there");
}

fn frames(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(([a, b, times], rest)) = data.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*a, *b])).min(rest.len());
        let (frame, rest) = rest.split_at(len);
        let mut frame = frame.to_vec();
        if let Some(last) = frame.last().copied() {
            frame.resize((len + usize::from(*times) * 200).min(65_000), last);
        }
        frames.push(frame);
        data = rest;
    }
    frames
}

/// All packets of the frames, through as many batches as it takes.
fn read(frames: &[Vec<u8>], has_header: bool, mtu: usize) -> Vec<Vec<u8>> {
    let pool = Pool::default();
    let mut reader = Reader::new(has_header);
    let mut frames = frames.iter();
    let mut packets = Vec::new();
    let mut read = |places: &mut [IoSliceMut<'_>]| {
        let frame = frames.next().ok_or(io::ErrorKind::WouldBlock)?;
        let mut rest = &frame[..];
        for place in places {
            let (now, later) = rest.split_at(place.len().min(rest.len()));
            place[..now.len()].copy_from_slice(now);
            rest = later;
        }
        Ok(frame.len() - rest.len())
    };
    loop {
        let mut batch: Batch<Plain> = pool.batch(Class::Send);
        if reader.fill(&mut batch, mtu, &mut Counters::default(), &mut read).is_err() {
            return packets;
        }
        assert!(!batch.is_empty());
        packets.extend(batch.iter().map(<[u8]>::to_vec));
    }
}

/// In an order of their own, and without IPv4's identification where fragments cannot need it: it counts up in a
/// super-packet, whatever it was before.
fn comparable(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for packet in &mut packets {
        if packet.len() >= 20 && packet[0] == 0x45 && packet[6] & 0x40 != 0 {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
    }
    packets.sort();
    packets
}
