//! How a stream to a relay is opened: both families raced, TCP tuned, perhaps through a proxy, perhaps with TLS.

use std::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tidewire_clock as clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    names::{Kind, Names},
    stream::{Raw, seen},
    tls::TlsDialer,
};
use crate::{
    machine::{
        Dial, Network, Opened, Seen, Step, http,
        limits::{CONNECT, HEAD_BYTES, PROXY, TLS},
    },
    proxy::Proxy,
    region::RegionNode,
};

/// After this the next address of a name is tried as well (RFC 8305, section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Bytes that the system keeps for us before they are sent: few, so that disco can overtake data.
const UNSENT: u32 = 128 << 10;
/// Silence after which the system asks the other end whether the connection lives, and how often it asks.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens streams.
pub(super) struct Dialer {
    pub(super) names: Names,
    pub(super) tls: TlsDialer,
}

/// Why a stream was not opened.
pub(super) type NotOpened = (Step, Seen);

impl Dialer {
    pub(super) async fn dial(&self, dial: &Dial) -> Result<(Raw, Opened), NotOpened> {
        self.open(&dial.node, dial.proxy.as_ref(), dial.ipv6_head_start).await
    }

    /// Opens a stream to `node`, for whatever is to be spoken there.
    pub(super) async fn open(
        &self,
        node: &RegionNode,
        proxy: Option<&Proxy>,
        ipv6_head_start: Duration,
    ) -> Result<(Raw, Opened), NotOpened> {
        let tcp = match proxy {
            None => self.to_node(node, ipv6_head_start).await?,
            Some(proxy) => self.through(proxy, node).await?,
        };
        tune(&tcp);
        let ipv6 = tcp.peer_addr().is_ok_and(|addr| addr.is_ipv6());
        let network = tcp.local_addr().map(|addr| network(addr.ip())).unwrap_or_default();
        let mut opened = Opened { network, ipv6, ..Opened::default() };
        if node.plain {
            return Ok((Raw::Plain(tcp), opened));
        }
        let handshake = self.tls.connect(node, tcp, &mut opened);
        let tls = clock::timeout(TLS, handshake).await.unwrap_or(Err(Seen::Timeout));
        let tls = tls.map_err(|seen| (Step::Tls, seen))?;
        Ok((Raw::Tls(Box::new(tls)), opened))
    }

    async fn to_node(&self, node: &RegionNode, ipv6_head_start: Duration) -> Result<TcpStream, NotOpened> {
        let v4 = self.names.of_node(node, Kind::V4);
        let v6 = self.names.of_node(node, Kind::V6);
        race_families(v4, v6, ipv6_head_start, node.derp_port, CONNECT).await
    }

    async fn through(&self, proxy: &Proxy, node: &RegionNode) -> Result<TcpStream, NotOpened> {
        let v4 = self.names.of_host(&proxy.host, Kind::V4);
        let v6 = self.names.of_host(&proxy.host, Kind::V6);
        let mut tcp = race_families(v4, v6, Duration::ZERO, proxy.port, PROXY).await?;
        let asked = ask_proxy(&mut tcp, proxy, node);
        let answer = clock::timeout(PROXY, asked).await.unwrap_or(Err(Seen::Timeout));
        answer.map_err(|seen| (Step::Proxy, seen))?;
        Ok(tcp)
    }
}

/// Connects in both families at once; the first stream wins, and the other attempt is dropped.
async fn race_families(
    v4: impl Future<Output = Result<Vec<IpAddr>, Seen>> + Send,
    v6: impl Future<Output = Result<Vec<IpAddr>, Seen>> + Send,
    ipv6_head_start: Duration,
    port: u16,
    time: Duration,
) -> Result<TcpStream, NotOpened> {
    let v4 = async {
        let addresses = v4.await.map_err(|seen| (Step::Resolve, seen))?;
        clock::sleep(ipv6_head_start).await;
        connect(addresses, port, time).await
    };
    let v6 = async {
        let addresses = v6.await.map_err(|seen| (Step::Resolve, seen))?;
        connect(addresses, port, time).await
    };
    race(vec![Box::pin(v4), Box::pin(v6)]).await.map_err(|errors| {
        // The attempt that came further tells more.
        errors.into_iter().max_by_key(|(step, _)| *step).unwrap_or((Step::Resolve, Seen::NoAddress))
    })
}

/// Connects to one of several addresses, each a little later than the one before.
async fn connect(addresses: Vec<IpAddr>, port: u16, time: Duration) -> Result<TcpStream, NotOpened> {
    let attempts = (0_u32..).zip(addresses).map(|(i, address)| {
        let attempt: Attempt<'_> = Box::pin(async move {
            clock::sleep(NEXT_ADDRESS * i).await;
            let connected = TcpStream::connect(SocketAddr::new(address, port)).await;
            connected.map_err(|error| (Step::Connect, seen(&error)))
        });
        attempt
    });
    let won = clock::timeout(time, race(attempts.collect())).await;
    match won {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(errors)) => Err(errors.into_iter().next().unwrap_or((Step::Resolve, Seen::NoAddress))),
        Err(_) => Err((Step::Connect, Seen::Timeout)),
    }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<TcpStream, NotOpened>> + Send + 'a>>;

/// The first success, or all failures. What has not won is dropped.
async fn race(mut attempts: Vec<Attempt<'_>>) -> Result<TcpStream, Vec<NotOpened>> {
    let mut failures = Vec::new();
    poll_fn(|cx| {
        let mut won = None;
        attempts.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
            _ if won.is_some() => false,
            Poll::Pending => true,
            Poll::Ready(Err(failure)) => {
                failures.push(failure);
                false
            }
            Poll::Ready(Ok(tcp)) => {
                won = Some(tcp);
                false
            }
        });
        match won {
            Some(tcp) => Poll::Ready(Ok(tcp)),
            None if attempts.is_empty() => Poll::Ready(Err(std::mem::take(&mut failures))),
            None => Poll::Pending,
        }
    })
    .await
}

/// Asks for a tunnel. The proxy is given the host name, not an address, and nothing but 200 will do.
async fn ask_proxy(tcp: &mut TcpStream, proxy: &Proxy, node: &RegionNode) -> Result<(), Seen> {
    let request = proxy.connect_request(&http::host(node), node.derp_port);
    tcp.write_all(request.as_bytes()).await.map_err(|error| seen(&error))?;
    let mut head = Vec::new();
    loop {
        // Byte by byte: what follows the head belongs to the relay, which speaks only after us, so this is never slow for long.
        let byte = tcp.read_u8().await.map_err(|error| seen(&error))?;
        head.push(byte);
        if head.len() > HEAD_BYTES {
            return Err(Seen::NotHttp);
        }
        if byte != b'\n' {
            continue;
        }
        match http::parse_head(&head) {
            Ok(Some(head)) if head.status == 200 => return Ok(()),
            Ok(Some(head)) => return Err(Seen::Status(head.status)),
            Ok(None) => {}
            Err(http::NotHttp) => return Err(Seen::NotHttp),
        }
    }
}

/// Small frames leave at once, a dead peer is noticed even if nobody writes, and little waits where we cannot reorder it.
/// Each of these is a help and none a need.
fn tune(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    drop(tcp.set_nodelay(true));
    drop(socket.set_tcp_keepalive(&keepalive));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    drop(socket.set_tcp_notsent_lowat(UNSENT));
}

/// The local network of an address of ours: its /24, or its /64.
fn network(ip: IpAddr) -> Network {
    Network(match ip.to_canonical() {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
        IpAddr::V6(ip) => u64::try_from(ip.to_bits() >> 64).unwrap_or(u64::MAX),
    })
}
