//! What the rooms below want: their datagrams get hops, their events get names.

use std::time::Instant;

use tidewire_keys::PeerId;
use tidewire_packet::Batch;
use tidewire_packet_ident::geneve::Protocol;
use tidewire_path::Route;
use tidewire_tunnel::{Outgoing, To};

use crate::{DataPlane, Event, Out, discard::Reason, source};

impl DataPlane {
    /// Sends and tells what the tunnel left behind.
    pub(crate) fn drain_tunnel(&mut self, now: Instant, out: &mut Out) {
        if self.scratch.tunnel.datagrams.is_empty() && self.scratch.tunnel.events.is_empty() {
            return;
        }
        let mut produced = std::mem::take(&mut self.scratch.tunnel);
        // Events first: a handshake message that was heard from somewhere says where its answer goes.
        for event in produced.events.drain(..) {
            self.tunnel_event(now, event, out);
        }
        for Outgoing { to, batch } in produced.datagrams.drain(..) {
            let route = match to {
                To::Peer(peer) => {
                    self.paths.sending(now, peer);
                    self.paths.current(peer, now)
                }
                To::Source(source) => Route::One(source::decode(&source)),
            };
            self.send_to(batch, route, Protocol::WireGuard, out);
        }
        self.scratch.tunnel = produced;
    }

    /// Sends and tells what path discovery left behind.
    pub(crate) fn drain_paths(&mut self, out: &mut Out) {
        if self.scratch.path.datagrams.is_empty() && self.scratch.path.events.is_empty() {
            return;
        }
        let mut produced = std::mem::take(&mut self.scratch.path);
        for (hop, datagram) in produced.datagrams.drain(..) {
            match Batch::copy_of(&self.pool, &datagram) {
                Ok(batch) => self.send_to(batch, Route::One(hop), Protocol::Disco, out),
                Err(_) => self.counters.discard(Reason::NoMemory, 1),
            }
        }
        for event in produced.events.drain(..) {
            self.path_event(event, out);
        }
        self.scratch.path = produced;
    }

    fn tunnel_event(&mut self, now: Instant, event: tidewire_tunnel::Event, out: &mut Out) {
        use tidewire_tunnel::Event as Told;
        match event {
            Told::Heard { peer, source } => self.paths.heard(now, peer, source::decode(&source)),
            Told::Established { peer, .. } => self.tell(peer, out, |peer| Event::Established { peer }),
            Told::Silent { peer } => self.paths.silent(now, peer, &mut self.scratch.path),
            Told::GaveUp { peer } => self.tell(peer, out, |peer| Event::GaveUp { peer }),
            Told::Expired { peer } => self.tell(peer, out, |peer| Event::Expired { peer }),
        }
    }

    fn path_event(&self, event: tidewire_path::Event, out: &mut Out) {
        use tidewire_path::Event as Told;
        match event {
            Told::Switched { peer, from, to, reason } => {
                self.tell(peer, out, |peer| Event::Switched { peer, from, to, reason });
            }
            Told::OwnAddresses(addresses) => out.events.push(Event::OwnAddresses(addresses)),
            Told::Pong { token, peer, hop, rtt } => {
                self.tell(peer, out, |peer| Event::Pong { token, peer, hop, rtt })
            }
            Told::PingRefused { token, peer, reason } => {
                self.tell(peer, out, |peer| Event::PingRefused { token, peer, reason });
            }
            Told::PingTimeout { token, peer } => {
                self.tell(peer, out, |peer| Event::PingTimeout { token, peer })
            }
        }
    }

    /// Adds an event about a peer, by its key; one about a peer that is gone has nobody to tell.
    fn tell(&self, peer: PeerId, out: &mut Out, event: impl FnOnce(tidewire_keys::NodePublic) -> Event) {
        if let Some(key) = self.key_of(peer) {
            out.events.push(event(key));
        }
    }
}
