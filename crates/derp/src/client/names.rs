//! Where a node's addresses come from: its own fields, else what was learned before, else DNS, else the system.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    net::{DnsError, NetError},
    proto::{op::ResponseCode, rr::RData},
};
use tidewire_clock as clock;

use super::cache::{Cache, LONGEST_TTL, Memory};
use crate::{
    machine::{Seen, limits::RESOLVE},
    region::{Family, RegionNode},
};

/// How long an answer of the system counts, which says no time to live.
const SYSTEM_TTL: Duration = Duration::from_secs(60);
/// The resolver of ours has so long before the system's is asked as well.
const OURS_ALONE: Duration = Duration::from_millis(500);

/// Finds addresses. Cheap to clone; clones share what they learned. Needs a tokio runtime with I/O and time when it is asked.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    cache: Cache,
    resolver: Resolver,
}

#[derive(Clone, Default)]
enum Resolver {
    /// The system's configuration was not read yet.
    #[default]
    Unread,
    Read(TokioResolver),
    /// It cannot be read, so the system's resolver is the only one.
    Unreadable,
}

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What was found and how long it counts, or what was seen instead.
type Found = Result<(Vec<IpAddr>, Duration), Seen>;

/// What our resolver says instead of addresses.
enum Missing {
    /// The name exists and has none in this family, which nobody knows better.
    Surely,
    /// It does not know; the system may.
    Perhaps,
}

impl Names {
    /// Knows nothing yet; reads the system's configuration when it is first asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses of a node in one family, best first: by its field, else by DNS.
    ///
    /// # Errors
    /// [`Seen::NoAddress`] if there is none, [`Seen::Timeout`] if nobody answered.
    pub async fn of_node(&self, node: &RegionNode, kind: Kind) -> Result<Vec<IpAddr>, Seen> {
        let given = match kind {
            Kind::V4 => node.find_ipv4().map(IpAddr::V4),
            Kind::V6 => node.find_ipv6().map(IpAddr::V6),
        };
        match given {
            Family::Address(address) => Ok(vec![address]),
            Family::Off => Err(Seen::NoAddress),
            Family::Resolve => self.of_host(&node.host_name, kind).await,
        }
    }

    /// The addresses of a host in one family. One that is past its time serves where nothing better is to be had.
    ///
    /// # Errors
    /// As [`of_node`](Self::of_node).
    pub async fn of_host(&self, host: &str, kind: Kind) -> Result<Vec<IpAddr>, Seen> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return if kind.matches(&address) { Ok(vec![address]) } else { Err(Seen::NoAddress) };
        }
        let stale = match self.lock().cache.get(clock::now(), host, kind) {
            Memory::Fresh(addresses) => return Ok(addresses),
            Memory::Stale(addresses) => Some(addresses),
            Memory::Nothing => None,
        };
        let found = clock::timeout(RESOLVE, self.ask(host, kind)).await.unwrap_or(Err(Seen::Timeout));
        match (found, stale) {
            (Ok((addresses, ttl)), _) => Ok(self.lock().cache.put(clock::now(), host, kind, addresses, ttl)),
            (Err(_), Some(stale)) => Ok(stale),
            (Err(seen), None) => Err(seen),
        }
    }

    /// Where a node answers STUN, in both families; empty if it does not, or has no address.
    pub async fn stun(&self, node: &RegionNode) -> Vec<SocketAddr> {
        let Some(port) = node.stun_port else { return Vec::new() };
        let ips = match node.stun_test_ip {
            Some(ip) => vec![ip],
            None => {
                let (v4, v6) = tokio::join!(self.of_node(node, Kind::V4), self.of_node(node, Kind::V6));
                let first =
                    |found: Result<Vec<IpAddr>, Seen>| found.ok().and_then(|ips| ips.into_iter().next());
                [first(v4), first(v6)].into_iter().flatten().collect()
            }
        };
        ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// The local network is another one: its name servers are others, and what the old ones said is in doubt.
    pub fn network_changed(&self) {
        let mut inner = self.lock();
        inner.cache.doubt(clock::now());
        inner.resolver = Resolver::Unread;
    }

    async fn ask(&self, host: &str, kind: Kind) -> Found {
        let mut ours = std::pin::pin!(self.ask_ours(host, kind));
        match clock::timeout(OURS_ALONE, &mut ours).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(Missing::Surely)) => Err(Seen::NoAddress),
            Ok(Err(Missing::Perhaps)) => ask_system(host, kind).await,
            Err(_) => tokio::select! {
                Ok(found) = &mut ours => Ok(found),
                found = ask_system(host, kind) => found,
            },
        }
    }

    async fn ask_ours(&self, host: &str, kind: Kind) -> Result<(Vec<IpAddr>, Duration), Missing> {
        let resolver = self.resolver().ok_or(Missing::Perhaps)?;
        let lookup = match kind {
            Kind::V4 => resolver.ipv4_lookup(host).await,
            Kind::V6 => resolver.ipv6_lookup(host).await,
        };
        let lookup = lookup.map_err(|error| match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError => {
                Missing::Surely
            }
            _ => Missing::Perhaps,
        })?;
        let mut ttl = LONGEST_TTL;
        let mut addresses = Vec::new();
        for record in lookup.answers() {
            ttl = ttl.min(Duration::from_secs(u64::from(record.ttl)));
            match &record.data {
                RData::A(address) => addresses.push(IpAddr::V4(address.0)),
                RData::AAAA(address) => addresses.push(IpAddr::V6(address.0)),
                _ => {}
            }
        }
        if addresses.is_empty() { Err(Missing::Perhaps) } else { Ok((addresses, ttl)) }
    }

    fn resolver(&self) -> Option<TokioResolver> {
        let mut inner = self.lock();
        if let Resolver::Unread = inner.resolver {
            let read = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            inner.resolver = read.map_or(Resolver::Unreadable, Resolver::Read);
        }
        match &inner.resolver {
            Resolver::Read(resolver) => Some(resolver.clone()),
            Resolver::Unread | Resolver::Unreadable => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a name unlearned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    const fn matches(self, address: &IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

async fn ask_system(host: &str, kind: Kind) -> Found {
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|_| Seen::NoAddress)?;
    let mut addresses: Vec<IpAddr> =
        found.map(|address| address.ip()).filter(|ip| kind.matches(ip)).collect();
    addresses.dedup();
    if addresses.is_empty() { Err(Seen::NoAddress) } else { Ok((addresses, SYSTEM_TTL)) }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_map_says_needs_no_dns() {
        let names = Names::new();
        let node = RegionNode {
            ipv4: Family::Address("192.0.2.1".parse().unwrap()),
            ipv6: Family::Off,
            stun_port: Some(3479),
            ..RegionNode::new("a", "derp.invalid")
        };
        assert_eq!(names.of_node(&node, Kind::V4).await, Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(names.of_node(&node, Kind::V6).await, Err(Seen::NoAddress));
        assert_eq!(names.stun(&node).await, ["192.0.2.1:3479".parse().unwrap()]);
        let test = RegionNode { stun_test_ip: Some("::1".parse().unwrap()), ..node.clone() };
        assert_eq!(names.stun(&test).await, ["[::1]:3479".parse().unwrap()]);
        assert_eq!(names.stun(&RegionNode { stun_port: None, ..node }).await, []);
    }

    #[tokio::test]
    async fn an_address_as_name_has_one_family() {
        let names = Names::new();
        assert_eq!(names.of_host("::1", Kind::V6).await, Ok(vec!["::1".parse().unwrap()]));
        assert_eq!(names.of_host("::1", Kind::V4).await, Err(Seen::NoAddress));
    }
}
