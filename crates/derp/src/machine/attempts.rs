//! Which attempt at a region is next: over its nodes in order, down the ladder, and another round after a wait.

use std::{collections::VecDeque, time::Instant};

use tidewire_keys::Drbg;

use super::{
    backoff::Backoff,
    ladder::{Ladder, Refusal, Rung},
    limits::ROUND,
};
use crate::region::Region;

/// The attempts at one region, which never end for good.
#[derive(Debug)]
pub(super) struct Attempts {
    pub(super) ladder: Ladder,
    backoff: Backoff,
    round: Option<Round>,
    /// No new round before this.
    not_before: Option<Instant>,
    /// Which node the next round begins with.
    first_node: usize,
}

/// One pass over the nodes of a region.
#[derive(Debug)]
struct Round {
    ends: Instant,
    /// Nodes that are left; the front one is being tried.
    nodes: VecDeque<usize>,
}

impl Attempts {
    pub(super) const fn new(rungs: &'static [Rung]) -> Self {
        Self {
            ladder: Ladder::new(rungs),
            backoff: Backoff::new(),
            round: None,
            not_before: None,
            first_node: 0,
        }
    }

    /// Since or from when an attempt may begin.
    pub(super) fn due_at(&self, now: Instant) -> Instant {
        self.not_before.unwrap_or(now)
    }

    /// The node to be tried now, and when the round ends that it belongs to; `None` if no node serves DERP.
    pub(super) fn next(&mut self, now: Instant, region: &Region) -> Option<(usize, Instant)> {
        self.not_before = None;
        let Self { ladder, round, first_node, .. } = self;
        let round = round.get_or_insert_with(|| {
            ladder.start_over();
            Round { ends: now + ROUND, nodes: nodes_in_order(region, *first_node) }
        });
        round.nodes.front().map(|node| (*node, round.ends))
    }

    /// The attempt at `node` led to a login.
    pub(super) fn succeeded(&mut self) {
        self.round = None;
        self.first_node = 0;
    }

    /// The attempt at `node` failed; `refused` is the rung that was refused, if that was it. What follows: the same node by another
    /// rung, or the next node, or another round after a wait.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        node: usize,
        refused: Option<(Rung, Refusal)>,
        drbg: &mut Drbg,
    ) {
        let other_rung = refused.is_some_and(|(rung, refusal)| self.ladder.refuse(rung, refusal));
        let Some(round) = &mut self.round else { return self.wait(now, drbg) };
        if other_rung {
            // On a slow network the time of one round is not enough for all rungs, and the lowest would never have its turn.
            round.ends = now + ROUND;
            return;
        }
        round.nodes.pop_front();
        self.ladder.start_over();
        if now < round.ends && !round.nodes.is_empty() {
            return;
        }
        // Where one node used up all the time, the next round begins behind it: else those behind it would never have a turn.
        self.first_node = if now < round.ends { 0 } else { node + 1 };
        self.wait(now, drbg);
    }

    /// The round is over; the next one begins after a wait, and not before what was asked for.
    pub(super) fn wait(&mut self, now: Instant, drbg: &mut Drbg) {
        self.round = None;
        let next = now + self.backoff.next(drbg);
        self.not_before = Some(self.not_before.map_or(next, |at| at.max(next)));
    }

    /// Someone asked not to be tried before this.
    pub(super) const fn hold_until(&mut self, at: Instant) {
        self.not_before = Some(at);
    }

    /// The node is about to go: the next round begins with the one behind it.
    pub(super) const fn begin_behind(&mut self, node: usize) {
        self.first_node = node + 1;
    }

    /// A connection was stable: the next wait is a short one again.
    pub(super) const fn was_stable(&mut self) {
        self.backoff.reset();
    }

    /// Everything may be different now: begins anew at once.
    pub(super) fn start_over(&mut self) {
        self.backoff.reset();
        self.round = None;
        self.not_before = None;
        self.first_node = 0;
    }
}

/// The nodes that serve DERP, beginning with `first`, or with the one at the start if there is no such node.
fn nodes_in_order(region: &Region, first: usize) -> VecDeque<usize> {
    let serves = |node: &usize| region.nodes.get(*node).is_some_and(|node| !node.stun_only);
    let count = region.nodes.len();
    let first = if first < count { first } else { 0 };
    (first..count).chain(0..first).filter(serves).collect()
}
