//! Much at once: nothing is lost, nothing is out of order, and whole frames of every length pass.

use std::{io::Write, thread};

use tidewire_derp::Frame;

use crate::rig::{Client, key, noise, plain, with_tls};

/// Packets in one write, as a batching client sends them, in windows that the other end acknowledges.
#[test]
fn windows_of_256_packets_arrive_whole() {
    for relay in [plain(), with_tls()] {
        let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
        let packet = noise("packet", 1400);
        for window in 0..20_u8 {
            let mut bytes = Vec::new();
            for number in 0..=255 {
                let packet = [&[window, number], &packet[2..]].concat();
                Frame::SendPacket { to: key(2), packet: &packet }.encode(&mut bytes).unwrap();
            }
            a.bytes.write_all(&bytes).unwrap();
            for number in 0..=255 {
                let got = b.next_packet();
                assert_eq!((&got[..2], &got[2..]), (&[window, number][..], &packet[2..]));
            }
        }
        assert_eq!(relay.stats().core.packets_out, 20 * 256);
    }
}

#[test]
fn packets_of_every_length_pass() {
    let relay = with_tls();
    let (mut a, mut b) = (Client::login(&relay, 1), Client::login(&relay, 2));
    let lengths: Vec<usize> =
        (0..100).chain([1400, 16_000, 16_347, 16_384, 40_000, 65_535, 65_536]).collect();
    let content = noise("content", 65_536);
    let theirs = (lengths.clone(), content.clone());
    let sender = thread::spawn(move || {
        let (lengths, content) = theirs;
        for len in lengths {
            a.send_packet(key(2), &content[..len]);
        }
        a
    });
    for len in lengths {
        assert!(b.next_packet() == content[..len], "{len}");
    }
    sender.join().unwrap();
}

/// Many pairs at once, each with its own content.
#[test]
fn pairs_do_not_mix() {
    let relay = with_tls();
    let threads: Vec<_> = (0..16_u8)
        .map(|pair| {
            let (mut a, mut b) = (Client::login(&relay, 100 + pair), Client::login(&relay, 200 + pair));
            thread::spawn(move || {
                for number in 0..200_u8 {
                    a.send_packet(key(200 + pair), &[pair, number, 7]);
                    assert_eq!(b.next_packet(), [pair, number, 7]);
                }
                (a, b)
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(relay.stats().core.packets_out, 16 * 200);
}
