//! Which counters of a session may still be received: each once, and none that lies far behind the newest.

use crate::discard::Discard;

/// How far behind the newest counter a packet may be and still be taken.
pub(crate) const WINDOW: u64 = 8192;

const WORDS: usize = (WINDOW / 64) as usize;

/// The counters received, as a ring of bits: bit `c % WINDOW` stands for counter `c` of the last [`WINDOW`] (RFC 6479 keeps
/// a word more and clears by words; clearing by bits makes the whole ring usable).
pub(crate) struct Replay {
    // One more than the newest counter received: the first that is surely new.
    next: u64,
    seen: [u64; WORDS],
}

impl Replay {
    pub(crate) const fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// Whether `counter` would be taken. Asked before decryption, which costs more.
    #[inline]
    pub(crate) fn check(&self, counter: u64) -> Result<(), Discard> {
        if counter >= self.next {
            Ok(())
        } else if self.next - counter > WINDOW {
            Err(Discard::BeforeWindow)
        } else if self.seen[word(counter)] & bit(counter) != 0 {
            Err(Discard::Replayed)
        } else {
            Ok(())
        }
    }

    /// Remembers `counter`, which passed [`check`](Self::check) and came with a genuine packet.
    #[inline]
    pub(crate) fn mark(&mut self, counter: u64) {
        if counter >= self.next {
            if counter > self.next {
                self.forget(self.next, counter);
            }
            self.next = counter + 1;
        }
        self.seen[word(counter)] |= bit(counter);
    }

    /// Clears the bits of the counters `from..to`, which stood for counters a window earlier.
    fn forget(&mut self, mut from: u64, to: u64) {
        if to - from >= WINDOW {
            self.seen = [0; WORDS];
            return;
        }
        while from < to {
            let shift = from % 64;
            let count = (64 - shift).min(to - from);
            self.seen[word(from)] &= !((u64::MAX >> (64 - count)) << shift);
            from += count;
        }
    }
}

#[inline]
const fn word(counter: u64) -> usize {
    (counter / 64) as usize % WORDS
}

#[inline]
const fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn take(replay: &mut Replay, counter: u64) -> Result<(), Discard> {
        replay.check(counter).inspect(|()| replay.mark(counter))
    }

    #[test]
    fn a_counter_is_taken_once() {
        let mut replay = Replay::new();
        for counter in [0, 1, 5, 3, 2, 4, 100, 64, 63] {
            assert_eq!(take(&mut replay, counter), Ok(()), "{counter}");
            assert_eq!(take(&mut replay, counter), Err(Discard::Replayed), "{counter}");
        }
    }

    #[test]
    fn the_window_is_8192_counters_wide() {
        let mut replay = Replay::new();
        let newest = 3 * WINDOW + 17;
        assert_eq!(take(&mut replay, newest), Ok(()));
        assert_eq!(take(&mut replay, newest - WINDOW), Err(Discard::BeforeWindow));
        assert_eq!(take(&mut replay, newest - WINDOW + 1), Ok(()));
        assert_eq!(take(&mut replay, newest + 1), Ok(()));
        assert_eq!(take(&mut replay, newest - WINDOW + 1), Err(Discard::BeforeWindow));
    }

    #[test]
    fn a_leap_over_the_whole_window_forgets_it() {
        let mut replay = Replay::new();
        for counter in 0..100 {
            assert_eq!(take(&mut replay, counter), Ok(()));
        }
        assert_eq!(take(&mut replay, 10 * WINDOW), Ok(()));
        for counter in 9 * WINDOW + 1..10 * WINDOW {
            assert_eq!(take(&mut replay, counter), Ok(()), "{counter}");
        }
    }

    #[test]
    fn the_greatest_counter_can_be_taken() {
        let mut replay = Replay::new();
        assert_eq!(take(&mut replay, u64::MAX - 1), Ok(()));
        assert_eq!(take(&mut replay, u64::MAX - 1), Err(Discard::Replayed));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set(steps in proptest::collection::vec((0u8..4, 0u64..20_000), 1..400)) {
            let (mut replay, mut seen) = (Replay::new(), BTreeSet::new());
            for (kind, by) in steps {
                let newest: u64 = seen.last().copied().unwrap_or(0);
                let counter = match kind {
                    0 => newest + by % 3,
                    1 => newest + by,
                    2 => newest.saturating_sub(by % 70),
                    _ => newest.saturating_sub(by),
                };
                let expected = if seen.contains(&counter) && newest - counter < WINDOW {
                    Err(Discard::Replayed)
                } else if newest >= WINDOW && counter <= newest - WINDOW {
                    Err(Discard::BeforeWindow)
                } else {
                    Ok(())
                };
                prop_assert_eq!(take(&mut replay, counter), expected);
                if expected.is_ok() {
                    seen.insert(counter);
                }
            }
        }
    }
}
