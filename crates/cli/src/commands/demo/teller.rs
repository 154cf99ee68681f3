//! How the demo speaks to a person: each step with its time as it happens, and a bar while bytes flow.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidewire_node::clock;

/// Prints steps to standard output, unless there is JSON to come there.
pub(super) struct Teller {
    start: Instant,
    quiet: bool,
}

impl Teller {
    pub(super) fn new(quiet: bool) -> Self {
        Self { start: clock::now(), quiet }
    }

    /// One step that was done.
    pub(super) fn step(&self, text: &str) {
        if !self.quiet {
            let at = self.start.elapsed_at(clock::now());
            // A demo that nobody watches any more may as well go on.
            drop(crate::output::print(format_args!("{:>8.3} s  {text}", at.as_secs_f64())));
        }
    }

    /// A bar for a transfer of so many bytes, on standard error; hidden when nobody looks.
    pub(super) fn bar(&self, what: &'static str, bytes: u64) -> ProgressBar {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(bytes), target).with_message(what);
        let style = ProgressStyle::with_template(
            "            {msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec}",
        );
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar
    }
}

trait ElapsedAt {
    fn elapsed_at(&self, now: Instant) -> Duration;
}

impl ElapsedAt for Instant {
    fn elapsed_at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self)
    }
}
