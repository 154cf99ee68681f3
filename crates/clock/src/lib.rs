//! What time it is for everything that has a socket: time since boot, suspended time included, as `Instant`s of one base.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod sleep;

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

pub use sleep::{Elapsed, Sleep, sleep, sleep_until, timeout, timeout_at};

/// The time at the first call in this process, by both clocks.
struct Base {
    instant: Instant,
    boot: Duration,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "this crate is where time is read")]
    BASE.get_or_init(|| Base { instant: Instant::now(), boot: boot_time() })
}

/// The present. Monotonic; runs on while the machine is suspended (CLOCK_BOOTTIME on Linux, and what is nearest to it
/// elsewhere). Resolution is the system clock's.
#[inline]
#[must_use]
pub fn now() -> Instant {
    let base = base();
    base.instant + boot_time().saturating_sub(base.boot)
}

/// Wall time since 1970-01-01 UTC; zero if the system's clock is set before that. For an `Epoch`, and whether that is still right.
#[must_use]
pub fn unix_time() -> Duration {
    #[allow(clippy::disallowed_methods, reason = "this crate is where time is read")]
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_time() -> Duration {
    read(rustix::time::ClockId::Boottime)
}

// On Apple's systems CLOCK_MONOTONIC goes on while suspended.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn boot_time() -> Duration {
    read(rustix::time::ClockId::Monotonic)
}

#[cfg(unix)]
fn read(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(unix))]
fn boot_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods, reason = "this crate is where time is read")]
    let now = Instant::now();
    now - *START.get_or_init(|| now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let mut last = now();
        for _ in 0..1000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }

    #[test]
    fn wall_time_is_after_this_was_written() {
        assert!(unix_time() > Duration::from_secs(1_700_000_000));
    }
}
