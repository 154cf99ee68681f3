//! Where random bytes come from: ChaCha20 with fast key erasure, seeded once, one generator for each room.

use core::fmt;

use blake2::Blake2sMac;
use blake2::digest::consts::U32;
use blake2::digest::{FixedOutput, Mac};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// 32 bytes from which generators are made; zeroized on drop. In a program they come from the operating
/// system, in a simulation they name the history.
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Takes 32 bytes that nobody else can know.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Has `fill` write the 32 bytes where they will stay, so that no copy is left on the way. With the
    /// operating system's randomness: `Seed::try_fill(getrandom::fill)`.
    ///
    /// # Errors
    /// Whatever `fill` says.
    pub fn try_fill<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill(&mut bytes[..])?;
        Ok(Self(bytes))
    }
}

impl ZeroizeOnDrop for Seed {}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

/// A deterministic random bit generator: ChaCha20 with fast key erasure; zeroized on drop.
///
/// Each refill makes 512 bytes of keystream, of which the first 32 replace the key, and a byte is wiped when
/// it is handed out. So whoever reads the memory later learns nothing about what was drawn before. It cannot
/// be cloned: two generators in one state would repeat nonces.
///
/// The same seed, label and calls give the same bytes, on every machine.
pub struct Drbg {
    key: Zeroizing<[u8; KEY_LEN]>,
    ready: Zeroizing<[u8; READY_LEN]>,
    /// `ready[used..]` has not been handed out yet.
    used: usize,
}

const KEY_LEN: usize = 32;
const READY_LEN: usize = 512 - KEY_LEN;

impl Drbg {
    /// Makes the generator of one room. Different labels give generators that have nothing in common.
    #[must_use]
    pub fn new(seed: &Seed, label: &str) -> Self {
        let key = mix(&seed.0, b"tidewire drbg", label.as_bytes());
        Self { key, ready: Zeroizing::new([0; READY_LEN]), used: READY_LEN }
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == READY_LEN {
                self.refill();
            }
            let count = out.len().min(READY_LEN - self.used);
            let (head, tail) = out.split_at_mut(count);
            let drawn = &mut self.ready[self.used..self.used + count];
            head.copy_from_slice(drawn);
            drawn.zeroize();
            self.used += count;
            out = tail;
        }
    }

    /// `N` random bytes.
    #[must_use]
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A random number of 32 bits.
    #[must_use]
    pub fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A random number of 64 bits.
    #[must_use]
    pub fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A random number less than `bound`, each equally likely. `below(0)` is 0, there being nothing to choose
    /// from.
    #[must_use]
    pub fn below(&mut self, bound: u64) -> u64 {
        let Some(last) = bound.checked_sub(1) else { return 0 };
        // The smallest mask that covers the range: at worst every second draw is thrown away.
        let mask = u64::MAX.checked_shr(last.leading_zeros()).unwrap_or(0);
        loop {
            let drawn = self.next_u64() & mask;
            if drawn <= last {
                return drawn;
            }
        }
    }

    /// A seed for another generator, drawn from this one.
    #[must_use]
    pub fn seed(&mut self) -> Seed {
        let mut bytes = Zeroizing::new([0; 32]);
        self.fill(&mut bytes[..]);
        Seed(bytes)
    }

    /// Mixes fresh bytes in; the state is unknown to anyone who does not know both the old one and `seed`.
    /// What was made ready before is discarded.
    pub fn reseed(&mut self, seed: &Seed) {
        self.key = mix(&self.key, b"tidewire drbg reseed", &seed.0[..]);
        self.ready.zeroize();
        self.used = READY_LEN;
    }

    fn refill(&mut self) {
        let mut cipher = ChaCha20::new((&*self.key).into(), &[0; 12].into());
        self.key.zeroize();
        cipher.apply_keystream(&mut self.key[..]);
        self.ready.zeroize();
        cipher.apply_keystream(&mut self.ready[..]);
        self.used = 0;
    }
}

impl ZeroizeOnDrop for Drbg {}

impl fmt::Debug for Drbg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drbg(redacted)")
    }
}

/// A new key out of an old one and data: BLAKE2s as keyed pseudo-random function (RFC 7693), the domain
/// closed by a zero byte.
pub(crate) fn mix(key: &[u8; KEY_LEN], domain: &[u8], data: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
    let mac = <Blake2sMac<U32> as Mac>::new_from_slice(key).expect("32 bytes are a BLAKE2s key");
    Zeroizing::new(mac.chain_update(domain).chain_update([0]).chain_update(data).finalize_fixed().into())
}
