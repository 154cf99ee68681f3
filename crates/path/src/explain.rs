//! Why a peer is reached as it is, told as data and in words.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidewire_keys::{DiscoPublic, NodePublic, PeerId};
use tidewire_transport::{Hop, RegionId};

use crate::{
    candidate::Candidate,
    discovery::Discovery,
    local::Local,
    own::Own,
    peer::{Peer, Way},
    route::Route,
};

/// All that is known of the ways to a peer. Durations are ages, or times still to go, at the moment of asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// Which peer.
    pub peer: PeerId,
    /// Its node key.
    pub node: NodePublic,
    /// Its disco key; without one it is a plain WireGuard peer.
    pub disco: Option<DiscoPublic>,
    /// Where its packets go.
    pub route: Route,
    /// Why they go there.
    pub verdict: Verdict,
    /// Whether there was traffic with it lately, so that paths are looked for and kept.
    pub active: bool,
    /// Since traffic last went to it.
    pub sent: Option<Duration>,
    /// Since an authenticated packet last came from it.
    pub heard: Option<Duration>,
    /// The relay it is reached by without a direct path.
    pub relay: Option<RelayView>,
    /// The addresses it may have.
    pub candidates: Vec<CandidateView>,
    /// Since it was last told our addresses.
    pub called: Option<Duration>,
    /// Since it last told us its own.
    pub was_called: Option<Duration>,
    /// What this node knows of itself.
    pub own: OwnView,
}

/// Why packets go where they go. [`Display`](fmt::Display) says it in a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Without disco there is nothing to prove: where the peer was last heard, else what the map says.
    Plain,
    /// A direct path answers.
    Direct,
    /// A direct path answered until lately; it is used together with the relay.
    DirectOnTrial,
    /// No path is proven and there is no relay: an address is tried blindly, or the last one that answered.
    Unproven,
    /// By the relay.
    Relayed(WhyRelayed),
    /// No address, no relay.
    Unreachable,
}

/// Why there is no direct path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WhyRelayed {
    /// There was no traffic for a while, so none is looked for.
    Idle,
    /// No address of the peer is known: the map has none, and the peer told none.
    NoCandidates,
    /// Pings are on their way.
    Trying,
    /// No address answers. `nat_varies`: our own NAT gives each destination another mapping, which is often the reason.
    NoAnswer {
        /// Whether STUN servers saw different sources.
        nat_varies: bool,
    },
    /// The addresses that answer are barred, because data went unanswered there.
    Barred,
}

/// A relay, as far as path choice knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayView {
    /// Which site.
    pub region: RegionId,
    /// Whether there is a connection to it; `None` where nothing was ever reported.
    pub connected: Option<bool>,
    /// How long the last ping through it took, if one was ever answered.
    pub latency: Option<Duration>,
}

/// An address that a peer may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CandidateView {
    /// Where it leads.
    pub hop: Hop,
    /// Who named it.
    pub sources: Vec<Source>,
    /// Since it was last pinged.
    pub pinged: Option<Duration>,
    /// Since it last answered.
    pub answered: Option<Duration>,
    /// Pings since then.
    pub unanswered: u32,
    /// The least round trip time of the last few answers.
    pub latency: Option<Duration>,
    /// Why it is used, or not.
    pub state: CandidateState,
}

/// Where an address was learned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// The map.
    Map,
    /// The peer's last CallMeMaybe.
    CallMeMaybe,
    /// A ping came from there, this long ago.
    Ping(Duration),
    /// Authenticated data came from there, this long ago.
    Data(Duration),
}

/// Why an address is used, or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CandidateState {
    /// The peer's packets go there.
    InUse,
    /// It answers, and another one is better.
    Spare,
    /// It answered once, too long ago to rely on.
    Lapsed,
    /// Data went unanswered there: barred for so long yet.
    Barred(Duration),
    /// It was pinged, and an answer is still possible.
    Waiting,
    /// It was pinged and did not answer.
    NoAnswer,
    /// It was never pinged.
    Untried,
}

/// What a node knows of its own addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnView {
    /// Those that peers are told.
    pub addresses: Vec<SocketAddr>,
    /// The STUN servers, in the order in which they were given.
    pub servers: Vec<StunView>,
    /// Whether a NAT gives each destination another mapping, which makes direct paths rare. `None` until two servers at different IPv4
    /// addresses have answered.
    pub mapping_varies: Option<bool>,
}

/// What a STUN server said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StunView {
    /// The server.
    pub server: SocketAddr,
    /// The address it saw, and how long ago.
    pub saw: Option<(SocketAddr, Duration)>,
}

pub(crate) fn explain(peer: &Peer, local: &Local, now: Instant) -> Explanation {
    let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
    let route = peer.route(now);
    let discovery = peer.discovery();
    let candidates = match &peer.way {
        Way::Disco(discovery) => discovery.candidates.iter().map(|c| candidate(c, route, now)).collect(),
        Way::Plain(_) => plain_candidates(peer, route, now),
    };
    Explanation {
        peer: peer.id,
        node: peer.node,
        disco: peer.disco(),
        route,
        verdict: verdict(peer, &candidates, local, now),
        active: peer.is_active(now),
        sent: since(peer.sent),
        heard: since(peer.heard),
        relay: peer.region().map(|region| RelayView {
            region,
            connected: local.relays.get(&region).copied(),
            latency: discovery.and_then(|discovery| discovery.relay_latency),
        }),
        candidates,
        called: since(discovery.and_then(|discovery| discovery.calls.last)),
        was_called: since(discovery.and_then(|discovery| discovery.calls.last_heard)),
        own: own(&local.own, now),
    }
}

pub(crate) fn own(own: &Own, now: Instant) -> OwnView {
    let view = |(server, seen): (SocketAddr, Option<crate::own::Seen>)| StunView {
        server,
        saw: seen.map(|seen| (seen.addr, now.saturating_duration_since(seen.at))),
    };
    OwnView {
        addresses: own.addresses().to_vec(),
        servers: own.servers().map(view).collect(),
        mapping_varies: own.mapping_varies(),
    }
}

fn verdict(peer: &Peer, candidates: &[CandidateView], local: &Local, now: Instant) -> Verdict {
    let is_trusted = |discovery: &Discovery| discovery.is_trusted(now);
    match (peer.route(now), peer.discovery()) {
        (Route::None, _) => Verdict::Unreachable,
        (_, None) => Verdict::Plain,
        (Route::Both { .. }, _) => Verdict::DirectOnTrial,
        (Route::One(Hop::Derp { .. }), _) => Verdict::Relayed(why_relayed(peer, candidates, local, now)),
        (Route::One(_), Some(discovery)) if is_trusted(discovery) => Verdict::Direct,
        (Route::One(_), Some(_)) => Verdict::Unproven,
    }
}

fn why_relayed(peer: &Peer, candidates: &[CandidateView], local: &Local, now: Instant) -> WhyRelayed {
    let any = |is: fn(&CandidateState) -> bool| candidates.iter().any(|candidate| is(&candidate.state));
    match () {
        () if !peer.is_active(now) => WhyRelayed::Idle,
        () if candidates.is_empty() => WhyRelayed::NoCandidates,
        () if any(|state| matches!(state, CandidateState::Barred(_))) => WhyRelayed::Barred,
        () if any(|state| matches!(state, CandidateState::Lapsed | CandidateState::NoAnswer)) => {
            WhyRelayed::NoAnswer { nat_varies: local.own.mapping_varies() == Some(true) }
        }
        () => WhyRelayed::Trying,
    }
}

fn candidate(candidate: &Candidate, route: Route, now: Instant) -> CandidateView {
    let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
    let learned = candidate.learned;
    let sources = [
        learned.map.then_some(Source::Map),
        learned.call.then_some(Source::CallMeMaybe),
        since(learned.ping).map(Source::Ping),
        since(learned.data).map(Source::Data),
    ];
    let state = match () {
        () if route.hop() == Some(candidate.hop()) => CandidateState::InUse,
        () if let Some(until) = candidate.barred_until(now) => CandidateState::Barred(until - now),
        () if candidate.is_proven(now) => CandidateState::Spare,
        () if candidate.last_ping.is_none() => CandidateState::Untried,
        () if candidate.last_pong.is_some() => CandidateState::Lapsed,
        () if candidate.unanswered <= 1 && candidate.is_awaited(now) => CandidateState::Waiting,
        () => CandidateState::NoAnswer,
    };
    CandidateView {
        hop: candidate.hop(),
        sources: sources.into_iter().flatten().collect(),
        pinged: since(candidate.last_ping),
        answered: since(candidate.last_pong),
        unanswered: candidate.unanswered,
        latency: candidate.latency(),
        state,
    }
}

/// The addresses of a plain WireGuard peer: those of the map, and where it was heard.
fn plain_candidates(peer: &Peer, route: Route, now: Instant) -> Vec<CandidateView> {
    let listed = peer.listed.iter().map(|addr| Hop::Udp(*addr));
    let roamed = route.hop().filter(|hop| !hop.is_derp() && !listed.clone().any(|other| other == *hop));
    let view = |hop: Hop| {
        let is_used = route.hop() == Some(hop);
        let heard = peer.heard.filter(|_| is_used).map(|at| Source::Data(now.saturating_duration_since(at)));
        CandidateView {
            hop,
            sources: (roamed != Some(hop)).then_some(Source::Map).into_iter().chain(heard).collect(),
            pinged: None,
            answered: None,
            unanswered: 0,
            latency: None,
            state: if is_used { CandidateState::InUse } else { CandidateState::Untried },
        }
    };
    listed.clone().chain(roamed).map(view).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain WireGuard: where the peer was last heard, else where the map says",
            Self::Direct => "a direct path answers probes",
            Self::DirectOnTrial => "a direct path answered until lately; used together with the relay",
            Self::Unproven => "no path is proven and there is no relay to fall back to",
            Self::Unreachable => "neither an address nor a relay is known",
            Self::Relayed(why) => return write!(f, "relayed: {why}"),
        })
    }
}

impl fmt::Display for WhyRelayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "no traffic for a while, so no direct path is looked for",
            Self::NoCandidates => "no address of the peer is known",
            Self::Trying => "probes are on their way",
            Self::NoAnswer { nat_varies: false } => "no address of the peer answers",
            Self::NoAnswer { nat_varies: true } => {
                "no address of the peer answers, and our NAT gives each destination another mapping"
            }
            Self::Barred => "the address that answers probes left data unanswered",
        })
    }
}
