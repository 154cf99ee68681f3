//! How smoltcp is driven: one interface, and for each call one socket and at most one packet in.

use std::{net::IpAddr, time::Instant};

use smoltcp::{
    iface::{Config, Context, Interface, SocketHandle, SocketSet},
    socket::tcp,
    time,
    wire::{HardwareAddress, IpCidr},
};
use tidewire_packet::Pool;

use super::{
    inspect::{Emitted, Flow, acknowledgement},
    outgoing::{Gate, Lane, Outgoing},
};

/// Longer than smoltcp's longest retransmission timeout (60 s), so a timer of that kind has run out by then.
const FAR: time::Duration = time::Duration::from_secs(61);

/// An interval that is set only to have one probe sent, and taken back.
const PROBE: time::Duration = time::Duration::from_secs(3600);

/// smoltcp gives zero a meaning of its own ("long ago"), so its time begins later.
const START_MICROS: i64 = 1_000_000;

/// The interface and where its packets go.
pub(super) struct Engine {
    pub(super) outgoing: Outgoing,
    interface: Interface,
    base: Instant,
    now: time::Instant,
}

impl Engine {
    pub(super) fn new(base: Instant, addresses: &[IpAddr], mtu: usize, seed: u64, pool: Pool) -> Self {
        let mut outgoing = Outgoing::new(pool, mtu);
        let now = time::Instant::from_micros(START_MICROS);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut lane = Lane { packet: None, outgoing: &mut outgoing, gate: Gate::Shut };
        let mut interface = Interface::new(config, &mut lane, now);
        interface.update_ip_addrs(|list| {
            for address in addresses {
                let host = IpCidr::new((*address).into(), if address.is_ipv4() { 32 } else { 128 });
                list.push(host).expect("a validated configuration has no more addresses than the interface");
            }
        });
        Self { outgoing, interface, base, now }
    }

    /// What all later calls take as the present.
    pub(super) fn set_time(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.base).as_micros();
        self.now = time::Instant::from_micros(
            START_MICROS.saturating_add(i64::try_from(micros).unwrap_or(i64::MAX)),
        );
    }

    /// What `connect` of a socket wants.
    pub(super) fn context(&mut self) -> &mut Context {
        self.interface.context()
    }

    /// Hands a packet to the one socket of `set`, or to nobody, which answers for closed ports and echo requests.
    pub(super) fn ingress(&mut self, packet: &[u8], set: &mut SocketSet<'static>) {
        let mut lane = Lane { packet: Some(packet), outgoing: &mut self.outgoing, gate: Gate::Open };
        let _ = self.interface.poll_ingress_single(self.now, &mut lane, set);
    }

    /// Lets the one socket of `set` send a packet. Returns what it sent.
    pub(super) fn egress(&mut self, set: &mut SocketSet<'static>) -> Option<Emitted> {
        self.egress_at(self.now, set, Gate::Open)
    }

    /// When the one socket of `set` wants to be asked again by [`egress`](Self::egress).
    pub(super) fn poll_at(&mut self, set: &SocketSet<'static>) -> Option<Instant> {
        let at = self.interface.poll_at(self.now, set)?;
        let micros = u64::try_from(at.total_micros() - START_MICROS).unwrap_or(0);
        Some(self.base + std::time::Duration::from_micros(micros))
    }

    /// Shows the connection in `set` that `window` bytes, scaled, may be under way from `ack` on.
    pub(super) fn show(
        &mut self,
        set: &mut SocketSet<'static>,
        flow: &Flow,
        seq: u32,
        ack: u32,
        window: u16,
    ) {
        let (packet, len) = acknowledgement(flow, seq, ack, window);
        self.ingress(&packet[..len], set);
    }

    /// Has a timer of the connection in `set` run out that waits for an acknowledgement.
    ///
    /// smoltcp has no call for that. But it goes back to the first unacknowledged byte as soon as it looks at such a
    /// timer, and commits nothing else before a packet is laid out. So it is shown a time when the timer has run out, with
    /// the gate shut; the next look, in the present, sends. A fast retransmission that finds the gate shut is forgotten:
    /// none may be pending.
    pub(super) fn rewind(&mut self, set: &mut SocketSet<'static>) {
        self.egress_at(self.now + FAR, set, Gate::Shut);
    }

    /// Has the connection in `set` ask the other end for an acknowledgement, where nothing else would: the window is
    /// closed, or smoltcp stopped its timer because it was.
    pub(super) fn probe(&mut self, set: &mut SocketSet<'static>, handle: SocketHandle) {
        let socket = set.get_mut::<tcp::Socket<'_>>(handle);
        let keepalive = socket.keep_alive();
        socket.set_keep_alive(Some(PROBE));
        self.egress_at(self.now + FAR, set, Gate::Open);
        set.get_mut::<tcp::Socket<'_>>(handle).set_keep_alive(keepalive);
    }

    fn egress_at(&mut self, at: time::Instant, set: &mut SocketSet<'static>, gate: Gate) -> Option<Emitted> {
        self.outgoing.take_emitted();
        let mut lane = Lane { packet: None, outgoing: &mut self.outgoing, gate };
        let _ = self.interface.poll_egress(at, &mut lane, set);
        self.outgoing.take_emitted()
    }
}
