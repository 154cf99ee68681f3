//! The limit: ring's ChaCha20-Poly1305 over datagrams that lie as ours do, and nothing else.

use std::{hint::black_box, time::Duration};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::{BATCH, Session, packet, padded, time};

const HEADER: usize = 16;
const TAG: usize = 16;

pub(super) struct Ring {
    key: LessSafeKey,
    counter: u64,
}

impl Ring {
    pub(super) fn new() -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("a key of the right length");
        Self { key: LessSafeKey::new(key), counter: 0 }
    }
}

impl Session for Ring {
    fn pass(&mut self, size: usize) -> (Duration, Duration) {
        let stride = HEADER + padded(size) + TAG;
        let mut slab = vec![0; stride * BATCH];
        for datagram in slab.chunks_exact_mut(stride) {
            datagram[HEADER..HEADER + size].copy_from_slice(&packet(size));
        }
        let first = self.counter;
        self.counter += BATCH as u64;
        let (seal, ()) = time(|| {
            for (counter, datagram) in (first..).zip(black_box(&mut slab).chunks_exact_mut(stride)) {
                let (text, tag) = datagram[HEADER..].split_last_chunk_mut::<TAG>().expect("room for a tag");
                let sealed = self.key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), text);
                tag.copy_from_slice(sealed.expect("not too long").as_ref());
            }
        });
        let (open, ()) = time(|| {
            for (counter, datagram) in (first..).zip(black_box(&mut slab).chunks_exact_mut(stride)) {
                let opened = self.key.open_in_place(nonce(counter), Aad::empty(), &mut datagram[HEADER..]);
                assert_eq!(opened.expect("what was sealed").len(), padded(size));
            }
        });
        (seal, open)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}
