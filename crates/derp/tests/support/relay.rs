//! A relay for tests that does as it is told: it logs clients in and sends each packet back as if from its destination.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use futures_util::{SinkExt, StreamExt};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tidewire_derp::{
    ClientInfo, Frame, Region, RegionNode, Regions, ServerInfo,
    frame::{Decoder, Limits},
    region::{CertName, Family},
};
use tidewire_keys::{NodePublic, RelaySecret, SharedBox};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::derive_accept_key,
    protocol::{CloseFrame, Role, WebSocketConfig},
};

use super::REGION;

/// How a relay behaves.
#[derive(Clone)]
pub struct Manners {
    pub tls: bool,
    pub tls13: bool,
    /// A certificate with its key behind the first one.
    pub meta: bool,
    /// What it answers to `Upgrade: DERP`.
    pub upgrade: Answer,
    /// What it answers to `Upgrade: websocket`.
    pub websocket: Answer,
    /// Answers a fast start as one that knows it.
    pub fast_start: bool,
    /// Lengths of the WebSocket messages it sends, over and over.
    pub cuts: Vec<usize>,
    /// Sends this many frames of this many bytes at once after each login.
    pub flood: (usize, usize),
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// As asked for.
    Yes,
    /// These bytes, and then the end.
    Bytes(Vec<u8>),
    /// Nothing, ever.
    Nothing,
    /// DERP without the protocol that was asked for.
    RawDerp,
    /// The protocol, and then a close with this code, or a text message for zero.
    Close(u16),
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            tls: true,
            tls13: true,
            meta: true,
            upgrade: Answer::Yes,
            websocket: Answer::Yes,
            fast_start: true,
            cuts: vec![2048, 4096, 65_573],
            flood: (0, 0),
        }
    }
}

/// A relay that runs as long as the runtime does.
pub struct Relay {
    pub node: RegionNode,
    pub log: Arc<Mutex<Log>>,
}

/// What a relay saw.
#[derive(Default)]
pub struct Log {
    pub requests: Vec<String>,
    /// Longest WebSocket message.
    pub longest: usize,
    pub connections: usize,
}

fn key() -> RelaySecret {
    RelaySecret::from_bytes([0x22; 32])
}

impl Relay {
    pub async fn start(manners: Manners) -> Self {
        Self::start_at(manners, IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    pub async fn start_at(manners: Manners, ip: IpAddr) -> Self {
        let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut node =
            RegionNode { derp_port: port, plain: !manners.tls, ..RegionNode::new("900a", ip.to_string()) };
        let acceptor = manners.tls.then(|| {
            let (config, pin) = server_config(&manners, &ip.to_string());
            node.cert_name = CertName::Pin(pin);
            TlsAcceptor::from(Arc::new(config))
        });
        let log = Arc::new(Mutex::new(Log::default()));
        let served = Arc::clone(&log);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (manners, acceptor, log) = (manners.clone(), acceptor.clone(), Arc::clone(&served));
                log.lock().unwrap().connections += 1;
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(tcp, &manners, &log).await,
                        Some(acceptor) => {
                            if let Ok(tls) = acceptor.accept(tcp).await {
                                serve(tls, &manners, &log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { node, log }
    }

    pub fn regions(&self) -> Regions {
        regions_of(vec![self.node.clone()])
    }

    pub fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().requests.clone()
    }
}

pub fn regions_of(nodes: Vec<RegionNode>) -> Regions {
    Regions::try_from(vec![Region::new(REGION, "lab", nodes)]).unwrap()
}

/// A node found by its host name in one family alone.
pub fn only_v4(node: RegionNode) -> RegionNode {
    RegionNode { ipv6: Family::Off, ..node }
}

fn server_config(manners: &Manners, host: &str) -> (ServerConfig, [u8; 32]) {
    let private = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([host.to_owned()]).unwrap().self_signed(&private).unwrap();
    let pin = ring::digest::digest(&ring::digest::SHA256, leaf.der()).as_ref().try_into().unwrap();
    let mut chain = vec![leaf.der().clone()];
    if manners.meta {
        let mut meta = CertificateParams::new([]).unwrap();
        meta.distinguished_name = DistinguishedName::new();
        meta.distinguished_name.push(DnType::CommonName, format!("derpkey{}", key().public()));
        meta.serial_number = Some(SerialNumber::from(2));
        chain.push(meta.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone());
    }
    let versions: &[_] = if manners.tls13 { rustls::ALL_VERSIONS } else { &[&rustls::version::TLS12] };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(private.serialize_der()).unwrap())
        .unwrap();
    (config, pin)
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One connection: the head, the answer, and DERP until the end.
async fn serve(mut io: impl Io, manners: &Manners, log: &Mutex<Log>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if io.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let rest = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    log.lock().unwrap().requests.push(head.clone());
    let websocket = head.to_ascii_lowercase().contains("upgrade: websocket");
    let fast = manners.fast_start && head.contains("Derp-Fast-Start: 1");
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";
    let mut session = Session::new(manners.flood);
    match if websocket { &manners.websocket } else { &manners.upgrade } {
        Answer::Bytes(answer) => io.write_all(answer).await.unwrap(),
        Answer::Nothing => std::future::pending().await,
        Answer::Yes if websocket => serve_websocket(io, &head, manners, session, log).await,
        Answer::Close(code) => close(io, &head, *code).await,
        Answer::Yes | Answer::RawDerp => {
            // Head and first frame in one write, as Tailscale's relay sends them.
            let mut first = if fast { Vec::new() } else { switching.as_bytes().to_vec() };
            session.hello(&mut first);
            session.take(&rest, &mut first);
            io.write_all(&first).await.unwrap();
            serve_derp(io, session).await;
        }
    }
}

async fn serve_derp(mut io: impl Io, mut session: Session) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match io.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mut answer = Vec::new();
        session.take(&buffer[..count], &mut answer);
        if io.write_all(&answer).await.is_err() || io.flush().await.is_err() {
            return;
        }
    }
}

async fn agree<I: Io>(mut io: I, head: &str) -> tokio_tungstenite::WebSocketStream<I> {
    let asked = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let accept = derive_accept_key(asked.unwrap().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: derp\r\n\r\n"
    );
    io.write_all(answer.as_bytes()).await.unwrap();
    // As Tailscale's relay has it.
    let config = WebSocketConfig::default().max_message_size(Some(32_768)).max_frame_size(Some(32_768));
    tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

async fn serve_websocket(io: impl Io, head: &str, manners: &Manners, mut session: Session, log: &Mutex<Log>) {
    let mut socket = agree(io, head).await;
    let mut answer = Vec::new();
    session.hello(&mut answer);
    let mut cuts = manners.cuts.iter().copied().cycle();
    loop {
        while !answer.is_empty() {
            let cut = cuts.next().unwrap().min(answer.len());
            let message: Vec<u8> = answer.drain(..cut).collect();
            socket.send(Message::Binary(message.into())).await.unwrap();
        }
        match socket.next().await {
            Some(Ok(Message::Binary(message))) => {
                {
                    let mut log = log.lock().unwrap();
                    log.longest = log.longest.max(message.len());
                }
                session.take(&message, &mut answer);
            }
            Some(Ok(_)) => {}
            None | Some(Err(_)) => return,
        }
    }
}

async fn close(io: impl Io, head: &str, code: u16) {
    let mut socket = agree(io, head).await;
    if code == 0 {
        socket.send(Message::text("hello")).await.unwrap();
    } else {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        socket.close(Some(frame)).await.unwrap();
    }
    while let Some(Ok(_)) = socket.next().await {}
}

/// The DERP side of one connection.
struct Session {
    decoder: Decoder,
    client: Option<(NodePublic, SharedBox)>,
    flood: (usize, usize),
}

impl Session {
    fn new(flood: (usize, usize)) -> Self {
        Self { decoder: Decoder::new(Limits::RELAY), client: None, flood }
    }

    fn hello(&self, out: &mut Vec<u8>) {
        Frame::ServerKey(key().public()).encode(out).unwrap();
    }

    fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            match frame {
                Frame::ClientInfo { key: client, sealed } => {
                    let shared = key().shared(&client);
                    ClientInfo::open(&client, &shared, &sealed).unwrap();
                    ServerInfo::new().encode(&shared, &[7; 24], out);
                    for number in 0..self.flood.0 {
                        let mut packet = u32::try_from(number).unwrap().to_be_bytes().to_vec();
                        packet.resize(self.flood.1, 1);
                        Frame::RecvPacket { from: client, packet: &packet }.encode(out).unwrap();
                    }
                    self.client = Some((client, shared));
                }
                Frame::SendPacket { to, packet } => {
                    assert!(self.client.is_some(), "a packet before the login");
                    Frame::RecvPacket { from: to, packet }.encode(out).unwrap();
                }
                Frame::Ping(data) => Frame::Pong(data).encode(out).unwrap(),
                Frame::NotePreferred(_) | Frame::Pong(_) => {}
                other => panic!("{other:?} from a client"),
            }
        }
    }
}
