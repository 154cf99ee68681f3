//! What is asked beside the requests of the plan: relays over HTTP, one about a captive portal, and our own router about hairpinning.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use tidewire_derp::{Region, RegionId, RegionNode, Regions};
use tidewire_keys::Drbg;

use crate::{
    check::NodeId,
    limits::{HTTPS_AT_ONCE, PORTAL_DELAY},
    plan::Extent,
};

/// The regions that are asked by HTTPS, some at a time.
#[derive(Default, Debug)]
pub(crate) struct Https {
    waiting: VecDeque<NodeId>,
    asked: BTreeSet<NodeId>,
}

/// The one question whether there is a captive portal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Portal {
    /// Not to be asked.
    Off,
    /// To be asked at this time, if STUN is not answered before; `always`: even then.
    At {
        at: Instant,
        node: NodeId,
        always: bool,
    },
    Asked,
    /// Whether something else answered; `None`: nobody did.
    Done(Option<bool>),
}

impl Https {
    /// Asks a region too, at its first node that serves HTTPS.
    pub(crate) fn add(&mut self, region: &Region) {
        self.waiting.extend(serving(region, 0));
    }

    /// The next one to ask, if there is one and not too many are asked already.
    pub(crate) fn next(&mut self) -> Option<NodeId> {
        if self.asked.len() >= HTTPS_AT_ONCE {
            return None;
        }
        let node = self.waiting.pop_front()?;
        self.asked.insert(node);
        Some(node)
    }

    /// Whether an answer for this node is waited for. From here on not any more.
    pub(crate) fn take(&mut self, node: NodeId) -> bool {
        self.asked.remove(&node)
    }

    /// A node failed: the region's next one is asked.
    pub(crate) fn failed(&mut self, node: NodeId, map: &Regions) {
        self.waiting.extend(map.get(node.region).and_then(|region| serving(region, node.index + 1)));
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }
}

/// The first node from `from` on that serves HTTPS.
fn serving(region: &Region, from: usize) -> Option<NodeId> {
    let mut nodes = region.nodes.iter().enumerate().skip(from);
    let (index, _) = nodes.find(|(_, node)| !node.stun_only)?;
    Some(NodeId { region: region.id, index })
}

impl Portal {
    /// Where to ask, of the regions that are looked at: the home, else any, so that not everybody asks the same relay.
    pub(crate) fn new(
        start: Instant,
        map: &Regions,
        asked: &BTreeSet<RegionId>,
        home: Option<RegionId>,
        extent: Extent<'_>,
        drbg: &mut Drbg,
    ) -> Self {
        let (at, always) = match extent {
            Extent::Everything => (start, true),
            Extent::Full => (start + PORTAL_DELAY, false),
            Extent::Incremental(_) => return Self::Off,
        };
        let nodes = |region: &RegionId| {
            let region = map.get(*region)?;
            let index = region.nodes.iter().position(answers_plainly)?;
            Some(NodeId { region: region.id, index })
        };
        let all: Vec<NodeId> = asked.iter().filter_map(nodes).collect();
        let at_home = all.iter().find(|node| Some(node.region) == home);
        let any = || all.get(usize::try_from(drbg.below(all.len().max(1) as u64)).unwrap_or(0));
        match at_home.or_else(any) {
            Some(node) => Self::At { at, node: *node, always },
            None => Self::Off,
        }
    }

    /// Whom to ask, if it is time.
    pub(crate) fn next(&mut self, now: Instant, has_udp: bool) -> Option<NodeId> {
        let Self::At { at, node, always } = *self else { return None };
        if has_udp && !always {
            *self = Self::Off;
        }
        if now < at || (has_udp && !always) {
            return None;
        }
        *self = Self::Asked;
        Some(node)
    }

    pub(crate) fn answered(&mut self, is_relay: Option<bool>) {
        if matches!(self, Self::Asked) {
            *self = Self::Done(is_relay.map(|is_relay| !is_relay));
        }
    }

    pub(crate) const fn found(&self) -> Option<bool> {
        if let Self::Done(found) = self { *found } else { None }
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        if let Self::At { at, .. } = self { Some(*at) } else { None }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Off | Self::Done(_))
    }
}

/// Whether it answers plain HTTP, where a portal could answer instead.
fn answers_plainly(node: &RegionNode) -> bool {
    !node.stun_only && (node.can_port_80 || node.plain)
}

/// What our own router does with what we send to ourselves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hairpin {
    /// Not to be tried.
    Off,
    /// To be tried as soon as our global address is known.
    Wanted,
    /// Sent with this number.
    Sent {
        tx: tidewire_stun::TxId,
        until: Instant,
    },
    Done(bool),
}

impl Hairpin {
    pub(crate) const fn new(extent: Extent<'_>) -> Self {
        match extent {
            Extent::Everything | Extent::Full => Self::Wanted,
            Extent::Incremental(_) => Self::Off,
        }
    }

    /// It is sent with this number, and has so long to come back.
    pub(crate) fn start(&mut self, now: Instant, tx: tidewire_stun::TxId, time: Duration) {
        *self = Self::Sent { tx, until: now + time };
    }

    /// A request arrived at our own socket. Whether it is ours.
    pub(crate) fn arrived(&mut self, datagram: &[u8]) -> bool {
        let Self::Sent { tx, .. } = *self else { return false };
        let is_ours = tidewire_stun::parse_request(datagram) == Ok(tx);
        if is_ours {
            *self = Self::Done(true);
        }
        is_ours
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        if self.due().is_some_and(|until| now >= until) {
            *self = Self::Done(false);
        }
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        if let Self::Sent { until, .. } = self { Some(*until) } else { None }
    }

    pub(crate) const fn found(&self) -> Option<bool> {
        if let Self::Done(found) = self { Some(*found) } else { None }
    }
}
