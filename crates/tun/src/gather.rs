//! Which packets for the device are written together: the flows of a batch, each gathered into super-packets again.

use std::io::IoSlice;

use tidewire_packet::{Batch, Plain};

use crate::{
    checksum::Sum,
    flow::{self, Packet, Segment},
    segment::tcp,
    vnet::{self, Checksum, Gso, Header, Kind},
};

/// Segments of a super-packet of TCP, at most; what 64 KiB holds with segments of 512 bytes.
const MAX_TCP: u16 = 128;

/// Segments of a super-packet of UDP, at most (Linux's `UDP_MAX_SEGMENTS`, as it was before 6.9).
const MAX_UDP: u16 = 64;

/// Slices of one write, at most: the device's header, the packet's headers, and the payloads.
pub const MAX_SLICES: usize = 2 + MAX_TCP as usize;

/// What the device takes as super-packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// Segments of TCP.
    pub tcp: bool,
    /// Datagrams of UDP.
    pub udp: bool,
}

/// A plan of writes for one batch, reused from batch to batch.
///
/// Flows are gathered across the whole batch, however they are mixed. The packets of one flow are written in the order
/// they came in; flows keep the order of their first packets.
#[derive(Debug)]
pub struct Gather {
    groups: Vec<Group>,
    // For each packet the next one in its group, or `END`.
    links: Vec<u32>,
    // By the hash of a flow, the group that its next packet may join.
    open: Box<[[Open; WAYS]; SETS]>,
}

/// Packets that are written together, or one that is written alone.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: u32,
    last: u32,
    count: u16,
    // Sum of the payloads in bytes.
    bytes: u16,
    // Of the first packet, if it is data that others may join.
    segment: Option<Segment>,
    // Whether a second packet found the first one's checksums right.
    is_intact: bool,
}

/// The group that the next packet of a flow may join, or `END` for none. Flows with one hash count as one flow, which costs
/// a write and no order.
#[derive(Clone, Copy, Debug)]
struct Open {
    hash: u32,
    group: u32,
}

/// One write of a plan: a packet alone, or a super-packet whose headers are made here while its payloads stay where they
/// are.
#[derive(Debug)]
pub struct Write<'a> {
    plan: &'a Gather,
    n: usize,
    batch: &'a Batch<Plain>,
    header: Header,
    vnet: [u8; vnet::LEN],
    headers: [u8; flow::MAX_HEADERS],
    // Zero for a packet alone.
    header_len: usize,
}

const END: u32 = u32::MAX;

// Together as many flows as are gathered at a time; beyond that, groups are closed early.
const SETS: usize = 64;
const WAYS: usize = 4;

const NONE: [[Open; WAYS]; SETS] = [[Open { hash: 0, group: END }; WAYS]; SETS];

impl Default for Gather {
    fn default() -> Self {
        Self { groups: Vec::new(), links: Vec::new(), open: Box::new(NONE) }
    }
}

impl Gather {
    /// Plans the writes for the packets of `batch`, forgetting the plan before.
    pub fn plan(&mut self, batch: &Batch<Plain>, offload: Offload) {
        self.groups.clear();
        self.links.clear();
        self.links.resize(batch.len(), END);
        *self.open = NONE;
        for (i, packet) in (0..).zip(batch.iter()) {
            match Packet::of(packet) {
                Packet::Data(segment) if offload.takes(segment.kind) => self.data(batch, i, packet, segment),
                Packet::Data(Segment { hash, .. }) | Packet::Lone(hash) => {
                    self.place(hash).group = END;
                    self.groups.push(Group::alone(i));
                }
                Packet::Other => self.groups.push(Group::alone(i)),
            }
        }
    }

    /// How many writes the plan has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether the plan has no write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many packets write `n` carries; zero beyond the plan.
    #[must_use]
    pub fn packets(&self, n: usize) -> usize {
        self.groups.get(n).map_or(0, |group| group.count.into())
    }

    /// The numbers in the batch of the packets that write `n` carries, in order.
    pub fn members(&self, n: usize) -> impl Iterator<Item = usize> {
        let first = self.groups.get(n).map_or(END, |group| group.first);
        std::iter::successors(Some(first), |i| self.links.get(*i as usize).copied())
            .take_while(|i| *i != END)
            .map(|i| i as usize)
    }

    /// Puts write `n` together. `batch` is the one that was planned for; `None` beyond the plan.
    #[must_use]
    pub fn write<'a>(&'a self, n: usize, batch: &'a Batch<Plain>) -> Option<Write<'a>> {
        let group = self.groups.get(n)?;
        let first = batch.get(group.first as usize)?;
        let header = Header::default();
        let headers = [0; flow::MAX_HEADERS];
        let mut write = Write { plan: self, n, batch, header, vnet: [0; vnet::LEN], headers, header_len: 0 };
        if let Some(segment) = group.segment.filter(|_| group.count > 1) {
            let last = batch.get(group.last as usize)?;
            write.header_len = segment.header_len.into();
            let headers = &mut write.headers[..write.header_len];
            headers.copy_from_slice(first.get(..write.header_len)?);
            group.rewrite(&segment, headers, last);
            write.header = group.header(&segment);
            write.vnet = write.header.encode();
        }
        Some(write)
    }

    fn data(&mut self, batch: &Batch<Plain>, i: u32, packet: &[u8], segment: Segment) {
        let next = u32::try_from(self.groups.len()).unwrap_or(END);
        let open = self.place(segment.hash);
        let joined = open.group;
        // Whatever the flow had open is over unless this packet joins it, so that nothing overtakes this packet.
        open.group = if segment.is_last { END } else { next };
        let open_group = self.groups.get_mut(joined as usize);
        let Some(group) = open_group.and_then(|g| g.goes_on_with(batch, packet, &segment).then_some(g))
        else {
            return self.groups.push(Group {
                bytes: segment.payload_len,
                segment: Some(segment),
                ..Group::alone(i)
            });
        };
        self.links[group.last as usize] = i;
        group.last = i;
        group.count += 1;
        group.bytes += segment.payload_len;
        let is_over = segment.is_last || group.is_full(segment.payload_len);
        self.place(segment.hash).group = if is_over { END } else { joined };
    }

    /// Where the flow's open group is noted; where it is in no way, one is taken from another flow if need be.
    fn place(&mut self, hash: u32) -> &mut Open {
        let set = &mut self.open[hash as usize % SETS];
        let own = set.iter().position(|open| open.hash == hash && open.group != END);
        let way = own
            .or_else(|| set.iter().position(|open| open.group == END))
            .unwrap_or((hash >> 8) as usize % WAYS);
        let open = &mut set[way];
        if open.hash != hash {
            *open = Open { hash, group: END };
        }
        open
    }
}

impl<'a> Write<'a> {
    /// The packet, if it is alone: it is written as it is, behind a header of zeros where the device wants one.
    #[must_use]
    pub fn alone(&self) -> Option<&'a [u8]> {
        if self.header_len > 0 {
            return None;
        }
        self.batch.get(self.plan.members(self.n).next()?)
    }

    /// What the device is told.
    #[must_use]
    pub const fn header(&self) -> Header {
        self.header
    }

    /// The slices, to be written in this order by one call, the device's header first. Returns how many there are.
    pub fn slices<'s>(&'s self, into: &mut [IoSlice<'s>; MAX_SLICES]) -> usize {
        into[0] = IoSlice::new(&self.vnet);
        into[1] = IoSlice::new(&self.headers[..self.header_len]);
        let payloads = self.plan.members(self.n).filter_map(|i| self.batch.get(i)?.get(self.header_len..));
        let mut count = 2;
        for (slice, payload) in into[2..].iter_mut().zip(payloads) {
            *slice = IoSlice::new(payload);
            count += 1;
        }
        count
    }
}

impl Offload {
    const fn takes(self, kind: Kind) -> bool {
        match kind {
            Kind::TcpV4 | Kind::TcpV6 => self.tcp,
            Kind::Udp => self.udp,
        }
    }
}

impl Group {
    const fn alone(i: u32) -> Self {
        Self { first: i, last: i, count: 1, bytes: 0, segment: None, is_intact: false }
    }

    /// Whether `packet` is what comes next in this group: the same flow with the same headers, without a gap, no longer
    /// than the segments so far, and both it and what it joins intact.
    fn goes_on_with(&mut self, batch: &Batch<Plain>, packet: &[u8], next: &Segment) -> bool {
        let Some(own) = self.segment else { return false };
        let Some(first) = batch.get(self.first as usize) else { return false };
        let fits = usize::from(next.header_len) + usize::from(self.bytes) + usize::from(next.payload_len)
            <= usize::from(u16::MAX);
        let follows = (own.kind, own.header_len) == (next.kind, next.header_len)
            && own.payload_len >= next.payload_len
            && next.id == own.id.map(|id| id.wrapping_add(self.count))
            && (own.kind == Kind::Udp || next.sequence == own.sequence.wrapping_add(self.bytes.into()));
        if !(fits && follows && flow::agree(first, packet, next)) {
            return false;
        }
        // Nobody pays for checksums of packets that stay alone.
        if !self.is_intact {
            self.is_intact = flow::is_intact(first, &own);
        }
        self.is_intact && flow::is_intact(packet, next)
    }

    /// Whether nothing more goes in behind a segment of `last` bytes.
    fn is_full(&self, last: u16) -> bool {
        self.segment.is_none_or(|own| {
            let most = if own.kind == Kind::Udp { MAX_UDP } else { MAX_TCP };
            self.count >= most || last < own.payload_len
        })
    }

    /// What the device is told of the super-packet.
    fn header(&self, segment: &Segment) -> Header {
        Header {
            checksum: Some(Checksum {
                start: segment.transport.into(),
                offset: segment.kind.checksum_offset(),
            }),
            gso: Some(Gso { kind: segment.kind, size: segment.payload_len }),
            header_len: segment.header_len.into(),
        }
    }

    /// Makes the first packet's headers those of the super-packet: the length of the whole, PSH if `last` has it, and the
    /// sum of the pseudo-header where the device completes the checksum.
    fn rewrite(&self, segment: &Segment, headers: &mut [u8], last: &[u8]) {
        let total = u16::from(segment.header_len) + self.bytes;
        let transport_len = total - u16::from(segment.transport);
        let (ip, transport) = headers.split_at_mut(segment.transport.into());
        let addresses = if segment.transport == 20 {
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[10..12].fill(0);
            let checksum = Sum::default().bytes(ip).checksum();
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            &ip[12..]
        } else {
            ip[4..6].copy_from_slice(&transport_len.to_be_bytes());
            &ip[8..]
        };
        match segment.kind {
            Kind::Udp => transport[4..6].copy_from_slice(&transport_len.to_be_bytes()),
            Kind::TcpV4 | Kind::TcpV6 => {
                let flags = last.get(usize::from(segment.transport) + 13).copied().unwrap_or(0);
                transport[13] |= flags & tcp::PSH;
            }
        }
        let partial =
            Sum::default().pseudo_header(addresses, segment.kind.protocol(), transport_len).partial();
        let at = usize::from(segment.kind.checksum_offset());
        transport[at..at + 2].copy_from_slice(&partial.to_be_bytes());
    }
}
