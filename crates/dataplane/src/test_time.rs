//! The instant at which this crate's tests begin.

use std::{sync::OnceLock, time::Instant};

pub(crate) fn t0() -> Instant {
    static T0: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "the one base of virtual time in tests")]
    *T0.get_or_init(Instant::now)
}
