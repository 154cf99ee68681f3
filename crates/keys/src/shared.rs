//! How two keys seal messages to each other: the NaCl box, with its key agreed on once.

use alloc::vec::Vec;
use core::fmt;

use crypto_secretbox::aead::generic_array::GenericArray;
use crypto_secretbox::{AeadInPlace, Kdf, KeyInit, XSalsa20Poly1305};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::drbg::mix;

/// Length of a box nonce in bytes. 24 random bytes never repeat.
pub const NONCE_LEN: usize = 24;
/// What sealing adds: the Poly1305 tag, in front of the ciphertext.
pub const TAG_LEN: usize = 16;

/// The NaCl box (X25519, HSalsa20, XSalsa20-Poly1305) between one secret and one public key, precomputed;
/// zeroized on drop.
///
/// A public key of small order agrees on a "secret" that everyone knows. With such a key nothing opens
/// ([`BoxError::WeakKey`]), and what is sealed is sealed under a key that nobody else has, so it reveals
/// nothing and nobody can open it.
#[derive(Clone)]
pub struct SharedBox {
    cipher: XSalsa20Poly1305,
    contributory: bool,
}

impl SharedBox {
    pub(crate) fn agree(secret: &StaticSecret, public: &PublicKey) -> Self {
        let agreed = secret.diffie_hellman(public);
        let contributory = agreed.was_contributory();
        let input = if contributory {
            Zeroizing::new(agreed.to_bytes())
        } else {
            // Stands in for a secret where there is none: nobody without our secret key can make it.
            mix(secret.as_bytes(), b"tidewire box without a peer", public.as_bytes())
        };
        let key = Zeroizing::new(XSalsa20Poly1305::kdf((&*input).into(), &GenericArray::default()));
        Self { cipher: XSalsa20Poly1305::new(&key), contributory }
    }

    /// Whether the public key was one that two parties can share a secret with.
    #[must_use]
    pub fn is_contributory(&self) -> bool {
        self.contributory
    }

    /// Seals `plain`: the tag, then as many bytes as `plain` has. One nonce must never seal two messages.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(TAG_LEN + plain.len());
        self.seal_into(nonce, plain, &mut out);
        out
    }

    /// Like [`seal`](Self::seal), appended to `out`.
    pub fn seal_into(&self, nonce: &[u8; NONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + TAG_LEN, 0);
        out.extend_from_slice(plain);
        let (tag, text) = out[start..].split_at_mut(TAG_LEN);
        let made = self.cipher.encrypt_in_place_detached(nonce.into(), b"", text);
        tag.copy_from_slice(&made.expect("only associated data is refused"));
    }

    /// Opens what [`seal`](Self::seal) made, into a new buffer.
    ///
    /// # Errors
    /// [`BoxError`]: the sender is to blame.
    pub fn open(&self, nonce: &[u8; NONCE_LEN], boxed: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (tag, text) = boxed.split_first_chunk().ok_or(BoxError::Short)?;
        let mut plain = text.to_vec();
        self.open_text(nonce, tag, &mut plain)?;
        Ok(plain)
    }

    /// Opens in place and returns the plaintext, which is `boxed` without its first 16 bytes. On an error
    /// `boxed` is as it was.
    ///
    /// # Errors
    /// [`BoxError`]: the sender is to blame.
    pub fn open_in_place<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        boxed: &'a mut [u8],
    ) -> Result<&'a mut [u8], BoxError> {
        let (tag, text) = boxed.split_first_chunk_mut().ok_or(BoxError::Short)?;
        self.open_text(nonce, tag, text)?;
        Ok(text)
    }

    fn open_text(
        &self,
        nonce: &[u8; NONCE_LEN],
        tag: &[u8; TAG_LEN],
        text: &mut [u8],
    ) -> Result<(), BoxError> {
        if !self.contributory {
            return Err(BoxError::WeakKey);
        }
        let opened = self.cipher.decrypt_in_place_detached(nonce.into(), b"", text, tag.into());
        opened.map_err(|_| BoxError::Forged)
    }
}

impl ZeroizeOnDrop for SharedBox {}

impl fmt::Debug for SharedBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedBox(redacted)")
    }
}

/// Why a box did not open. The sender is to blame, or an old key is still in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BoxError {
    /// Not even a tag: fewer than 16 bytes.
    #[error("a box of fewer than 16 bytes has no tag")]
    Short,
    /// The tag does not fit: another key, another nonce, or changed bytes.
    #[error("the box was made with another key or nonce, or was changed")]
    Forged,
    /// The public key is of small order, so the agreed key would be known to everyone.
    #[error("the public key has no secret to share")]
    WeakKey,
}
