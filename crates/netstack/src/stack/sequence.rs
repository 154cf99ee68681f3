//! How TCP's sequence numbers compare, which run around (RFC 9293, 3.4).

/// Whether `a` is `b` or comes after it.
pub(super) const fn is_at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

/// Whether `a` comes after `b`.
pub(super) const fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_around() {
        assert!(is_after(5, u32::MAX - 5));
        assert!(!is_after(u32::MAX - 5, 5));
        assert!(is_at_or_after(7, 7) && !is_after(7, 7));
    }
}
