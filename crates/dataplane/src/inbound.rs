//! The way in: from datagrams of any kind to packets for an overlay.

use std::time::Instant;

use tidewire_keys::PeerId;
use tidewire_packet::{Batch, Class, IpHeader, Plain, Wire, protocol};
use tidewire_packet_ident::{Kind, Message, geneve, identify};
use tidewire_transport::{Hop, OverlayId, Run, ToOverlay, Vni};
use tidewire_tunnel::Opened;

use crate::{DataPlane, Out, counters::MessageKind, discard::Reason, routes::Owner, source};

impl DataPlane {
    pub(crate) fn inbound(&mut self, now: Instant, mut batch: Batch<Wire>, runs: &[Run], out: &mut Out) {
        self.sort(now, &mut batch, runs);
        if !batch.is_empty() {
            let mut opened = std::mem::take(&mut self.scratch.opened);
            opened.clear();
            let plain = self.tunnel.open(now, batch, &mut opened, &mut self.scratch.tunnel);
            self.note_arrivals(now, &opened);
            self.deliver(plain, &opened, out);
            self.scratch.opened = opened;
        }
        self.drain_tunnel(now, out);
        self.drain_paths(out);
    }

    /// Leaves in `batch` the WireGuard data messages, naked, with `arrivals` saying where they came from. All others go
    /// to their rooms.
    fn sort(&mut self, now: Instant, batch: &mut Batch<Wire>, runs: &[Run]) {
        self.scratch.arrivals.clear();
        let mut runs = runs.iter();
        let mut run: Option<&Run> = None;
        let mut kept = 0;
        batch.retain(|i, datagram| {
            while run.is_none_or(|run| i >= run.range().end) {
                let Some(next) = runs.next() else { break };
                self.counters.receive(&next.hop, next.count as usize, 0);
                run = Some(next);
            }
            let Some(run) = run.filter(|run| run.range().contains(&i)) else {
                self.counters.discard(Reason::Unknown, 1);
                return false;
            };
            self.counters.receive(&run.hop, 0, datagram.len());
            let is_data = self.sort_one(now, run.hop, datagram, kept);
            kept += u32::from(is_data);
            is_data
        });
        for number in self.scratch.geneve.drain(..) {
            batch.advance(number, geneve::LEN);
        }
    }

    /// Takes one datagram to its room, unless it is data: then it is number `kept` of those that stay.
    #[inline]
    fn sort_one(&mut self, now: Instant, arrived: Hop, datagram: &mut [u8], kept: u32) -> bool {
        let ident = identify(datagram);
        let hop = match hop_of(arrived, ident.geneve) {
            Ok(hop) => hop,
            Err(reason) => {
                self.counters.discard(reason, 1);
                return false;
            }
        };
        let payload = ident.payload();
        match ident.kind {
            Kind::WireGuard(Message::Data) => {
                self.counters.message(MessageKind::Data);
                if self.scratch.arrivals.last().is_none_or(|(_, last)| *last != hop) {
                    self.scratch.arrivals.push((kept, hop));
                }
                if ident.geneve.is_some() {
                    self.scratch.geneve.push(kept as usize);
                }
                return true;
            }
            Kind::WireGuard(message) => {
                self.counters.message(message.into());
                let source = source::encode(&hop);
                self.tunnel.handshake(now, source, &datagram[payload], &mut self.scratch.tunnel);
            }
            Kind::Disco => {
                self.counters.message(MessageKind::Disco);
                let control = ident.geneve.is_some_and(|header| header.control());
                self.paths.disco(now, hop, control, &mut datagram[payload], &mut self.scratch.path);
            }
            Kind::Stun if arrived.is_derp() => self.counters.discard(Reason::NotOverRelay, 1),
            Kind::Stun => {
                self.counters.message(MessageKind::Stun);
                self.paths.stun(now, hop, datagram, &mut self.scratch.path);
            }
            Kind::Unknown(reason) => self.counters.discard(Reason::of_ident(reason), 1),
        }
        false
    }

    /// Tells the paths who was heard by which hop, once for each stretch of datagrams.
    fn note_arrivals(&mut self, now: Instant, opened: &[Opened]) {
        let mut arrivals = self.scratch.arrivals.iter().peekable();
        let mut hop = None;
        let mut told: Option<(PeerId, Hop)> = None;
        for Opened { peer, datagram } in opened {
            while let Some((_, next)) = arrivals.next_if(|(first, _)| first <= datagram) {
                hop = Some(*next);
            }
            let Some(hop) = hop else { continue };
            if told != Some((*peer, hop)) {
                self.paths.heard(now, *peer, hop);
                told = Some((*peer, hop));
            }
        }
    }

    /// Checks each opened packet (is it IP, is the source the peer's own, may it in, for whom is it) and passes it on.
    fn deliver(&mut self, mut plain: Batch<Plain>, opened: &[Opened], out: &mut Out) {
        let mut overlays = std::mem::take(&mut self.scratch.overlays);
        overlays.clear();
        for (i, Opened { peer, .. }) in opened.iter().enumerate() {
            let packet = plain.get(i).unwrap_or_default();
            let verdict = if packet.is_empty() { Ok(None) } else { self.judge(*peer, packet).map(Some) };
            overlays.push(match verdict {
                Ok(Some((overlay, len))) => {
                    plain.trim(i, len);
                    Some(overlay)
                }
                Ok(None) => None,
                Err(reason) => {
                    self.counters.discard(reason, 1);
                    None
                }
            });
        }
        self.hand_over(plain, &overlays, out);
        self.scratch.overlays = overlays;
    }

    /// To which overlay a packet of this peer goes, and its true length.
    #[inline]
    fn judge(&self, peer: PeerId, packet: &[u8]) -> Result<(OverlayId, usize), Reason> {
        let header = IpHeader::parse(packet).map_err(Reason::of_ip)?;
        if self.routes.lookup(header.source()) != Some(Owner::Peer(peer)) {
            return Err(Reason::Spoofed);
        }
        if header.protocol() == protocol::TSMP {
            return Err(Reason::Tsmp);
        }
        if !self.filter.allows(&header) {
            return Err(Reason::Filtered);
        }
        let owner = self.routes.lookup(header.destination());
        let overlay = self.overlay_for(owner).ok_or(Reason::NotForUs)?;
        Ok((overlay, header.total_len()))
    }

    /// Passes packets on: the batch itself to the overlay of most of them, which is nearly always all, copies to others.
    fn hand_over(&mut self, mut plain: Batch<Plain>, overlays: &[Option<OverlayId>], out: &mut Out) {
        let Some(main) = overlays.iter().flatten().next().copied() else { return };
        let mut others: Vec<OverlayId> = Vec::new();
        for other in overlays.iter().flatten() {
            if *other != main && !others.contains(other) {
                others.push(*other);
            }
        }
        for to in others {
            let mine = |i: &usize| overlays.get(*i) == Some(&Some(to));
            let bytes: usize = (0..plain.len()).filter(mine).map(|i| plain.spans()[i].len() + 32).sum();
            let mut batch = self.pool.batch(Class::holding(bytes));
            for packet in (0..plain.len()).filter(mine).filter_map(|i| plain.get(i)) {
                if batch.push(packet).is_err() {
                    self.counters.discard(Reason::NoMemory, 1);
                }
            }
            out.to_overlay.push(ToOverlay { to, batch });
        }
        if overlays.iter().any(|overlay| *overlay != Some(main)) {
            plain.retain(|i, _| overlays.get(i) == Some(&Some(main)));
        }
        out.to_overlay.push(ToOverlay { to: main, batch: plain });
    }
}

/// The hop that a datagram truly came by: behind a Geneve header it is the peer relay's.
fn hop_of(hop: Hop, header: Option<geneve::Header>) -> Result<Hop, Reason> {
    match (hop, header) {
        (hop, None) => Ok(hop),
        (Hop::Udp(server), Some(header)) => match Vni::new(header.vni()) {
            Some(vni) => Ok(Hop::Relayed { server, vni }),
            None => Err(Reason::NearlyGeneve),
        },
        (_, Some(_)) => Err(Reason::NotOverRelay),
    }
}
