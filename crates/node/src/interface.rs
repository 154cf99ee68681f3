//! A node's interface: its addresses, its routes, and what others do to it.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use tidewire_dataplane::{Change, driver::Handle};
use tidewire_packet::Pool;
use tidewire_transport::OverlayId;
use tidewire_tun::{Tun, TunControl, TunEvent, TunEvents};

use crate::{config::Map, error::StartError, event::Event, shared::Shared};

/// The routes through the interface, which follow the network map. It goes with them when the node does.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    control: TunControl,
    // Own addresses need no routes: the system makes them.
    own: Arc<[IpNet]>,
    routes: Arc<Mutex<BTreeSet<IpNet>>>,
}

impl Interface {
    /// Makes the interface, up and with its addresses. Needs a tokio runtime around.
    pub(crate) fn create(
        name: &str,
        addresses: &[IpNet],
        mtu: usize,
        pool: Pool,
        id: OverlayId,
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
        let interface = Self { control: tun.control(), own: addresses.into(), routes: Arc::default() };
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
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in routes.difference(&wanted) {
            if let Err(error) = self.control.remove_route(gone.network(), gone.prefix_len()) {
                tracing::debug!(route = %gone, %error, "a route was gone already");
            }
        }
        for new in wanted.difference(&routes) {
            // The way to relays and peers would lead through them.
            let added = if new.prefix_len() == 0 {
                Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a default route is made by hand, with a policy",
                ))
            } else {
                self.control.add_route(new.network(), new.prefix_len())
            };
            if let Err(error) = added {
                tracing::warn!(route = %new, interface = self.name(), %error, "no route");
            }
        }
        *routes = wanted;
    }

    /// Does what others do to the interface, for as long as there is one: its MTU counts, and it may be deleted.
    pub(crate) async fn watch(self, mut events: TunEvents, handle: Handle, shared: Arc<Shared>) {
        while let Some(event) = events.next().await {
            match event {
                TunEvent::Up | TunEvent::Down => tracing::info!(interface = self.name(), ?event, "interface"),
                TunEvent::Mtu(mtu) => {
                    tracing::info!(interface = self.name(), mtu, "interface");
                    match handle.apply(Change::Mtu(mtu)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::warn!(%error, "the interface's MTU cannot be followed"),
                        Err(_) => return,
                    }
                }
                TunEvent::Deleted => {
                    let fault = format!("the interface {} was deleted", self.name());
                    shared.tell(Event::Fault { fault });
                }
            }
        }
    }
}
