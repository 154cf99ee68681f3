//! How long and how many: every time and number of a check, in one place.

use std::time::Duration;

/// For STUN (as Tailscale does).
pub const STUN: Duration = Duration::from_secs(3);
/// For everything (as Tailscale does).
pub const WHOLE: Duration = Duration::from_secs(5);
/// Between two tries at a region of which nothing is known (as Tailscale does).
pub const STAGGER: Duration = Duration::from_millis(100);
/// Tries at a region of which nothing is known, in each family (as Tailscale does).
pub const TRIES: u8 = 3;
/// Regions that are asked again where something is known already, beside the home (as Tailscale does).
pub const FASTEST: usize = 3;
/// Tries at the two fastest of those (as Tailscale does).
pub const TRIES_FAST: u8 = 2;
/// Tries at the home (as Tailscale does).
pub const TRIES_HOME: u8 = 4;
/// What a try waits for the one before it beyond the latency that is known, and a fifth of it.
pub const PATIENCE: Duration = Duration::from_millis(50);
/// The latency of a region that is asked again though it did not answer last time.
pub const UNKNOWN_LATENCY: Duration = Duration::from_millis(200);
/// Regions that are enough to choose from (as Tailscale does).
pub const ENOUGH: usize = 3;
/// Regions that one check asks at most; of more, those with the lowest numbers.
pub const REGIONS: usize = 256;
/// Regions that are asked by HTTPS at a time.
pub const HTTPS_AT_ONCE: usize = 16;
/// After so long without any answer of STUN something on the way may be in the way.
pub const PORTAL_DELAY: Duration = Duration::from_millis(200);
/// How long our own router has to send back what we sent to ourselves.
pub const HAIRPIN: Duration = Duration::from_millis(500);

/// Between two checks of a node with traffic. Three of them are in the history from which the home is chosen.
pub const PERIOD: Duration = Duration::from_secs(95);
/// A full check is at most so old (as Tailscale does).
pub const FULL: Duration = Duration::from_secs(300);
