//! A node's interface: its addresses, its routes, and what others do to it.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tidewire_dataplane::{Change, driver::Handle};
use tidewire_derp::region::Family;
use tidewire_packet::Pool;
use tidewire_transport::OverlayId;
use tidewire_tun::{Tun, TunControl, TunEvent, TunEvents};
use tidewire_udp::UdpControl;

use crate::{config::Map, error::StartError, event::Event, shared::Shared};

/// The routes through the interface, which follow the network map. It goes with them when the node does.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    control: TunControl,
    udp: UdpControl,
    // Own addresses need no routes: the system makes them.
    own: Arc<[IpNet]>,
    routes: Arc<Mutex<Routes>>,
}

#[derive(Debug, Default)]
struct Routes {
    wanted: BTreeSet<IpNet>,
    made: BTreeSet<IpNet>,
    // Of which the log has a warning.
    missed: BTreeSet<IpNet>,
}

/// The largest MTU that the data plane takes; an interface may say more, and never get it.
const MOST_MTU: usize = 65_503;

impl Interface {
    /// Makes the interface, up and with its addresses. Needs a tokio runtime around.
    pub(crate) fn create(
        name: &str,
        addresses: &[IpNet],
        mtu: usize,
        pool: Pool,
        id: OverlayId,
        udp: UdpControl,
    ) -> Result<(Self, Tun, TunEvents), StartError> {
        let config = tidewire_tun::Config {
            name: Some(name.to_owned()),
            mtu: u16::try_from(mtu).map_err(|_| StartError::Interface {
                name: name.to_owned(),
                source: io::Error::new(io::ErrorKind::InvalidInput, "no interface has so large an MTU"),
            })?,
            addresses: addresses.iter().map(|net| (net.addr(), net.prefix_len())).collect(),
            ..Default::default()
        };
        let refused = |source| StartError::Interface { name: name.to_owned(), source };
        let tun = Tun::create(&config, pool, id).map_err(|fault| refused(io::Error::other(fault)))?;
        let events = tun.events().map_err(refused)?;
        let interface = Self { control: tun.control(), udp, own: addresses.into(), routes: Arc::default() };
        Ok((interface, tun, events))
    }

    pub(crate) fn name(&self) -> &str {
        self.control.name()
    }

    /// Makes and removes routes, so that there is one for each prefix of a peer. One that cannot be made is told in the log: the
    /// other peers shall not suffer from it.
    pub(crate) fn follow(&self, map: &Map) {
        let prefixes = map.peers.iter().flat_map(|peer| peer.addresses.iter().chain(&peer.allowed_ips));
        let mut wanted: BTreeSet<IpNet> = prefixes.map(IpNet::trunc).collect();
        wanted.retain(|net| !self.own.iter().any(|own| own.trunc() == *net));
        let mut routes = self.lock();
        routes.missed.retain(|net| wanted.contains(net));
        let relays = relays(map);
        wanted.retain(|net| match impossible(net, &relays) {
            None => true,
            Some(why) => {
                self.miss(&mut routes, *net, &why);
                false
            }
        });
        routes.wanted = wanted;
        self.make(&mut routes);
    }

    /// Does what others do to the interface, for as long as there is one: its MTU counts, and it may be deleted.
    pub(crate) async fn watch(self, mut events: TunEvents, handle: Handle, shared: Arc<Shared>) {
        while let Some(event) = events.next().await {
            match event {
                TunEvent::Up => {
                    tracing::info!(interface = self.name(), "interface up");
                    self.restore();
                }
                TunEvent::Down => tracing::info!(interface = self.name(), "interface down"),
                TunEvent::Mtu(mtu) => {
                    tracing::info!(interface = self.name(), mtu, "MTU changed");
                    match handle.apply(Change::Mtu(mtu.min(MOST_MTU))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::warn!(%error, "the interface's MTU cannot be followed"),
                        Err(_) => return,
                    }
                }
                TunEvent::Deleted => {
                    shared.tell(Event::InterfaceGone { interface: self.name().to_owned() });
                }
            }
        }
    }

    /// Gives the interface back what Linux takes from one that goes down: its routes, and its IPv6 addresses.
    fn restore(&self) {
        for own in &*self.own {
            if let Err(error) = is_there(self.control.add_address(own.addr(), own.prefix_len())) {
                tracing::warn!(address = %own, interface = self.name(), %error, "no address");
            }
        }
        let mut routes = self.lock();
        // What cannot be made again is tried, and told, with what could not be made before.
        routes.made.retain(|net| is_there(self.control.add_route(net.network(), net.prefix_len())).is_ok());
        self.make(&mut routes);
    }

    fn make(&self, routes: &mut Routes) {
        // Before there is a route, and after there is none: no datagram shall come back.
        self.avoid(routes.made.union(&routes.wanted));
        for gone in routes.made.difference(&routes.wanted) {
            if let Err(error) = self.control.remove_route(gone.network(), gone.prefix_len()) {
                tracing::debug!(route = %gone, %error, "a route was gone already");
            }
        }
        routes.made.retain(|net| routes.wanted.contains(net));
        let new: Vec<IpNet> = routes.wanted.difference(&routes.made).copied().collect();
        for net in new {
            match self.control.add_route(net.network(), net.prefix_len()) {
                Ok(()) => {
                    routes.made.insert(net);
                    routes.missed.remove(&net);
                }
                Err(error) => self.miss(routes, net, &error),
            }
        }
        self.avoid(routes.made.iter());
    }

    fn avoid<'a>(&self, routes: impl Iterator<Item = &'a IpNet>) {
        let prefixes: Vec<_> = routes.map(|net| (net.network(), net.prefix_len())).collect();
        self.udp.avoid(&prefixes);
    }

    /// A warning the first time.
    fn miss(&self, routes: &mut Routes, route: IpNet, why: &dyn fmt::Display) {
        if routes.missed.insert(route) {
            tracing::warn!(%route, interface = self.name(), error = %why, "no route");
        } else {
            tracing::debug!(%route, interface = self.name(), error = %why, "still no route");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there shall be no route to this prefix, if there shall not: what the node itself sends to relays would come back to it.
fn impossible(net: &IpNet, relays: &[IpAddr]) -> Option<String> {
    if net.prefix_len() == 0 {
        return Some("a default route is made by hand, with a policy".to_owned());
    }
    let relay = relays.iter().find(|relay| net.contains(*relay))?;
    Some(format!("the way to the relay at {relay} would lead through it"))
}

/// The addresses of relays, as far as the map knows them without a look-up.
fn relays(map: &Map) -> Vec<IpAddr> {
    let mut relays = Vec::new();
    for node in map.regions.iter().flat_map(|region| &region.nodes) {
        if let Family::Address(ip) = node.find_ipv4() {
            relays.push(ip.into());
        }
        if let Family::Address(ip) = node.find_ipv6() {
            relays.push(ip.into());
        }
    }
    relays
}

/// What is there already need not be made.
fn is_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use tidewire_derp::{
        RegionId,
        region::{Region, RegionNode},
    };

    use super::*;

    fn map() -> Map {
        let mut first = RegionNode::new("a", "relay.example");
        first.ipv4 = Family::Address([192, 168, 1, 9].into());
        let nodes = vec![first, RegionNode::new("b", "2001:db8::9")];
        Map { regions: vec![Region::new(RegionId(1), "x", nodes)], peers: Vec::new() }
    }

    #[test]
    fn no_route_holds_a_relay_or_everything() {
        let relays = relays(&map());
        for bad in ["192.168.1.0/24", "192.168.1.9/32", "2001:db8::/32", "0.0.0.0/0", "::/0"] {
            assert!(impossible(&bad.parse().unwrap(), &relays).is_some(), "{bad}");
        }
        for good in ["192.168.2.0/24", "100.64.0.2/32", "2001:db9::/32"] {
            assert_eq!(impossible(&good.parse().unwrap(), &relays), None, "{good}");
        }
    }
}
