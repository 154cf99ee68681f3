//! What the options of a TCP header say that matters for sending: segment size, window scale, selective acknowledgements.

use super::sequence::{is_after, is_at_or_after};

const END: u8 = 0;
const NOTHING: u8 = 1;
const SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;

/// The options of a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Opening {
    /// The largest segment that the other end takes (RFC 9293, 3.7.1).
    pub(super) mss: Option<u16>,
    /// By how many bits its windows will be scaled (RFC 7323, 2).
    pub(super) shift: Option<u8>,
    /// Whether it will acknowledge selectively (RFC 2018, 2).
    pub(super) sacks: bool,
}

impl Opening {
    /// Reads the options of a SYN, as far as they are well formed. A size of zero counts as none.
    pub(super) fn parse(options: &[u8]) -> Self {
        let mut opening = Self::default();
        for (kind, value) in each(options) {
            match (kind, value) {
                (SEGMENT_SIZE, &[a, b]) => {
                    opening.mss = Some(u16::from_be_bytes([a, b])).filter(|mss| *mss > 0)
                }
                (WINDOW_SCALE, &[shift]) => opening.shift = Some(shift),
                (SACK_PERMITTED, &[]) => opening.sacks = true,
                _ => {}
            }
        }
        opening
    }
}

/// How many bytes after `ack`, and up to `next`, are selectively acknowledged (RFC 2018, 3).
pub(super) fn held(options: &[u8], ack: u32, next: u32) -> u32 {
    let mut held = 0_u32;
    for (_, blocks) in each(options).filter(|(kind, _)| *kind == SACK) {
        for block in blocks.chunks_exact(8) {
            let &[a, b, c, d, e, f, g, h] = block else { continue };
            let (left, right) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
            if is_after(left, ack) && is_after(right, left) && is_at_or_after(next, right) {
                held = held.saturating_add(right.wrapping_sub(left));
            }
        }
    }
    held
}

/// The kind and value of each option, until one that is cut off.
fn each(mut options: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            match *options {
                [NOTHING, ref rest @ ..] => options = rest,
                [END, ..] | [] | [_] => return None,
                [kind, len, ref rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(len).checked_sub(2)?)?;
                    options = rest;
                    return Some((kind, value));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_syn_are_read_in_any_order() {
        let linux = [2, 4, 0x04, 0xec, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(Opening::parse(&linux), Opening { mss: Some(1260), shift: Some(7), sacks: true });
        assert_eq!(Opening::parse(&[]), Opening::default());
        assert_eq!(Opening::parse(&[2, 4, 0, 0]), Opening::default());
    }

    #[test]
    fn what_is_cut_off_or_says_a_wrong_length_is_left() {
        assert_eq!(Opening::parse(&[3, 3, 7, 2, 4, 5]).shift, Some(7));
        assert_eq!(Opening::parse(&[0, 3, 3, 7]), Opening::default());
        assert_eq!(Opening::parse(&[3, 0, 7, 3, 3, 7]), Opening::default());
        assert_eq!(Opening::parse(&[3, 1, 7, 3, 3, 7]), Opening::default());
        assert_eq!(Opening::parse(&[3]), Opening::default());
    }

    #[test]
    fn only_bytes_under_way_are_held() {
        let block = |left: u32, right: u32| [left.to_be_bytes(), right.to_be_bytes()].concat();
        let options = |blocks: &[(u32, u32)]| {
            let mut bytes = vec![NOTHING, NOTHING, SACK, u8::try_from(2 + 8 * blocks.len()).unwrap()];
            blocks.iter().for_each(|(left, right)| bytes.extend(block(*left, *right)));
            bytes
        };
        assert_eq!(held(&options(&[(200, 300), (400, 450)]), 100, 1000), 150);
        // A block before the acknowledgement tells of a segment that came twice (RFC 2883).
        assert_eq!(held(&options(&[(50, 90), (200, 300)]), 100, 1000), 100);
        assert_eq!(held(&options(&[(900, 1001)]), 100, 1000), 0);
        assert_eq!(held(&options(&[(300, 200)]), 100, 1000), 0);
        assert_eq!(held(&options(&[(u32::MAX, 9)]), u32::MAX - 5, 20), 10);
    }
}
