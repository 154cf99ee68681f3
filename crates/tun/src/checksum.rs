//! How the Internet checksum (RFC 1071) is computed, also while copying: sums that can be put together.

/// A one's complement sum in progress, over 16-bit words as they lie in memory.
///
/// Pieces are put together by adding them, in any order; each must begin at an even place of the whole, so that words
/// stay words.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; a last odd one counts as if a zero followed.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks_exact(8);
        let rest = tail(words.remainder());
        // Halves of words in two accumulators: nothing carries, so the compiler does several at a time.
        let (mut low, mut high) = halves(rest);
        for word in words {
            let (l, h) = halves(load(word));
            low += l;
            high += h;
        }
        self.sums(low, high)
    }

    /// Copies `from` to `to`, which are of one length (else the shorter counts), and adds it: one pass where both are
    /// needed.
    #[inline]
    #[must_use]
    pub fn copy(self, from: &[u8], to: &mut [u8]) -> Self {
        let len = from.len().min(to.len());
        let (from, to) = (&from[..len], &mut to[..len]);
        let (mut low, mut high) = (0, 0);
        let mut words = from.chunks_exact(8);
        let mut places = to.chunks_exact_mut(8);
        for (word, place) in (&mut words).zip(&mut places) {
            place.copy_from_slice(word);
            let (l, h) = halves(load(word));
            low += l;
            high += h;
        }
        places.into_remainder().copy_from_slice(words.remainder());
        let (l, h) = halves(tail(words.remainder()));
        self.sums(low + l, high + h)
    }

    /// Adds a 16-bit field.
    #[inline]
    #[must_use]
    pub const fn word(self, value: u16) -> Self {
        Self(self.0 + value.to_be() as u64)
    }

    /// Adds the pseudo-header of TCP and UDP (RFC 9293, 3.1; RFC 8200, 8.1): addresses as they lie in the IP header,
    /// protocol, and the length of the transport header and payload.
    #[inline]
    #[must_use]
    pub fn pseudo_header(self, addresses: &[u8], protocol: u8, len: u16) -> Self {
        self.bytes(addresses).word(u16::from(protocol)).word(len)
    }

    /// The sum in 16 bits, as it is written into a header to be completed by others.
    #[inline]
    #[must_use]
    pub const fn partial(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        u16::from_be(sum as u16)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.partial()
    }

    /// The checksum as UDP writes it, where zero means that there is none (RFC 768). For TCP it is as good.
    #[inline]
    #[must_use]
    pub const fn transport_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }

    /// Whether bytes that hold their checksum are whole.
    #[inline]
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.partial() == 0xffff
    }

    // Two accumulators of 32-bit halves stay below 2^63 for any slice that fits in memory, and fold into less than 2^34.
    #[inline]
    const fn sums(self, low: u64, high: u64) -> Self {
        Self(self.0 + (low & 0xffff_ffff) + (low >> 32) + (high & 0xffff_ffff) + (high >> 32))
    }
}

#[inline]
fn load(word: &[u8]) -> u64 {
    u64::from_ne_bytes(word.try_into().expect("chunks are eight bytes"))
}

#[inline]
fn tail(rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_ne_bytes(word)
}

#[inline]
const fn halves(word: u64) -> (u64, u64) {
    (word & 0xffff_ffff, word >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As RFC 1071 says it, word by word.
    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!((sum.partial(), sum.checksum()), (0xddf2, 0x220d));
    }

    #[test]
    fn a_header_from_the_wire_is_whole() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
            0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(Sum::default().bytes(&header).is_whole());
    }

    #[test]
    fn a_transport_checksum_is_never_zero() {
        let sum = Sum::default().bytes(&[0xff, 0xff]);
        assert_eq!((sum.checksum(), sum.transport_checksum()), (0, 0xffff));
    }

    #[test]
    fn many_full_words_do_not_overflow() {
        let bytes = vec![0xff; 1 << 20];
        assert_eq!(Sum::default().bytes(&bytes).partial(), 0xffff);
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_slow_one(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            prop_assert_eq!(Sum::default().bytes(&bytes).partial(), slow(&bytes));
            let mut copy = vec![0; bytes.len()];
            prop_assert_eq!(Sum::default().copy(&bytes, &mut copy).partial(), slow(&bytes));
            prop_assert_eq!(copy, bytes);
        }

        #[test]
        fn pieces_of_even_length_can_be_put_together(
            bytes in proptest::collection::vec(any::<u8>(), 0..256),
            cut in 0usize..128,
            word: u16,
        ) {
            let (front, back) = bytes.split_at((cut * 2).min(bytes.len() & !1));
            let sum = Sum::default().bytes(front).word(word).bytes(back);
            let whole = [&word.to_be_bytes()[..], &bytes].concat();
            prop_assert_eq!(sum.partial(), slow(&whole));
        }
    }
}
