//! A host of the simulated network: a data plane, its place, and what reached it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use tidewire_dataplane::{DataPlane, Event, Filter, Identity, Out};
use tidewire_keys::{DiscoPublic, DiscoSecret, Drbg, Epoch, NodePublic, NodeSecret};
use tidewire_packet::Pool;

use crate::{link::Link, nat::Nat};

/// Names a host of a [`World`](crate::World).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(crate) usize);

pub(crate) struct Host {
    pub(crate) core: DataPlane,
    pub(crate) out: Out,
    pub(crate) key: NodePublic,
    pub(crate) disco: DiscoPublic,
    pub(crate) overlay: Ipv4Addr,
    pub(crate) addr: SocketAddr,
    pub(crate) nat: Option<Nat>,
    pub(crate) uplink: Option<Link>,
    pub(crate) udp_blocked: bool,
    pub(crate) inbox: Vec<Vec<u8>>,
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) udp_received: u64,
    pub(crate) relay_received: u64,
}

/// The UDP port of every host.
pub(crate) const PORT: u16 = 41641;

impl Host {
    /// A host whose keys and chances come from `random`. Its overlay address ends in `number`.
    pub(crate) fn new(now: Instant, number: u8, ip: Ipv4Addr, random: &mut Drbg, pool: Pool) -> Self {
        let node = NodeSecret::generate(random);
        let disco = DiscoSecret::generate(random);
        let (key, disco_key) = (node.public(), disco.public());
        let epoch = Epoch::new(Duration::from_secs(1_800_000_000));
        let identity = Identity { node, disco };
        let core = DataPlane::new(now, identity, Filter::AllowAll, epoch, &random.seed(), pool);
        Self {
            core,
            out: Out::default(),
            key,
            disco: disco_key,
            overlay: Ipv4Addr::new(100, 64, 0, number),
            addr: SocketAddr::from((ip, PORT)),
            nat: None,
            uplink: None,
            udp_blocked: false,
            inbox: Vec::new(),
            events: Vec::new(),
            udp_received: 0,
            relay_received: 0,
        }
    }
}
