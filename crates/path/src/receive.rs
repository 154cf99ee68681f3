//! What an arriving disco or STUN datagram leads to, and what it must be to lead to anything.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use tidewire_disco::{Envelope, Message, OpenError, Ping, Pong};
use tidewire_keys::{DiscoPublic, PeerId};
use tidewire_transport::Hop;

use crate::{
    call::{is_sendable, usable},
    candidate::Met,
    discard::Discard,
    local::Cx,
    paths::Paths,
    route::{Event, Out},
};

/// How the field writes the address of a peer behind a DERP relay, with the region as port.
const DERP_ADDR: Ipv4Addr = Ipv4Addr::new(127, 3, 3, 40);

/// An opened disco message and what is known of where it came from.
struct Received {
    hop: Hop,
    sender: DiscoPublic,
    /// The peer that DERP says it came from.
    derp_peer: Option<PeerId>,
}

impl Paths {
    /// A disco datagram came by this hop. Its Geneve header, if it had one, is stripped into [`Hop::Relayed`]; `control` is that
    /// header's control bit.
    ///
    /// Whatever is no proper message of a peer is dropped and counted; a stranger's costs no cryptography.
    pub fn disco(&mut self, now: Instant, hop: Hop, control: bool, datagram: &mut [u8], out: &mut Out) {
        let hop = match hop {
            Hop::Udp(addr) => Hop::udp(addr),
            other => other,
        };
        if let Err(reason) = self.receive(now, hop, control, datagram, out) {
            self.local.discards.count(reason);
        }
    }

    /// A STUN datagram came by this hop.
    pub fn stun(&mut self, now: Instant, hop: Hop, datagram: &[u8], out: &mut Out) {
        let hop = match hop {
            Hop::Udp(addr) => Hop::udp(addr),
            other => other,
        };
        match self.local.own.answer(now, hop, datagram) {
            Ok(told) if told.changed => self.tell_addresses(now, out),
            Ok(told) if told.settled => self.each_active(now, out, |_| {}),
            Ok(_) => {}
            Err(reason) => self.local.discards.count(reason),
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        hop: Hop,
        control: bool,
        datagram: &[u8],
        out: &mut Out,
    ) -> Result<(), Discard> {
        let envelope = Envelope::parse(datagram).map_err(|_| Discard::Envelope)?;
        if control {
            return Err(Discard::Control);
        }
        let sender = envelope.sender;
        let shared = self.local.keyring.shared(&sender).ok_or(Discard::UnknownSender)?;
        let message = envelope.open(shared).map_err(|error| match error {
            OpenError::Box(_) => Discard::Unopened,
            OpenError::Message(_) => Discard::Message,
        })?;
        let derp_peer = match hop {
            Hop::Derp { peer_key, .. } => Some(*self.nodes.get(&peer_key).ok_or(Discard::UnknownNode)?),
            Hop::Udp(_) | Hop::Relayed { .. } => None,
        };
        let received = Received { hop, sender, derp_peer };
        if let Some(peer) = derp_peer.and_then(|id| self.peers.get_mut(&id))
            && peer.disco() == Some(sender)
            && peer.met(hop)
        {
            let id = peer.id;
            self.schedule(now, id);
        }
        match message {
            Message::Ping(ping) => self.ping_came(now, &received, &ping, out),
            Message::Pong(pong) => self.pong_came(now, &received, &pong, out),
            Message::CallMeMaybe(addrs) => self.call_came(now, &received, &addrs, out),
            Message::Bind(_) | Message::Challenge(_) | Message::Answer(_) => Err(Discard::PeerRelay),
            Message::CallMeMaybeVia(_) | Message::AllocateRequest(_) | Message::AllocateResponse(_) => {
                Err(Discard::PeerRelay)
            }
        }
    }

    /// Every ping is answered on its own hop. One by UDP names an address to try.
    fn ping_came(
        &mut self,
        now: Instant,
        from: &Received,
        ping: &Ping,
        out: &mut Out,
    ) -> Result<(), Discard> {
        let sender = self.sender_of(from, ping);
        let src = match from.hop {
            Hop::Udp(addr) | Hop::Relayed { server: addr, .. } => addr,
            Hop::Derp { region, .. } => SocketAddr::from((DERP_ADDR, region.0)),
        };
        if !is_sendable(src) {
            return Err(Discard::PingSource);
        }
        if let (Hop::Udp(addr), Some(id)) = (from.hop, sender)
            && let Some(discovery) = self.peers.get_mut(&id).and_then(|peer| peer.discovery_mut())
        {
            if discovery.candidates.is_copy(addr, ping.tx) {
                return Err(Discard::PingDuplicate);
            }
            if discovery.ping_from(now, addr, ping.tx) == Met::Full {
                self.local.discards.count(Discard::MetLimit);
            }
        }
        let payer = sender.or_else(|| self.local.keyring.peers(&from.sender).first().copied());
        let discovery = payer.and_then(|id| self.peers.get_mut(&id)?.discovery_mut());
        if discovery.is_some_and(|discovery| discovery.pongs.take(now)) {
            let pong = Message::Pong(Pong { tx: ping.tx, src });
            Cx { now, local: &mut self.local, out }.send(from.hop, &from.sender, &pong);
        } else {
            self.local.discards.count(Discard::PongBudget);
        }
        sender.into_iter().for_each(|id| self.step(now, id, out));
        Ok(())
    }

    /// Which of the peers with the sender's disco key it is: the one that the ping names, if it has that key; the one that DERP
    /// names; the only one. `None` if it could be several.
    fn sender_of(&self, from: &Received, ping: &Ping) -> Option<PeerId> {
        let holders = self.local.keyring.peers(&from.sender);
        let named = ping.node.and_then(|node| self.nodes.get(&node).copied());
        let only = holders.first().copied().filter(|_| holders.len() == 1);
        [named, from.derp_peer, only].into_iter().flatten().find(|id| holders.contains(id))
    }

    fn pong_came(
        &mut self,
        now: Instant,
        from: &Received,
        pong: &Pong,
        out: &mut Out,
    ) -> Result<(), Discard> {
        let holders = self.local.keyring.peers(&from.sender).to_vec();
        for id in holders {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let Some(discovery) = peer.discovery_mut() else { continue };
            let Some(probe) = discovery.probes.find(now, pong.tx) else { continue };
            if from.hop.is_derp() && !probe.to.is_derp() {
                return Err(Discard::PongByRelay);
            }
            if let Some(token) = discovery.probes.answered(&probe) {
                out.events.push(Event::Pong { token, peer: id, hop: probe.to, rtt: probe.rtt(now) });
            }
            let reason = discovery.answered(now, &probe)?;
            peer.because(reason);
            self.step(now, id, out);
            return Ok(());
        }
        Err(Discard::PongUnmatched)
    }

    /// A CallMeMaybe counts by DERP alone, and from the very node that has the sender's disco key. It is never answered by another.
    fn call_came(
        &mut self,
        now: Instant,
        from: &Received,
        addrs: &[SocketAddr],
        out: &mut Out,
    ) -> Result<(), Discard> {
        if !from.hop.is_derp() {
            return Err(Discard::CallByUdp);
        }
        let peer = from.derp_peer.and_then(|id| self.peers.get_mut(&id));
        let peer = peer.filter(|peer| peer.disco() == Some(from.sender)).ok_or(Discard::CallForeign)?;
        let used = usable(addrs, &mut self.local.discards);
        if used.is_empty() {
            return Err(Discard::CallEmpty);
        }
        let reason = peer.discovery_mut().and_then(|discovery| discovery.called(now, &used));
        peer.because(reason);
        let id = peer.id;
        self.step(now, id, out);
        Ok(())
    }
}
