//! Which events are kept until they are fetched, and which failures are news.

use std::collections::VecDeque;

use super::{
    limits::{EVENTS, EVENTS_GONE},
    report::{Event, Failure},
};

/// Events in their order. Those about peers that are gone have bounds of their own: a relay can say as many as it likes, and shall
/// not make anybody miss what happened to the connections.
#[derive(Default, Debug)]
pub(crate) struct Events {
    news: VecDeque<(u64, Event)>,
    gone: VecDeque<(u64, Event)>,
    told: u64,
}

impl Events {
    /// Puts an event behind all others. Returns how many older ones had to go.
    pub(crate) fn push(&mut self, event: Event) -> u64 {
        let (events, most) = match event {
            Event::PeerGone { .. } => (&mut self.gone, EVENTS_GONE),
            _ => (&mut self.news, EVENTS),
        };
        let lost = events.len() >= most && events.pop_front().is_some();
        events.push_back((self.told, event));
        self.told += 1;
        u64::from(lost)
    }

    /// The oldest event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let number = |events: &VecDeque<(u64, Event)>| events.front().map_or(u64::MAX, |(number, _)| *number);
        let events = if number(&self.gone) < number(&self.news) { &mut self.gone } else { &mut self.news };
        events.pop_front().map(|(_, event)| event)
    }
}

/// The failures of one region since it was last up. A relay that cannot be reached fails in the same few ways at each attempt,
/// one for each node and rung, and each of them is worth telling once.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Failures(VecDeque<Failure>);

/// Failures that are known at a time; the oldest is news again after that.
const KNOWN: usize = 32;

impl Failures {
    /// Whether this very failure was not seen before. From here on it was.
    pub fn is_news(&mut self, failure: &Failure) -> bool {
        if self.0.contains(failure) {
            return false;
        }
        if self.0.len() >= KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(failure.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use tidewire_keys::NodePublic;
    use tidewire_transport::RegionId;

    use super::*;
    use crate::{
        frame::GoneReason,
        machine::{Seen, Step},
    };

    fn gone(region: u16, peer: u8) -> Event {
        let peer = NodePublic::from_bytes([peer; 32]);
        Event::PeerGone { region: RegionId(region), peer, reason: GoneReason::NotHere }
    }

    fn health(region: u16) -> Event {
        Event::Health { region: RegionId(region), problem: None }
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        let mut events = Events::default();
        let all = [health(1), gone(1, 1), gone(1, 2), health(2), gone(2, 1)];
        assert_eq!(all.iter().cloned().map(|event| events.push(event)).sum::<u64>(), 0);
        assert_eq!(std::iter::from_fn(|| events.pop()).collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_flood_of_peers_that_are_gone_pushes_out_nothing_else() {
        let mut events = Events::default();
        events.push(health(2));
        let lost: u64 = (0..10_000).map(|_| events.push(gone(1, 1))).sum();
        assert_eq!(lost, 10_000 - EVENTS_GONE as u64);
        assert_eq!(events.pop(), Some(health(2)));
        assert_eq!(std::iter::from_fn(|| events.pop()).count(), EVENTS_GONE);
    }

    #[test]
    fn a_failure_is_news_once() {
        let failure = |status| Failure {
            region: RegionId(1),
            node: "1a".to_owned(),
            rung: None,
            proxied: true,
            step: Step::Proxy,
            seen: Seen::Status(status),
        };
        let mut failures = Failures::default();
        let told = [407, 502, 407, 502, 407].map(|status| failures.is_news(&failure(status)));
        assert_eq!(told, [true, true, false, false, false]);
        for status in 0..10_000 {
            failures.is_news(&failure(status));
        }
        assert_eq!(failures.0.len(), KNOWN);
    }

    #[test]
    fn of_all_others_the_oldest_go() {
        let mut events = Events::default();
        let lost: u64 = (0..EVENTS as u16 + 10).map(|n| events.push(health(n))).sum();
        assert_eq!((lost, events.pop()), (10, Some(health(10))));
    }
}
