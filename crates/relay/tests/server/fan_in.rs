//! Many senders to one receiver: what its queue can hold is not lost, however slowly it reads and however many sockets are ready at once.

use std::{io::Write, thread};

use tidewire_derp::Frame;

use crate::rig::{Client, key, with_tls};

#[test]
fn bursts_of_many_senders_do_not_overrun_one_receiver() {
    let relay = with_tls();
    let mut receiver = Client::login(&relay, 1);
    let senders: Vec<_> = (2..42).map(|byte| Client::login(&relay, byte)).collect();
    let threads: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                // All together a little less than a queue holds.
                (0..16).for_each(|_| {
                    Frame::SendPacket { to: key(1), packet: &[1; 1400] }.encode(&mut bytes).unwrap()
                });
                sender.bytes.write_all(&bytes).unwrap();
                sender
            })
        })
        .collect();
    for _ in 0..40 * 16 {
        assert_eq!(receiver.next_packet().len(), 1400);
    }
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}
