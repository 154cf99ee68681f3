//! How much may wait in the driver, and how often it does what is not driven by packets.

use std::time::Duration;

use tidewire_transport::Depth;

/// Orders from handles that wait; the caller of one more waits.
pub const ORDER_QUEUE: Depth = Depth { items: 64, bytes: usize::MAX };

/// Notes that nobody has taken; one more drops the oldest.
pub const EVENT_QUEUE: Depth = Depth { items: 1024, bytes: usize::MAX };

/// Items that wait for transports or overlays that would block; one more is dropped and counted.
pub const PENDING_ITEMS: usize = 256;

/// How often fresh randomness is mixed in, and the wall clock looked at.
pub const RESEED_EVERY: Duration = Duration::from_secs(3600);

/// How late a timer must be to say that the machine slept (Tailscale's network monitor: 1.5 times its 15 s).
pub const SLEPT: Duration = Duration::from_millis(22_500);
