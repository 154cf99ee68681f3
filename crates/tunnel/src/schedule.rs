//! Which of all peers comes first: a heap that knows where each peer is in it.

use std::time::Instant;

use crate::timers::Timers;

/// All peers that have a timer running, each once, under a time that is not later than its first.
///
/// Data that flows sets and stops timers all the time. A timer that moves away leaves its peer where it is; only when that peer
/// comes first is it looked at again. Once as large as it gets, the heap allocates nothing.
#[derive(Default)]
pub(crate) struct Schedule {
    heap: Vec<Entry>,
    // For each slot, where in the heap it is.
    places: Vec<Option<u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    at: Instant,
    slot: u32,
}

impl Schedule {
    /// Enters the peer in `slot` earlier if its timers say so. To be called after timers of it were set.
    #[inline]
    pub(crate) fn note(&mut self, slot: u32, timers: &Timers) {
        if let Some(soonest) = timers.soonest()
            && self.at(slot).is_none_or(|at| soonest < at)
        {
            self.put(slot, soonest);
        }
    }

    /// Enters the peer in `slot` under the time of its first timer, or takes it out if none runs.
    pub(crate) fn renew(&mut self, slot: u32, timers: &mut Timers) {
        match timers.renew() {
            Some(at) => self.put(slot, at),
            None => self.remove(slot),
        }
    }

    /// The peer that comes first, and under which time.
    #[inline]
    pub(crate) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().map(|entry| (entry.at, entry.slot))
    }

    /// Takes the peer in `slot` out.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.get_mut(slot as usize).and_then(Option::take) else { return };
        let place = place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    fn put(&mut self, slot: u32, at: Instant) {
        let entry = Entry { at, slot };
        if self.places.len() <= slot as usize {
            self.places.resize(slot as usize + 1, None);
        }
        let place = match self.places[slot as usize] {
            Some(place) => {
                self.heap[place as usize] = entry;
                place as usize
            }
            None => {
                self.heap.push(entry);
                self.heap.len() - 1
            }
        };
        self.settle(place);
    }

    fn at(&self, slot: u32) -> Option<Instant> {
        let place = (*self.places.get(slot as usize)?)?;
        Some(self.heap[place as usize].at)
    }

    /// Moves the entry at `place`, which may be out of order, to where it belongs.
    fn settle(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 && entry < self.heap[(place - 1) / 2] {
            self.set(place, self.heap[(place - 1) / 2]);
            place = (place - 1) / 2;
        }
        while let Some(child) = self.lesser_child(place).filter(|&child| self.heap[child] < entry) {
            self.set(place, self.heap[child]);
            place = child;
        }
        self.set(place, entry);
    }

    fn lesser_child(&self, place: usize) -> Option<usize> {
        let (left, right) = (2 * place + 1, 2 * place + 2);
        let left_entry = self.heap.get(left)?;
        Some(if self.heap.get(right).is_some_and(|right| right < left_entry) { right } else { left })
    }

    fn set(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.places[entry.slot as usize] = Some(place as u32);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{t0, timers::Timer};

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_set(steps in proptest::collection::vec((0u32..12, proptest::option::of(0u64..50)), 1..300)) {
            let (mut schedule, mut model) = (Schedule::default(), BTreeSet::new());
            for (slot, at) in steps {
                model.retain(|&(_, other)| other != slot);
                match at.map(|at| t0() + Duration::from_millis(at)) {
                    Some(at) => {
                        schedule.put(slot, at);
                        model.insert((at, slot));
                    }
                    None => schedule.remove(slot),
                }
                prop_assert_eq!(schedule.first(), model.first().copied());
                for &(at, slot) in &model {
                    prop_assert_eq!(schedule.at(slot), Some(at));
                }
            }
            while let Some(first) = schedule.first() {
                prop_assert_eq!(Some(first), model.pop_first());
                schedule.remove(first.1);
            }
            prop_assert!(model.is_empty());
        }
    }

    #[test]
    fn a_timer_that_moved_away_is_found_out_when_its_peer_comes_first() {
        let (mut schedule, mut timers) = (Schedule::default(), Timers::default());
        let at = |secs| t0() + Duration::from_secs(secs);
        timers.set(Timer::Keepalive, at(10));
        timers.set(Timer::Wipe, at(540));
        schedule.note(3, &timers);
        timers.stop(Timer::Keepalive);
        schedule.note(3, &timers);
        assert_eq!(schedule.first(), Some((at(10), 3)));
        schedule.renew(3, &mut timers);
        assert_eq!(schedule.first(), Some((at(540), 3)));
        timers.stop(Timer::Wipe);
        schedule.renew(3, &mut timers);
        assert_eq!(schedule.first(), None);
        timers.set(Timer::NoAnswer, at(600));
        schedule.note(3, &timers);
        assert_eq!(schedule.first(), Some((at(600), 3)));
    }
}
