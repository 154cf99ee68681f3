//! Which handshake messages wait for their turn, when that means load, and who may have how many turns then.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    discard::{Discard, Discards},
    message::INITIATION_LEN,
    source::Source,
};

/// The most handshake messages that wait; the oldest goes when another comes.
pub const HANDSHAKES: usize = 256;
/// So many that wait are load (as wireguard-go: an eighth of the queue).
pub const LOAD_THRESHOLD: usize = HANDSHAKES / 8;
/// For how long load lasts after the queue was last that long (as wireguard-go).
pub const LOAD_LINGERS: Duration = Duration::from_secs(1);
/// Under load a group of sources is given a handshake this often on average (20 a second, as wireguard-go).
pub const BUDGET_INTERVAL: Duration = Duration::from_millis(50);
/// Under load a group of sources is given this many at once (as wireguard-go).
pub const BUDGET_BURST: u32 = 5;
/// The most groups that are remembered as having spent some of their budget.
///
/// One that has just spent is whole again after [`BUDGET_INTERVAL`], so strangers would have to be given more than 80,000
/// handshakes a second to keep others out. They take us longer than that.
pub const BUDGET_SOURCES: usize = 4096;

/// An initiation or a response that passed mac1.
pub(crate) struct Queued {
    pub(crate) source: Source,
    bytes: [u8; INITIATION_LEN],
    len: u8,
}

impl Queued {
    pub(crate) fn message(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The handshake messages that wait for their turn.
#[derive(Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    // When the oldest of them, or one before it, came.
    since: Option<Instant>,
    loaded_until: Option<Instant>,
}

impl Queue {
    /// Appends `message`, at most as long as an initiation.
    pub(crate) fn push(&mut self, now: Instant, source: Source, message: &[u8], discards: &mut Discards) {
        if self.messages.len() == HANDSHAKES {
            self.messages.pop_front();
            discards.add(Discard::HandshakesFull);
        }
        let mut bytes = [0; INITIATION_LEN];
        let len = message.len().min(INITIATION_LEN);
        bytes[..len].copy_from_slice(&message[..len]);
        self.messages.push_back(Queued { source, bytes, len: len as u8 });
        self.since.get_or_insert(now);
        if self.messages.len() >= LOAD_THRESHOLD {
            self.loaded_until = Some(now + LOAD_LINGERS);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let message = self.messages.pop_front();
        if self.messages.is_empty() {
            self.since = None;
        }
        message
    }

    /// Since when messages wait, if any do.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(crate) fn is_loaded(&self, now: Instant) -> bool {
        self.loaded_until.is_some_and(|until| now < until)
    }
}

/// How many handshakes each group of sources has had lately, for sources that proved to be where they say.
///
/// A group is remembered only until its budget is whole again, at most a quarter of a second.
#[derive(Default)]
pub(crate) struct Budget {
    // When each group's budget will be whole.
    whole_at: BTreeMap<[u8; 32], Instant>,
}

impl Budget {
    /// Takes one handshake from the budget of the group of `source`; false if it has none left, or too many are at it.
    pub(crate) fn take(&mut self, now: Instant, source: &Source) -> bool {
        let group = source.group();
        let whole = self.whole_at.get(&group).copied().unwrap_or(now).max(now);
        if whole + BUDGET_INTERVAL > now + BUDGET_INTERVAL * BUDGET_BURST {
            return false;
        }
        if self.whole_at.len() >= BUDGET_SOURCES && !self.whole_at.contains_key(&group) {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            if self.whole_at.len() >= BUDGET_SOURCES {
                return false;
            }
        }
        self.whole_at.insert(group, whole + BUDGET_INTERVAL);
        true
    }

    /// Forgets everybody: there is no load.
    pub(crate) fn clear(&mut self) {
        self.whole_at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::t0;

    fn source(machine: u32, port: u8) -> Source {
        let mut bytes = [0; 34];
        bytes[..4].copy_from_slice(&machine.to_le_bytes());
        bytes[33] = port;
        Source::new(bytes, 32)
    }

    #[test]
    fn a_source_gets_5_at_once_and_20_a_second() {
        let (mut budget, mut taken) = (Budget::default(), 0);
        for ms in 0..1000 {
            let now = t0() + Duration::from_millis(ms);
            taken += u32::from(budget.take(now, &source(1, 0)));
            if ms == 0 {
                while budget.take(now, &source(1, 0)) {
                    taken += 1;
                }
                assert_eq!(taken, BUDGET_BURST);
            }
        }
        assert_eq!(taken, BUDGET_BURST + 19);
    }

    #[test]
    fn ports_share_the_budget_of_their_machine_and_machines_share_nothing() {
        let mut budget = Budget::default();
        let taken = (0..200).filter(|&port| budget.take(t0(), &source(1, port))).count();
        assert_eq!(taken, BUDGET_BURST as usize);
        assert!(budget.take(t0(), &source(2, 0)));
    }

    #[test]
    fn a_whole_network_has_one_budget_and_shuts_nobody_out() {
        let mut budget = Budget::default();
        let inside = |n: u32| {
            let mut place = [7; 34];
            place[8..12].copy_from_slice(&n.to_le_bytes());
            Source::new(place, 8)
        };
        let taken = (0..2 * BUDGET_SOURCES as u32).filter(|&n| budget.take(t0(), &inside(n))).count();
        assert_eq!((taken, budget.whole_at.len()), (BUDGET_BURST as usize, 1));
        assert!(budget.take(t0(), &Source::new([8; 34], 8)));
    }

    #[test]
    fn only_so_many_sources_are_remembered_and_only_while_they_spend() {
        let mut budget = Budget::default();
        let many = BUDGET_SOURCES as u32 + 100;
        let taken = (0..many).filter(|&machine| budget.take(t0(), &source(machine, 0))).count();
        assert_eq!(taken, BUDGET_SOURCES);
        assert_eq!(budget.whole_at.len(), BUDGET_SOURCES);
        assert!(budget.take(t0(), &source(0, 0)), "who is known goes on");
        assert!(
            budget.take(t0() + BUDGET_INTERVAL, &source(many, 0)),
            "the others are whole again and forgotten"
        );
        assert_eq!(budget.whole_at.len(), 2);
    }
}
