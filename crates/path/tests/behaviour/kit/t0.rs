//! The one instant that every test of this crate counts from.

use std::{sync::LazyLock, time::Instant};

/// The start of virtual time.
pub(crate) fn t0() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "tests need some base; all that follows is virtual")]
    static T0: LazyLock<Instant> = LazyLock::new(Instant::now);
    *T0
}
