//! What a secret and a public key can do: one implementation for all three kinds.

use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use subtle::{Choice, ConstantTimeEq};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::drbg::Drbg;
use crate::kind::{Disco, Kind, Node, Relay};
use crate::shared::SharedBox;
use crate::text::{self, KeyError, SECRET_FORM, SECRET_PREFIX};

/// An X25519 secret key of kind `K`: zeroized on drop, compared in constant time, never printed.
///
/// Use the names [`NodeSecret`](crate::NodeSecret), [`DiscoSecret`](crate::DiscoSecret) and
/// [`RelaySecret`](crate::RelaySecret). The text form is `privkey:<64 hex>` for all of them.
#[derive(Clone)]
pub struct Secret<K> {
    bytes: Zeroizing<[u8; 32]>,
    kind: PhantomData<K>,
}

impl<K: Kind> Secret<K> {
    /// Takes 32 random bytes as a secret key, clamped as RFC 7748 section 5 says (and as `wg genkey` does).
    ///
    /// Any bytes give a key; it is as secret as they are. All-zero bytes, which text forms refuse, give a key
    /// that everyone knows.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut bytes = Zeroizing::new(bytes);
        bytes[0] &= 0b1111_1000;
        bytes[31] = bytes[31] & 0b0111_1111 | 0b0100_0000;
        Self { bytes, kind: PhantomData }
    }

    /// Makes a new key from the generator.
    #[must_use]
    pub fn generate(drbg: &mut Drbg) -> Self {
        Self::from_bytes(drbg.array())
    }

    /// Reads 64 hex digits without a prefix, as WireGuard's userspace API and a relay's key file have them.
    ///
    /// # Errors
    /// [`KeyError`] says what was expected; all zeros are refused.
    pub fn from_hex(hex: &str) -> Result<Self, KeyError> {
        Self::checked(&text::parse_hex(hex, "64 hex digits")?)
    }

    /// The public key. Costs a multiplication on the curve: keep it.
    #[must_use]
    pub fn public(&self) -> Public<K> {
        Public::from_bytes(PublicKey::from(&self.scalar()).to_bytes())
    }

    /// The clamped key itself. Named so that each use shows in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// `privkey:<64 hex>`, in memory that is wiped on drop.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        text::secret_string(SECRET_PREFIX, &text::hex(&self.bytes)[..])
    }

    /// 64 hex digits without a prefix, in memory that is wiped on drop.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        text::secret_string("", &text::hex(&self.bytes)[..])
    }

    fn scalar(&self) -> StaticSecret {
        StaticSecret::from(*self.bytes)
    }

    fn box_with(&self, public: &[u8; 32]) -> SharedBox {
        SharedBox::agree(&self.scalar(), &PublicKey::from(*public))
    }

    fn checked(bytes: &Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        if bool::from(bytes.ct_eq(&[0; 32])) { Err(KeyError::Zero) } else { Ok(Self::from_bytes(**bytes)) }
    }
}

impl Secret<Node> {
    /// Reads WireGuard's base64 (44 characters), as `wg genkey` writes it.
    ///
    /// # Errors
    /// [`KeyError`] says what was expected; all zeros are refused.
    pub fn from_base64(base64: &str) -> Result<Self, KeyError> {
        Self::checked(&text::parse_base64(base64)?)
    }

    /// WireGuard's base64, in memory that is wiped on drop.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        text::secret_string("", &text::base64(&self.bytes)[..])
    }

    /// The NaCl box between this node and a relay, as the DERP login uses it. Costs one X25519:
    /// keep it.
    #[must_use]
    pub fn shared(&self, relay: &Public<Relay>) -> SharedBox {
        self.box_with(relay.as_bytes())
    }
}

impl Secret<Relay> {
    /// The NaCl box between this relay and a node, as the DERP login uses it. Costs one X25519.
    #[must_use]
    pub fn shared(&self, node: &Public<Node>) -> SharedBox {
        self.box_with(node.as_bytes())
    }
}

impl Secret<Disco> {
    /// The NaCl box between two disco keys. Costs one X25519: keep one for each peer.
    #[must_use]
    pub fn shared(&self, peer: &Public<Disco>) -> SharedBox {
        self.box_with(peer.as_bytes())
    }
}

impl<K> ZeroizeOnDrop for Secret<K> {}

impl<K> ConstantTimeEq for Secret<K> {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&*other.bytes)
    }
}

impl<K> PartialEq for Secret<K> {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl<K> Eq for Secret<K> {}

impl<K: Kind> fmt::Debug for Secret<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}secret(redacted)", K::LABEL)
    }
}

impl<K: Kind> FromStr for Secret<K> {
    type Err = KeyError;

    /// Reads `privkey:<64 hex>`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::checked(&text::parse_prefixed(text, SECRET_PREFIX, SECRET_FORM)?)
    }
}

/// An X25519 public key of kind `K`.
///
/// Use the names [`NodePublic`](crate::NodePublic), [`DiscoPublic`](crate::DiscoPublic) and
/// [`RelayPublic`](crate::RelayPublic). Any 32 bytes are a public key; those that lead to no secret are met
/// when a [`SharedBox`] is made. `Display` writes the whole key, `Debug` its first four bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Public<K> {
    bytes: [u8; 32],
    kind: PhantomData<K>,
}

impl<K: Kind> Public<K> {
    /// Length of a public key on the wire, in bytes.
    pub const LEN: usize = 32;

    /// Takes the 32 bytes as they stand on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { bytes, kind: PhantomData }
    }

    /// Reads 64 hex digits without a prefix.
    ///
    /// # Errors
    /// [`KeyError`] says what was expected.
    pub fn from_hex(hex: &str) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(*text::parse_hex(hex, "64 hex digits")?))
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 32] {
        self.bytes
    }

    /// 64 hex digits without a prefix.
    #[must_use]
    pub fn to_hex(&self) -> String {
        String::from_iter(text::hex(&self.bytes).iter().map(|&digit| char::from(digit)))
    }

    /// All bytes zero: how the field writes "no key".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.bytes == [0; 32]
    }
}

impl Public<Node> {
    /// Reads WireGuard's base64 (44 characters), as `wg pubkey` writes it.
    ///
    /// # Errors
    /// [`KeyError`] says what was expected.
    pub fn from_base64(base64: &str) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(*text::parse_base64(base64)?))
    }

    /// WireGuard's base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        String::from_iter(text::base64(&self.bytes).iter().map(|&digit| char::from(digit)))
    }
}

impl<K> AsRef<[u8; 32]> for Public<K> {
    fn as_ref(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl<K: Kind> From<[u8; 32]> for Public<K> {
    fn from(bytes: [u8; 32]) -> Self {
        Self::from_bytes(bytes)
    }
}

impl<K: Kind> fmt::Debug for Public<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.bytes;
        write!(f, "{}{a:02x}{b:02x}{c:02x}{d:02x}…", K::LABEL)
    }
}

impl<K: Kind> fmt::Display for Public<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<K: Kind> FromStr for Public<K> {
    type Err = KeyError;

    /// Reads the form that `Display` writes; hex digits in either case.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(*text::parse_prefixed(text, K::PREFIX, K::FORM)?))
    }
}
