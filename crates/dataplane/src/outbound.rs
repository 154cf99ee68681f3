//! The way out: from an overlay's packets to sealed datagrams with a hop.

use std::{net::IpAddr, time::Instant};

use tidewire_keys::PeerId;
use tidewire_packet::{Batch, Class, IpHeader, Plain, Wire};
use tidewire_packet_ident::geneve::{self, Protocol};
use tidewire_path::Route;
use tidewire_transport::{Hop, OverlayId, Vni};

use crate::{DataPlane, Out, discard::Reason, routes::Owner};

impl DataPlane {
    pub(crate) fn outbound(&mut self, now: Instant, mut batch: Batch<Plain>, out: &mut Out) {
        let mut to = std::mem::take(&mut self.scratch.to);
        to.clear();
        self.route(&mut batch, &mut to, out);
        if !batch.is_empty() {
            let wire = self.tunnel.seal(now, batch, &mut to, &mut self.scratch.tunnel);
            self.dispatch(now, wire, &to, out);
            self.drain_tunnel(now, out);
            self.drain_paths(out);
        }
        self.scratch.to = to;
    }

    /// Leaves in `batch` the packets that go to peers, cut to their true length, with `to` saying to whom.
    fn route(&mut self, batch: &mut Batch<Plain>, to: &mut Vec<PeerId>, out: &mut Out) {
        let Self { routes, counters, mtu, pool, .. } = self;
        let mut last: Option<(IpAddr, PeerId)> = None;
        let mut padded = false;
        batch.retain(|_, packet| {
            let header = match IpHeader::parse(packet) {
                Ok(header) => header,
                Err(error) => {
                    counters.discard(Reason::of_ip(error), 1);
                    return false;
                }
            };
            if header.total_len() > *mtu {
                counters.discard(Reason::TooLong, 1);
                return false;
            }
            padded |= header.total_len() < packet.len();
            let destination = header.destination();
            if let Some((address, peer)) = last
                && address == destination
            {
                to.push(peer);
                return true;
            }
            match routes.lookup(destination) {
                Some(Owner::Peer(peer)) => {
                    last = Some((destination, peer));
                    to.push(peer);
                    true
                }
                Some(Owner::Overlay(overlay)) => {
                    loop_back(pool, packet, overlay, out, counters);
                    false
                }
                None => {
                    counters.discard(Reason::NoRoute, 1);
                    false
                }
            }
        });
        if padded {
            trim_all(batch);
        }
    }

    /// Gives each sealed datagram its hop: a read of the path, once for each stretch of datagrams to one peer.
    fn dispatch(&mut self, now: Instant, wire: Batch<Wire>, to: &[PeerId], out: &mut Out) {
        let mut item = out.item(wire);
        let mut start = 0;
        for stretch in to.chunk_by(|a, b| a == b) {
            let range = start..start + stretch.len();
            start = range.end;
            let Some(peer) = stretch.first().copied() else { continue };
            self.paths.sending(now, peer);
            let hop = match self.paths.current(peer, now) {
                Route::None => {
                    self.counters.discard(Reason::NoPath, range.len());
                    continue;
                }
                Route::One(hop) => hop,
                Route::Both { direct, relay } => {
                    self.copy_to(&item.batch, range.clone(), relay, out);
                    direct
                }
            };
            let bytes = item.batch.spans()[range.clone()].iter().map(|span| span.len()).sum();
            self.counters.send(&hop, range.len(), bytes);
            if let Hop::Relayed { vni, .. } = hop {
                self.wrap(&item.batch, range, hop, vni, Protocol::WireGuard, out);
            } else {
                range.for_each(|i| item.address(i, hop));
            }
        }
        if item.runs.is_empty() {
            out.recycle(item);
        } else {
            out.to_underlay.push(item);
        }
    }

    /// Sends a whole batch by one route; for what the tunnel sends of itself.
    pub(crate) fn send_to(&mut self, batch: Batch<Wire>, route: Route, protocol: Protocol, out: &mut Out) {
        let range = 0..batch.len();
        let hop = match route {
            Route::None => {
                self.counters.discard(Reason::NoPath, batch.len());
                return;
            }
            Route::One(hop) => hop,
            Route::Both { direct, relay } => {
                self.copy_to(&batch, range.clone(), relay, out);
                direct
            }
        };
        self.counters.send(&hop, batch.len(), batch.bytes());
        if let Hop::Relayed { vni, .. } = hop {
            self.wrap(&batch, range, hop, vni, protocol, out);
            return;
        }
        let mut item = out.item(batch);
        range.for_each(|i| item.address(i, hop));
        out.to_underlay.push(item);
    }

    /// Copies datagrams into an item of their own, for the second of two ways.
    fn copy_to(&mut self, batch: &Batch<Wire>, range: std::ops::Range<usize>, hop: Hop, out: &mut Out) {
        let bytes = batch.spans()[range.clone()].iter().map(|span| span.len()).sum();
        let mut item = out.item(self.pool.batch(Class::holding(bytes)));
        for datagram in batch.iter().skip(range.start).take(range.len()) {
            let number = item.batch.len();
            match item.batch.push(datagram) {
                Ok(()) => item.address(number, hop),
                Err(_) => self.counters.discard(Reason::NoMemory, 1),
            }
        }
        self.counters.send(&hop, item.batch.len(), item.batch.bytes());
        out.to_underlay.push(item);
    }

    /// Copies datagrams behind a Geneve header each, for a peer relay: the header has no room in front of a datagram
    /// that lies back to back with its neighbour.
    fn wrap(
        &mut self,
        batch: &Batch<Wire>,
        range: std::ops::Range<usize>,
        hop: Hop,
        vni: Vni,
        protocol: Protocol,
        out: &mut Out,
    ) {
        let Some(header) = geneve::Header::new(vni.get(), false, protocol).map(|header| header.encode())
        else {
            return;
        };
        let bytes: usize = batch.spans()[range.clone()].iter().map(|span| span.len() + geneve::LEN).sum();
        let mut item = out.item(self.pool.batch(Class::holding(bytes)));
        for datagram in batch.iter().skip(range.start).take(range.len()) {
            let (number, len) = (item.batch.len(), datagram.len() + geneve::LEN);
            match item.batch.reserve(len, len) {
                Ok(room) => {
                    let (front, rest) = room.split_at_mut(geneve::LEN);
                    front.copy_from_slice(&header);
                    rest.copy_from_slice(datagram);
                    item.address(number, hop);
                }
                Err(_) => self.counters.discard(Reason::NoMemory, 1),
            }
        }
        out.to_underlay.push(item);
    }
}

/// Cuts each packet to the length that its header gives.
pub(crate) fn trim_all(batch: &mut Batch<Plain>) {
    for i in 0..batch.len() {
        if let Some(Ok(header)) = batch.get(i).map(IpHeader::parse) {
            batch.trim(i, header.total_len());
        }
    }
}

/// A packet to this node itself goes back up.
fn loop_back(
    pool: &tidewire_packet::Pool,
    packet: &[u8],
    to: OverlayId,
    out: &mut Out,
    counters: &mut crate::Counters,
) {
    match Batch::copy_of(pool, packet) {
        Ok(batch) => out.to_overlay.push(tidewire_transport::ToOverlay { to, batch }),
        Err(_) => counters.discard(Reason::NoMemory, 1),
    }
}
