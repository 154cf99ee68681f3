//! When something is due for a connection: one deadline of each kind, in one ordered set for all connections.

use std::{collections::BTreeSet, time::Instant};

use super::ClientId;

/// Why a relay wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// A connection has not logged in, or was answered and has not gone.
    Setup,
    /// A client is to hear a `KeepAlive`.
    KeepAlive,
    /// A write has been blocked for too long.
    Write,
    /// A client that sent too fast may be read from again.
    Resume,
}

impl Why {
    pub(crate) const COUNT: usize = 4;
}

/// The deadlines of one connection, as they stand in [`Timers`].
pub(crate) type Deadlines = [Option<Instant>; Why::COUNT];

/// All deadlines in order.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, ClientId, Why)>);

impl Timers {
    /// Sets, changes or takes back one deadline.
    pub(crate) fn set(&mut self, id: ClientId, deadlines: &mut Deadlines, why: Why, at: Option<Instant>) {
        let slot = &mut deadlines[why as usize];
        if let Some(old) = slot.take() {
            self.0.remove(&(old, id, why));
        }
        if let Some(at) = at {
            self.0.insert((at, id, why));
            *slot = Some(at);
        }
    }

    /// Takes back all deadlines of a connection.
    pub(crate) fn clear(&mut self, id: ClientId, deadlines: &mut Deadlines) {
        for why in [Why::Setup, Why::KeepAlive, Why::Write, Why::Resume] {
            self.set(id, deadlines, why, None);
        }
    }

    pub(crate) fn next(&self) -> Option<(Instant, Why)> {
        self.0.first().map(|&(at, _, why)| (at, why))
    }

    /// The next that is due at `now`. It stays until it is set anew.
    pub(crate) fn due(&self, now: Instant) -> Option<(ClientId, Why)> {
        self.0.first().filter(|(at, ..)| *at <= now).map(|&(_, id, why)| (id, why))
    }
}
