//! How a WireGuard pre-shared key is held and written.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::drbg::Drbg;
use crate::text::{self, KeyError};

/// A WireGuard pre-shared key (WireGuard paper, section 5.2): 32 bytes, zeroized on drop, compared in
/// constant time.
///
/// All zeros are what WireGuard uses where no key is set. The text form is base64, as `wg genpsk` writes it.
#[derive(Clone)]
pub struct PresharedKey(Zeroizing<[u8; 32]>);

impl PresharedKey {
    /// Takes the bytes as they are: unlike an X25519 key nothing is clamped.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes a new key from the generator.
    #[must_use]
    pub fn generate(drbg: &mut Drbg) -> Self {
        Self::from_bytes(drbg.array())
    }

    /// Reads 64 hex digits, as WireGuard's userspace API has them.
    ///
    /// # Errors
    /// [`KeyError`] says what was expected.
    pub fn from_hex(hex: &str) -> Result<Self, KeyError> {
        Ok(Self(text::parse_hex(hex, "64 hex digits")?))
    }

    /// The key itself. Named so that each use shows in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// WireGuard's base64, in memory that is wiped on drop.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        text::secret_string("", &text::base64(&self.0)[..])
    }

    /// 64 hex digits, in memory that is wiped on drop.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        text::secret_string("", &text::hex(&self.0)[..])
    }

    /// All bytes zero: WireGuard's "no pre-shared key".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.ct_eq(&[0; 32]).into()
    }
}

impl ZeroizeOnDrop for PresharedKey {}

impl ConstantTimeEq for PresharedKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&*other.0)
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for PresharedKey {}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(redacted)")
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    /// Reads WireGuard's base64 (44 characters).
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Ok(Self(text::parse_base64(text)?))
    }
}
