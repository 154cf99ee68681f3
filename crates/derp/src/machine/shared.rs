//! What the regions of one machine have in common: who logs in, chance, and what is to be done and told.

use std::collections::VecDeque;

use tidewire_keys::Drbg;
use tidewire_transport::RegionId;

use super::{
    around::{Around, Identity},
    driving::{Action, LinkId},
    events::Events,
    outbox::Outbox,
    report::{Counters, Event},
};
use crate::proxy::Proxies;

/// What all regions have in common.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) drbg: Drbg,
    pub(super) proxies: Proxies,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: Events,
    pub(super) counters: Counters,
    links: u64,
    /// Grows with each change that a status shows, counters not counted.
    pub(super) revision: u64,
    /// Links that ended during this call, whose routes are to be forgotten.
    pub(super) ended: Vec<LinkId>,
    /// An IPv6 stream opened since the network last changed.
    pub(super) ipv6_worked: bool,
}

impl Shared {
    pub(super) fn new(identity: Identity, drbg: Drbg, proxies: Proxies) -> Self {
        Self {
            identity,
            drbg,
            proxies,
            actions: VecDeque::new(),
            events: Events::default(),
            counters: Counters::default(),
            links: 0,
            revision: 1,
            ended: Vec::new(),
            ipv6_worked: false,
        }
    }

    /// What a link of the region with that queue needs.
    pub(super) const fn around<'a>(&'a mut self, outbox: &'a mut Outbox, home: bool) -> Around<'a> {
        Around { identity: &self.identity, drbg: &mut self.drbg, outbox, home }
    }

    /// Puts an event where it waits to be fetched.
    pub(super) fn tell(&mut self, event: Event) {
        // Who is not at a relay no status shows.
        self.revision += u64::from(!matches!(event, Event::PeerGone { .. }));
        self.counters.events_lost += self.events.push(event);
    }

    /// The name of another attempt at `region`.
    pub(super) const fn new_link(&mut self, region: RegionId) -> LinkId {
        self.links += 1;
        self.revision += 1;
        LinkId { region, number: self.links }
    }
}
