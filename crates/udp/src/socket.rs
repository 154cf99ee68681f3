//! How one socket sends runs and fills a slab.

use std::{
    array,
    io::{self, IoSliceMut},
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tidewire_packet::{Batch, Class, Pool, Wire};
use tidewire_transport::{Fault, FromUnderlay, Hop, Run};
use tokio::{io::Interest, net::UdpSocket};

use crate::{
    config::Config,
    counters::{Counters, Discard},
    options,
    refusals::Refusals,
};

/// Room for one message: more than a UDP datagram or a coalesced one can be, so nothing is ever truncated.
const BUFFER: usize = 64 * 1024;

/// Messages in one call, at most.
const BUFFERS: usize = 32;

/// Messages in one call while they come coalesced: such a call moves half a MiB, which stays in the processor's cache
/// until it is opened, and only that much of the slab is ever touched.
const FULL_BUFFERS: usize = 8;

const _: () = assert!(BUFFERS * BUFFER == Class::Receive.bytes());

/// Segments of one super-packet (Linux's `UDP_MAX_SEGMENTS`, as it was before 6.9), and its bytes (IPv4's maximum).
const MAX_SEGMENTS: usize = 64;
const MAX_BYTES: usize = 65_507;

/// One bound socket.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    // `None` where super-packets are not to be tried at all.
    gso: Option<Refusals>,
    // How many buffers the next call offers.
    offer: usize,
}

impl Socket {
    /// Takes over a bound socket and registers it with the runtime around.
    pub(crate) fn adopt(socket: socket2::Socket, config: &Config) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        options::after_adoption(&socket, local.is_ipv6(), config)?;
        let gso = (config.gso && state.max_gso_segments() > 1).then(Refusals::new);
        Ok(Self { io: UdpSocket::from_std(socket.into())?, state, local, gso, offer: BUFFERS })
    }

    /// Where it is bound.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sets the mark of outgoing datagrams.
    pub(crate) fn set_mark(&self, mark: u32) -> io::Result<()> {
        options::set_mark(&socket2::SockRef::from(&self.io), mark)
    }

    /// Sends the datagrams of `run` to `to`, shortening the run by what left or was given up. `Pending` leaves the rest
    /// in it and arranges a wake-up.
    pub(crate) fn poll_run(
        &mut self,
        cx: &mut Context<'_>,
        batch: &Batch<Wire>,
        run: &mut Run,
        to: SocketAddr,
        counters: &mut Counters,
    ) -> Poll<()> {
        let may = run.count > 1 && run.stride > 0;
        let mut super_packets = may && self.gso.as_mut().is_some_and(|gso| gso.allow(to.ip(), run.stride));
        while run.count > 0 {
            let (contents, segments) = next(batch, run, super_packets);
            let segment_size = (segments > 1).then_some(run.stride as usize);
            let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
            match ready!(self.poll_transmit(cx, &transmit)) {
                Ok(()) => {
                    counters.sent += u64::from(segments);
                    counters.send_calls += 1;
                }
                Err(error) if segments > 1 && is_refusal(&error) => {
                    super_packets = false;
                    counters.unsegmented += 1;
                    if let Some(gso) = &mut self.gso {
                        gso.note(to.ip(), run.stride);
                    }
                    continue;
                }
                Err(error) => counters.discards.add(Discard::of(&error), u64::from(segments)),
            }
            run.first += segments;
            run.count -= segments;
        }
        Poll::Ready(())
    }

    fn poll_transmit(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent =
                self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.io.poll_send_ready(cx))?
                }
                result => return Poll::Ready(result),
            }
        }
    }

    /// Fills `into` with one call, taking a slab from `pool` if it has none that fits. `Ready(Ok)` is at least one
    /// datagram.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pool: &Pool,
        into: &mut FromUnderlay,
        counters: &mut Counters,
    ) -> Poll<Result<(), Fault>> {
        loop {
            // It fails only when the runtime is gone.
            ready!(self.io.poll_recv_ready(cx)).map_err(|_| Fault::Closed)?;
            into.clear();
            if into.batch.capacity() != Class::Receive.bytes() {
                into.batch = pool.batch(Class::Receive);
            }
            match self.try_fill(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_passing(&error) => counters.passed_errors += 1,
                Err(source) => return Poll::Ready(Err(Fault::Io { what: "receiving datagrams", source })),
                Ok(()) => {
                    counters.received += into.batch.len() as u64;
                    counters.receive_calls += 1;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn try_fill(&mut self, into: &mut FromUnderlay) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut storage = into.batch.storage_mut().chunks_exact_mut(BUFFER);
        let mut buffers: [_; BUFFERS] = array::from_fn(|_| {
            IoSliceMut::new(storage.next().expect("a receive slab is that many buffers long"))
        });
        let offered = &mut buffers[..self.offer];
        let messages =
            self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), offered, &mut metas))?;
        let mut bytes = 0;
        for (i, meta) in metas.iter().enumerate().take(messages) {
            declare(into, i * BUFFER, meta);
            bytes += meta.len;
        }
        self.offer = if bytes >= messages * BUFFER / 4 { FULL_BUFFERS } else { BUFFERS };
        Ok(())
    }
}

/// The bytes of the next call and how many datagrams they are: one, unless super-packets are wanted and the run's
/// datagrams really lie back to back.
fn next<'a>(batch: &'a Batch<Wire>, run: &Run, super_packets: bool) -> (&'a [u8], u32) {
    let first = run.first as usize;
    if super_packets {
        let stride = run.stride as usize;
        let segments = MAX_SEGMENTS.min(MAX_BYTES / stride).min(run.count as usize);
        if segments > 1
            && let Some(bytes) = batch.stretch(first..first + segments)
            && let Some(last) = batch.get(first + segments - 1)
            && bytes.len() == (segments - 1) * stride + last.len()
        {
            return (bytes, u32::try_from(segments).expect("at most 64"));
        }
    }
    // A number beyond the batch is an empty datagram: it would be a mistake of the caller's, and harms nobody.
    (batch.get(first).unwrap_or_default(), 1)
}

/// Declares the datagrams of one message, which lies at `start`, and where they came from.
fn declare(into: &mut FromUnderlay, start: usize, meta: &RecvMeta) {
    let hop = Hop::udp(meta.addr);
    let first = into.batch.len();
    let stride = if meta.stride == 0 { meta.len } else { meta.stride.min(meta.len) };
    let mut at = 0;
    loop {
        let len = stride.min(meta.len - at);
        into.batch.push_span(start + at, len).expect("messages lie in order in buffers that hold them");
        at += len;
        if at >= meta.len {
            break;
        }
    }
    let number = |n: usize| u32::try_from(n).expect("a slab has fewer datagrams than bytes");
    let count = number(into.batch.len() - first);
    match into.runs.last_mut() {
        // Messages that came singly from one hop are one run of datagrams on their own.
        Some(last) if count == 1 && last.hop == hop && (last.count == 1 || last.stride == 0) => {
            last.count += 1;
            last.stride = 0;
        }
        _ => into.runs.push(Run { hop, first: number(first), count, stride: number(stride) }),
    }
}

/// Whether an error to a super-packet may be about its being one: then single datagrams may pass.
fn is_refusal(error: &io::Error) -> bool {
    #[cfg(unix)]
    const CODES: [i32; 4] = [libc::EIO, libc::EINVAL, libc::EMSGSIZE, libc::EOPNOTSUPP];
    // WSAEINVAL, WSAEMSGSIZE, WSAEOPNOTSUPP, WSAENOPROTOOPT
    #[cfg(not(unix))]
    const CODES: [i32; 4] = [10022, 10040, 10045, 10042];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

/// Whether an error on receipt is news of the network (ICMP about a datagram that was sent) and not of the socket. The
/// system reports each once.
fn is_passing(error: &io::Error) -> bool {
    quinn_udp::is_msg_size_err(error)
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::Interrupted
        )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, net::Ipv6Addr, os::fd::AsRawFd};

    use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    use tidewire_transport::ToUnderlay;

    use super::*;
    use crate::bind::Sockets;

    fn run<F: Future>(test: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(test)
    }

    fn loopback() -> Sockets {
        let config =
            Config { v4: Some(Ipv4Addr::LOCALHOST), v6: Some(Ipv6Addr::LOCALHOST), ..Config::default() };
        Sockets::open(&config, 0).unwrap()
    }

    fn option(socket: &Socket, level: libc::c_int, name: libc::c_int) -> libc::c_int {
        let mut value = -1;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the descriptor is open; both pointers are to locals that outlive the call, and the length is right.
        let result = unsafe {
            libc::getsockopt(socket.io.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
        };
        assert_eq!(result, 0);
        value
    }

    #[test]
    fn the_kernel_may_fragment_what_we_send() {
        run(async {
            let Sockets { v4: Some(v4), v6: Some(v6) } = loopback() else { panic!("loopback has both") };
            assert_eq!(sockopt::ip_mtu_discover(&v4.io).unwrap(), Ipv4PathMtuDiscovery::DONT);
            assert_eq!(sockopt::ipv6_mtu_discover(&v6.io).unwrap(), Ipv6PathMtuDiscovery::DONT);
            assert_eq!(option(&v6, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG), 0);
        });
    }

    #[test]
    fn nothing_is_reported_that_nobody_reads() {
        run(async {
            let Sockets { v4: Some(v4), v6: Some(v6) } = loopback() else { panic!("loopback has both") };
            assert_eq!(option(&v4, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS), 0);
            assert_eq!(option(&v4, libc::IPPROTO_IP, libc::IP_PKTINFO), 0);
            assert_eq!(option(&v4, libc::IPPROTO_IP, libc::IP_RECVTOS), 0);
            assert_eq!(option(&v6, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), 0);
            assert_eq!(option(&v6, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS), 0);
            assert_eq!(option(&v4, libc::SOL_UDP, libc::UDP_GRO), 1);
        });
    }

    #[test]
    fn buffers_are_as_large_as_the_system_grants() {
        run(async {
            let Sockets { v4: Some(v4), .. } = loopback() else { panic!("loopback has IPv4") };
            // Linux reads back twice what was granted, which is at most what was asked for.
            let granted = sockopt::socket_recv_buffer_size(&v4.io).unwrap() / 2;
            let limit: usize =
                std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
            let wanted = Config::default().receive_buffer;
            assert!(granted == wanted || granted == limit.min(wanted), "{granted}");
        });
    }

    #[test]
    fn a_refused_super_packet_leaves_as_single_datagrams_and_is_not_tried_again_soon() {
        run(async {
            let pool = Pool::default();
            let Sockets { v4: Some(mut from), .. } = loopback() else { panic!("loopback has IPv4") };
            let Sockets { v4: Some(mut to), .. } = loopback() else { panic!("loopback has IPv4") };
            // Without checksums the kernel refuses to segment (EINVAL), whatever the route.
            const SO_NO_CHECK: libc::c_int = 11;
            let on: libc::c_int = 1;
            // SAFETY: the descriptor is open; the pointer is to a local int that outlives the call.
            let result = unsafe {
                libc::setsockopt(
                    from.io.as_raw_fd(),
                    libc::SOL_SOCKET,
                    SO_NO_CHECK,
                    (&raw const on).cast(),
                    4,
                )
            };
            assert_eq!(result, 0);
            let mut counters = Counters::default();
            let mut received = Vec::new();
            for _ in 0..2 {
                let mut item = ToUnderlay { batch: pool.batch(Class::Send), ..Default::default() };
                for i in 0..40u8 {
                    item.batch.push(&[i; 1452]).unwrap();
                    item.address(usize::from(i), Hop::Udp(to.local()));
                }
                let ToUnderlay { batch, runs } = &mut item;
                poll_fn(|cx| from.poll_run(cx, batch, &mut runs[0], to.local(), &mut counters)).await;
                let mut into = FromUnderlay::default();
                let until = received.len() + 40;
                while received.len() < until {
                    poll_fn(|cx| to.poll_fill(cx, &pool, &mut into, &mut Counters::default())).await.unwrap();
                    received.extend(into.batch.iter().map(<[u8]>::to_vec));
                }
            }
            let expected: Vec<_> = (0..40u8).chain(0..40).map(|i| vec![i; 1452]).collect();
            assert_eq!(received, expected);
            assert_eq!((counters.sent, counters.send_calls, counters.unsegmented), (80, 80, 1));
            assert_eq!(counters.discards, Default::default());
        });
    }
}
