//! Who is here under which key: which of its connections receives, and who has to hear when it leaves.

use std::collections::BTreeMap;

use tidewire_keys::NodePublic;

use super::ClientId;

/// Most receivers of one sender that are remembered; the one that first heard from it longest ago is forgotten for another,
/// and does not hear of its end.
const RECEIVERS: usize = 4096;

/// The keys that are logged in.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: BTreeMap<NodePublic, Member>,
    epoch: u64,
}

#[derive(Debug)]
struct Member {
    /// The connection that receives: the last one that logged in or sent.
    active: ClientId,
    /// The others, the one that sent last at the end.
    others: Vec<ClientId>,
    /// The connections that got a packet from this key, in order, and how many had before.
    seen_by: Vec<(ClientId, u32)>,
    seen: u32,
}

/// What is left when a connection has gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Other connections with the same key.
    Others,
    /// None. These had got packets from it.
    Nobody {
        /// Some may have gone themselves.
        seen_by: Vec<ClientId>,
    },
}

impl Roster {
    /// How many keys are here.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Changes whenever what [`active`](Self::active) says may have changed.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The connection that receives for `key`.
    pub(crate) fn active(&self, key: &NodePublic) -> Option<ClientId> {
        self.members.get(key).map(|member| member.active)
    }

    /// A connection logs in, and receives from here on.
    pub(crate) fn join(&mut self, key: NodePublic, id: ClientId) {
        self.epoch += 1;
        let Some(member) = self.members.get_mut(&key) else {
            self.members.insert(key, Member { active: id, others: Vec::new(), seen_by: Vec::new(), seen: 0 });
            return;
        };
        member.others.push(member.active);
        member.active = id;
    }

    /// A connection with that key wrote something: from here on it receives.
    pub(crate) fn wrote(&mut self, key: &NodePublic, id: ClientId) {
        let Some(member) = self.members.get_mut(key).filter(|member| member.active != id) else { return };
        member.others.retain(|&other| other != id);
        member.others.push(member.active);
        member.active = id;
        self.epoch += 1;
    }

    /// `receiver` got a packet from `key`. `is_here` tells which connections live, for those that left to be forgotten.
    pub(crate) fn seen(&mut self, key: &NodePublic, receiver: ClientId, is_here: impl Fn(ClientId) -> bool) {
        let Some(Member { seen_by, seen, .. }) = self.members.get_mut(key) else { return };
        let Err(mut at) = seen_by.binary_search_by_key(&receiver, |(id, _)| *id) else { return };
        if seen_by.len() == seen_by.capacity() {
            seen_by.retain(|&(id, _)| is_here(id));
            if seen_by.len() >= RECEIVERS {
                // The number wraps, and ages are differences.
                let oldest = (0..seen_by.len()).max_by_key(|&at| seen.wrapping_sub(seen_by[at].1));
                oldest.map(|at| seen_by.remove(at));
            }
            at = seen_by.partition_point(|(id, _)| *id < receiver);
        }
        seen_by.insert(at, (receiver, *seen));
        *seen = seen.wrapping_add(1);
    }

    /// A connection has gone; `None` if it was not here.
    pub(crate) fn leave(&mut self, key: &NodePublic, id: ClientId) -> Option<Left> {
        self.epoch += 1;
        let member = self.members.get_mut(key)?;
        if member.active != id {
            member.others.retain(|&other| other != id);
            return Some(Left::Others);
        }
        if let Some(next) = member.others.pop() {
            member.active = next;
            return Some(Left::Others);
        }
        let member = self.members.remove(key)?;
        Some(Left::Nobody { seen_by: member.seen_by.into_iter().map(|(id, _)| id).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodePublic {
        NodePublic::from_bytes([byte; 32])
    }

    fn id(index: u32) -> ClientId {
        ClientId { index, generation: 0 }
    }

    fn three() -> Roster {
        let mut roster = Roster::default();
        for index in 1..=3 {
            roster.join(key(1), id(index));
        }
        roster
    }

    #[test]
    fn the_newest_login_receives_and_the_last_writer_takes_over() {
        let mut roster = three();
        assert_eq!(roster.active(&key(1)), Some(id(3)));
        let epoch = roster.epoch();
        roster.wrote(&key(1), id(3));
        assert_eq!(roster.epoch(), epoch, "nothing changed");
        roster.wrote(&key(1), id(1));
        assert_eq!(roster.active(&key(1)), Some(id(1)));
        assert_ne!(roster.epoch(), epoch);
        assert_eq!(roster.leave(&key(1), id(1)), Some(Left::Others));
        assert_eq!(roster.active(&key(1)), Some(id(3)), "it wrote after 2 did");
        assert_eq!(roster.leave(&key(1), id(2)), Some(Left::Others));
        assert_eq!(roster.leave(&key(1), id(3)), Some(Left::Nobody { seen_by: vec![] }));
        assert_eq!(roster.leave(&key(1), id(3)), None);
        assert_eq!(roster.len(), 0);
    }

    #[test]
    fn each_receiver_is_noted_once() {
        let mut roster = three();
        for receiver in [9, 7, 8, 7, 9] {
            roster.seen(&key(1), id(receiver), |_| true);
        }
        roster.seen(&key(2), id(5), |_| true);
        roster.leave(&key(1), id(1));
        roster.leave(&key(1), id(2));
        assert_eq!(roster.leave(&key(1), id(3)), Some(Left::Nobody { seen_by: vec![id(7), id(8), id(9)] }));
    }

    #[test]
    fn receivers_that_left_do_not_pile_up() {
        let mut roster = three();
        for receiver in 0..10_000 {
            roster.seen(&key(1), id(receiver), |other| other.index + 5 > receiver);
        }
        let member = &roster.members[&key(1)];
        assert!(member.seen_by.capacity() < 64, "{}", member.seen_by.capacity());
        assert!(member.seen_by.is_sorted_by_key(|(id, _)| *id));
    }

    #[test]
    fn a_bounded_number_of_receivers_is_remembered_and_the_oldest_forgotten() {
        let mut roster = three();
        let most = u32::try_from(RECEIVERS).unwrap();
        // The first come last in the order of their numbers.
        for receiver in (0..2 * most).rev() {
            roster.seen(&key(1), id(receiver), |_| true);
        }
        let member = &roster.members[&key(1)];
        assert_eq!(member.seen_by.capacity(), RECEIVERS);
        let ids: Vec<_> = member.seen_by.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (0..most).map(id).collect::<Vec<_>>());
    }
}
