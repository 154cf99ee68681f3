//! How a task waits for an instant of this clock: a timer on CLOCK_BOOTTIME on Linux, tokio's timer elsewhere.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::now;

/// A timer that can be set again and again, for a loop that sleeps to the next event.
///
/// Needs a tokio runtime with I/O and time enabled. Fires at or after the deadline, also when that passed while the
/// machine was suspended.
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    timer: imp::Timer,
}

impl Sleep {
    /// A timer that fires at `deadline`.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, timer: imp::Timer::new() }
    }

    /// When it fires.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sets another deadline; costs nothing if it is the same. The task that polls must poll again.
    pub fn reset(&mut self, deadline: Instant) {
        if deadline != self.deadline {
            self.deadline = deadline;
            self.timer.disarm();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        loop {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            if self.timer.poll(cx, left).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    Sleep::until(deadline).await;
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    Sleep::until(now() + duration).await;
}

/// The time was up before the future was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

/// Runs `future` for at most `duration`.
///
/// # Errors
/// [`Elapsed`] if it is not done by then; the future is dropped.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(now() + duration, future).await
}

/// Runs `future` until `deadline` at most.
///
/// # Errors
/// [`Elapsed`] if it is not done by then; the future is dropped.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    tokio::pin!(future);
    let mut sleep = Sleep::until(deadline);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    //! How the timer is made on Linux: a timerfd on CLOCK_BOOTTIME; where none can be had, tokio's timer.

    use std::{
        os::fd::OwnedFd,
        task::{Context, Poll, ready},
        time::Duration,
    };

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::fallback;

    #[derive(Debug)]
    pub(super) struct Timer {
        fd: Option<AsyncFd<OwnedFd>>,
        armed: bool,
        fallback: fallback::Timer,
    }

    impl Timer {
        pub(super) const fn new() -> Self {
            Self { fd: None, armed: false, fallback: fallback::Timer::new() }
        }

        pub(super) fn disarm(&mut self) {
            self.armed = false;
            self.fallback.disarm();
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>, left: Duration) -> Poll<()> {
            if self.fd.is_none() {
                self.fd = open();
            }
            let Some(fd) = &self.fd else { return self.fallback.poll(cx, left) };
            if !self.armed {
                if set(fd.get_ref(), left).is_err() {
                    return self.fallback.poll(cx, left);
                }
                self.armed = true;
            }
            let Ok(mut guard) = ready!(fd.poll_read_ready(cx)) else { return self.fallback.poll(cx, left) };
            let mut fired = [0; 8];
            match rustix::io::read(fd.get_ref(), &mut fired) {
                Ok(_) => {
                    self.armed = false;
                    guard.clear_ready();
                    Poll::Ready(())
                }
                Err(_) => {
                    guard.clear_ready();
                    fd.poll_read_ready(cx).map(|_| ())
                }
            }
        }
    }

    fn open() -> Option<AsyncFd<OwnedFd>> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = timerfd_create(TimerfdClockId::Boottime, flags).ok()?;
        // The safe constructor is deprecated because a type could lie about its descriptor; an `OwnedFd` cannot.
        #[allow(deprecated)]
        AsyncFd::with_interest(fd, tokio::io::Interest::READABLE).ok()
    }

    fn set(fd: &OwnedFd, left: Duration) -> rustix::io::Result<()> {
        let it_value = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            // An all-zero value would disarm it.
            tv_nsec: i64::from(left.subsec_nanos().max(1)),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(fd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value }).map(|_| ())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use fallback as imp;

mod fallback {
    //! How the timer is made where the system has no timer on this clock: tokio's, asked again at least once a minute.

    use std::{
        future::Future,
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    // A suspended tokio timer runs late by as long as the machine slept; this bounds it.
    const LONGEST: Duration = Duration::from_secs(60);

    #[derive(Debug)]
    pub(super) struct Timer(Option<Pin<Box<tokio::time::Sleep>>>);

    impl Timer {
        pub(super) const fn new() -> Self {
            Self(None)
        }

        pub(super) fn disarm(&mut self) {
            self.0 = None;
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>, left: Duration) -> Poll<()> {
            #[allow(clippy::disallowed_methods, reason = "this crate is where tasks sleep")]
            let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(left.min(LONGEST))));
            let done = sleep.as_mut().poll(cx);
            if done.is_ready() {
                self.0 = None;
            }
            done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    #[test]
    fn a_sleep_never_ends_early_and_can_be_used_again() {
        run(async {
            let mut sleep = Sleep::until(now());
            (&mut sleep).await;
            for _ in 0..3 {
                let deadline = now() + Duration::from_millis(3);
                sleep.reset(deadline);
                (&mut sleep).await;
                assert!(now() >= deadline);
            }
        });
    }

    #[test]
    fn a_reset_takes_effect_while_the_timer_runs() {
        run(async {
            let mut sleep = Sleep::until(now() + Duration::from_secs(3600));
            let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
            assert!(first.is_pending());
            sleep.reset(now() + Duration::from_millis(2));
            sleep.await;
        });
    }

    #[test]
    fn the_fallback_wakes_too() {
        run(async {
            let mut timer = fallback::Timer::new();
            std::future::poll_fn(|cx| timer.poll(cx, Duration::from_millis(2))).await;
        });
    }

    #[test]
    fn a_timeout_returns_what_was_ready_in_time() {
        run(async {
            assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
            assert_eq!(timeout(Duration::from_millis(1), std::future::pending::<()>()).await, Err(Elapsed));
        });
    }
}
