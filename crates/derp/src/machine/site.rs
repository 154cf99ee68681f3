//! One region: when it is to be connected to, what a failure leads to, and what waits for it.

use std::time::{Duration, Instant};

use tidewire_keys::NodePublic;

use super::{
    Action, Dial, LinkId, Opened, Why,
    around::{Broken, Heard, say},
    attempts::Attempts,
    ladder::{Rung, refusal},
    limits::{AGE, AGE_CONNECTING, IDLE, IPV6_HEAD_START, RESTART_MAX, STABLE},
    link::Link,
    outbox::Outbox,
    report::{Discard, DownReason, Event, Failure, LinkState, RegionStatus, Seen, Step},
    shared::Shared,
};
use crate::{
    frame::Frame,
    region::{Region, RegionNode},
};

/// What the machine keeps for one region of the map.
pub(super) struct Site {
    pub(super) region: Region,
    pub(super) outbox: Outbox,
    pub(super) link: Option<Link>,
    /// To be connected always, as our home is.
    pub(super) kept: bool,
    home: bool,
    attempts: Attempts,
    /// When the last packet was put in.
    sent: Option<Instant>,
    /// What the relay says is wrong with the connection that there is.
    problem: Option<String>,
    last_failure: Option<Failure>,
}

impl Site {
    pub(super) fn new(region: Region, rungs: &'static [Rung]) -> Self {
        Self {
            region,
            outbox: Outbox::new(),
            link: None,
            kept: false,
            home: false,
            attempts: Attempts::new(rungs),
            sent: None,
            problem: None,
            last_failure: None,
        }
    }

    /// The attempt or connection, if it is this very one.
    pub(super) fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id == id)
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.up_since().is_some())
    }

    /// Puts a packet in.
    pub(super) fn push(&mut self, now: Instant, to: NodePublic, packet: &[u8], shared: &mut Shared) {
        let pushed = self.outbox.push(now, to, packet);
        shared.counters.discards.add(Discard::QueueFull, pushed.dropped);
        shared.counters.discards.add(Discard::TooLong, u64::from(pushed.too_long));
        self.sent = Some(now);
    }

    /// Begins an attempt if one is due.
    pub(super) fn poke(&mut self, now: Instant, shared: &mut Shared) {
        if self.link.is_some() || !self.is_wanted(now) || now < self.attempts.due_at(now) {
            return;
        }
        let next = self.attempts.next(now, &self.region);
        let found = next.and_then(|(at, ends)| Some((at, ends, self.region.nodes.get(at)?)));
        let Some((at, ends, node)) = found else { return self.no_node(shared) };
        let through_proxy =
            |node: &RegionNode| shared.proxies.proxy_for(&node.host_name, node.derp_port).cloned();
        let proxy = if node.plain { None } else { through_proxy(node) };
        let link = shared.new_link(self.region.id);
        self.link = Some(Link::dialing(now, link, at, proxy.is_some(), ends));
        let ipv6_head_start = if shared.ipv6_worked { IPV6_HEAD_START } else { Duration::ZERO };
        let node = node.clone();
        shared.actions.push_back(Action::Dial(Dial { link, node, proxy, ipv6_head_start }));
    }

    /// The shell opened a stream.
    pub(super) fn opened(&mut self, now: Instant, opened: &Opened, shared: &mut Shared) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_dialing()) else { return };
        link.network = opened.network;
        let rung = self.attempts.ladder.rung(now, opened.network, opened.relay_key.is_some());
        let around = shared.around(&mut self.outbox, self.home);
        link.open(now, rung, opened.relay_key, &self.region, around);
        if rung == Rung::WebSocket {
            let node = self.region.nodes.get(link.node).cloned();
            shared.actions.extend(node.map(|node| Action::WebSocket { link: link.id, node }));
        }
        if let Some(alpn) = &opened.alpn
            && alpn != b"http/1.1"
        {
            let alpn = String::from_utf8_lossy(alpn).into_owned();
            self.fail(now, (Step::Upgrade, Seen::Alpn(alpn)), shared);
        }
    }

    /// Bytes arrived on the stream.
    pub(super) fn received(
        &mut self,
        now: Instant,
        input: &[u8],
        shared: &mut Shared,
        heard: impl FnMut(Heard<'_>),
    ) -> Result<(), Broken> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let around = shared.around(&mut self.outbox, self.home);
        link.received(now, input, around, heard)
    }

    /// The relay answered our login.
    pub(super) fn admitted(&mut self, now: Instant, shared: &mut Shared) {
        let Some(link) = &self.link else { return };
        let Some(rung) = link.rung else { return };
        self.attempts.ladder.worked(now, link.network, rung);
        self.attempts.succeeded();
        shared.counters.logins += 1;
        let node = self.node_name(link.node);
        shared.tell(Event::Up { region: self.region.id, node, rung, proxied: link.proxied });
    }

    pub(super) fn health(&mut self, problem: Option<String>, shared: &mut Shared) {
        if self.problem != problem {
            self.problem.clone_from(&problem);
            shared.tell(Event::Health { region: self.region.id, problem });
        }
    }

    /// The relay says that it is about to restart. Where the region has another one, that is next; else the next round waits for
    /// as long as it asks, within reason.
    pub(super) fn restarting(
        &mut self,
        now: Instant,
        reconnect_in: Duration,
        try_for: Duration,
        shared: &mut Shared,
    ) {
        match &self.link {
            Some(link) if self.derp_nodes() > 1 => self.attempts.begin_behind(link.node),
            _ => {
                // Room for the spread is kept, or all who are told the longest would come back together.
                let wait = reconnect_in.min(RESTART_MAX * 4 / 5);
                let spread = shared.drbg.below(u64::try_from(wait.as_millis()).unwrap_or(0) / 4 + 1);
                self.attempts.hold_until(now + wait + Duration::from_millis(spread));
            }
        }
        shared.tell(Event::Restarting { region: self.region.id, reconnect_in, try_for });
    }

    /// The attempt or the connection ended.
    pub(super) fn fail(&mut self, now: Instant, (step, seen): Broken, shared: &mut Shared) {
        let Some(link) = self.end_link(shared) else { return };
        let refused = link.rung.zip(refusal(step, &seen));
        let failure = Failure {
            region: self.region.id,
            node: self.node_name(link.node),
            rung: link.rung,
            proxied: link.proxied,
            step,
            seen,
        };
        self.last_failure = Some(failure.clone());
        if let Some(since) = link.up_since() {
            shared.tell(Event::Down { region: self.region.id, why: DownReason::Failed(failure) });
            if now.saturating_duration_since(since) >= STABLE {
                self.attempts.was_stable();
            }
            self.attempts.wait(now, &mut shared.drbg);
        } else {
            shared.counters.failures += 1;
            shared.tell(Event::Failed(failure));
            self.attempts.failed(now, link.node, refused, &mut shared.drbg);
        }
        self.poke(now, shared);
    }

    /// Ends what there is because of a change of the map, and forgets the packets.
    pub(super) fn leave(&mut self, shared: &mut Shared) {
        let was_up = self.is_up();
        self.end_link(shared);
        if was_up {
            shared.tell(Event::Down { region: self.region.id, why: DownReason::Map });
        }
        shared.counters.discards.add(Discard::Map, self.outbox.clear());
    }

    /// The local network is another one.
    pub(super) fn network_changed(&mut self, now: Instant, shared: &mut Shared) {
        self.attempts.start_over();
        if let Some(link) = self.link.as_mut().filter(|link| link.up_since().is_some()) {
            let around = shared.around(&mut self.outbox, self.home);
            link.ask_after_change(now, around);
        } else {
            self.end_link(shared);
            self.poke(now, shared);
        }
    }

    /// It is our home now, or no more.
    pub(super) fn set_home(&mut self, now: Instant, home: bool) {
        if self.home == home {
            return;
        }
        self.home = home;
        self.sent = self.sent.or(Some(now));
        if self.link.as_ref().is_some_and(Link::is_past_login) {
            say(&Frame::NotePreferred(home), &mut self.outbox);
        }
    }

    /// Everything that time brings.
    pub(super) fn process_events(&mut self, now: Instant, shared: &mut Shared) {
        let age = self.age();
        shared.counters.discards.add(Discard::Old, self.outbox.expire(now, age));
        if let Some(link) = &mut self.link {
            let around = shared.around(&mut self.outbox, self.home);
            if let Err(broken) = link.check(now, around) {
                self.fail(now, broken, shared);
            }
        }
        if self.idle_at().is_some_and(|at| now >= at) {
            self.end_link(shared);
            shared.tell(Event::Down { region: self.region.id, why: DownReason::Idle });
        }
        self.poke(now, shared);
    }

    /// When [`process_events`](Self::process_events) has something to do, at the earliest, and why.
    pub(super) fn next_event(&self, now: Instant) -> Option<(Instant, Why)> {
        let mut next = self.outbox.oldest().map(|at| (at + self.age(), Why::Age));
        let mut also = |at: Option<Instant>, why| {
            let sooner = at.filter(|at| next.is_none_or(|(first, _)| *at < first));
            next = sooner.map(|at| (at, why)).or(next);
        };
        match &self.link {
            None if self.is_wanted(now) && self.derp_nodes() > 0 => {
                also(Some(self.attempts.due_at(now)), Why::Reconnect)
            }
            None => {}
            Some(link) => {
                let why = if link.up_since().is_some() { Why::Liveness } else { Why::Connecting };
                also(Some(link.next_check()), why);
                also(link.allowed_at(now, self.outbox.next_frame_len()), Why::Allowance);
                also(self.idle_at(), Why::Idle);
            }
        }
        next
    }

    pub(super) fn status(&self, now: Instant) -> Option<RegionStatus> {
        let link = self.link.as_ref();
        let state = match link {
            None if !self.is_wanted(now) => LinkState::Idle,
            None => LinkState::Waiting(self.attempts.due_at(now)),
            Some(link) => link.up_since().map_or(LinkState::Connecting, LinkState::Up),
        };
        if state == LinkState::Idle && self.last_failure.is_none() {
            return None;
        }
        Some(RegionStatus {
            region: self.region.id,
            code: self.region.code.clone(),
            state,
            node: link.map(|link| self.node_name(link.node)),
            rung: link.and_then(|link| link.rung),
            proxied: link.is_some_and(|link| link.proxied),
            rtt: link.and_then(|link| link.rtt()),
            problem: self.problem.clone(),
            last_failure: self.last_failure.clone(),
        })
    }

    /// Home and kept regions always; others while something was sent in the last minute.
    fn is_wanted(&self, now: Instant) -> bool {
        self.home || self.kept || self.sent.is_some_and(|at| now < at + IDLE)
    }

    fn derp_nodes(&self) -> usize {
        self.region.nodes.iter().filter(|node| !node.stun_only).count()
    }

    fn idle_at(&self) -> Option<Instant> {
        let since = self.link.as_ref()?.up_since()?;
        let used = self.sent.map_or(since, |sent| sent.max(since));
        (!self.home && !self.kept).then_some(used + IDLE)
    }

    fn age(&self) -> Duration {
        if self.is_up() { AGE } else { AGE_CONNECTING }
    }

    /// Nothing but another map can change it, so it is told once, and nobody wakes for it.
    fn no_node(&mut self, shared: &mut Shared) {
        if self.last_failure.is_none() {
            let (region, node, rung) = (self.region.id, String::new(), None);
            let failure =
                Failure { region, node, rung, proxied: false, step: Step::Resolve, seen: Seen::NoNode };
            shared.counters.failures += 1;
            shared.tell(Event::Failed(failure.clone()));
            self.last_failure = Some(failure);
        }
    }

    /// Tells the shell to drop the stream, and forgets what belonged to it.
    fn end_link(&mut self, shared: &mut Shared) -> Option<Link> {
        let link = self.link.take()?;
        shared.actions.push_back(Action::Close(link.id));
        shared.ended.push(link.id);
        shared.revision += 1;
        shared.counters.discards.add(Discard::Cut, self.outbox.restart());
        self.problem = None;
        Some(link)
    }

    fn node_name(&self, node: usize) -> String {
        let name =
            |node: &RegionNode| if node.name.is_empty() { &node.host_name } else { &node.name }.clone();
        self.region.nodes.get(node).map(name).unwrap_or_default()
    }
}
