//! A client of blocking sockets, with TLS or without, that speaks frames.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tidewire_derp::{
    ClientInfo, Decoder, Frame, RegionId,
    frame::{GoneReason, Limits as FrameLimits},
};
use tidewire_keys::{Drbg, NodePublic, NodeSecret, Seed};
use tidewire_relay::{Config, Relay, Tls};

pub(crate) const REGION: RegionId = RegionId(900);
/// Nothing here takes so long; a test that would hang ends instead.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn plain() -> Relay {
    Relay::start(Config { tls: Tls::Off, ..Config::new(loopback()) }).unwrap()
}

pub(crate) fn with_tls() -> Relay {
    Relay::start(Config::new(loopback())).unwrap()
}

pub(crate) fn secret(byte: u8) -> NodeSecret {
    NodeSecret::from_bytes([byte; 32])
}

pub(crate) fn key(byte: u8) -> NodePublic {
    secret(byte).public()
}

pub(crate) trait Bytes: Read + Write + Send {}
impl<T: Read + Write + Send> Bytes for T {}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    ServerKey,
    ServerInfo,
    Packet(NodePublic, Vec<u8>),
    Gone(NodePublic, GoneReason),
    Pong([u8; 8]),
    Health,
    Restarting,
    KeepAlive,
}

pub(crate) struct Client {
    pub(crate) bytes: Box<dyn Bytes>,
    decoder: Decoder,
    waiting: std::collections::VecDeque<Got>,
}

pub(crate) fn tcp(relay: &Relay) -> TcpStream {
    let stream = TcpStream::connect(relay.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A TLS stream, and the certificates that the relay showed.
pub(crate) fn tls(
    relay: &Relay,
    versions: &[&'static SupportedProtocolVersion],
) -> (StreamOwned<ClientConnection, TcpStream>, Vec<CertificateDer<'static>>) {
    let seen = Arc::new(Recorder { provider: Arc::new(default_provider()), chain: Mutex::default() });
    let config = ClientConfig::builder_with_provider(Arc::clone(&seen.provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp(relay));
    stream.conn.complete_io(&mut stream.sock).unwrap();
    let chain = seen.chain.lock().unwrap().clone();
    (stream, chain)
}

pub(crate) fn open(relay: &Relay) -> Box<dyn Bytes> {
    match relay.region(REGION).nodes[0].plain {
        true => Box::new(tcp(relay)),
        false => Box::new(tls(relay, rustls::ALL_VERSIONS).0),
    }
}

pub(crate) fn login_frame(relay: &Relay, secret: &NodeSecret) -> Vec<u8> {
    let mut nonce = [0; 24];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut nonce).unwrap();
    let mut bytes = Vec::new();
    let shared = secret.shared(&relay.public_key());
    ClientInfo::new().encode(secret.public(), &shared, &nonce, &mut bytes).unwrap();
    bytes
}

impl Client {
    pub(crate) fn over(bytes: Box<dyn Bytes>) -> Self {
        Self { bytes, decoder: Decoder::new(FrameLimits::CLIENT), waiting: Default::default() }
    }

    /// Starts fast, logs in, and waits for the answer.
    pub(crate) fn login(relay: &Relay, byte: u8) -> Self {
        let mut client = Self::over(open(relay));
        let request = "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";
        let flight = [request.as_bytes(), &login_frame(relay, &secret(byte))].concat();
        client.bytes.write_all(&flight).unwrap();
        assert_eq!([client.next(), client.next()], [Some(Got::ServerKey), Some(Got::ServerInfo)]);
        client
    }

    pub(crate) fn send(&mut self, frame: Frame<'_>) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        self.bytes.write_all(&bytes).unwrap();
    }

    pub(crate) fn send_packet(&mut self, to: NodePublic, packet: &[u8]) {
        self.send(Frame::SendPacket { to, packet });
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Got> {
        let mut buffer = [0; 16_384];
        while self.waiting.is_empty() {
            let count = match self.bytes.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("{error}")
                }
                Err(_) => 0,
            };
            let mut bytes = buffer.get(..count).filter(|bytes| !bytes.is_empty())?;
            while let Some(frame) = self.decoder.next(&mut bytes).unwrap() {
                self.waiting.push_back(got(frame));
            }
        }
        self.waiting.pop_front()
    }

    pub(crate) fn next_packet(&mut self) -> Vec<u8> {
        match self.next() {
            Some(Got::Packet(_, packet)) => packet,
            other => panic!("{other:?}"),
        }
    }

    /// Reads until the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn got(frame: Frame<'_>) -> Got {
    match frame {
        Frame::ServerKey(_) => Got::ServerKey,
        Frame::ServerInfo(_) => Got::ServerInfo,
        Frame::RecvPacket { from, packet } => Got::Packet(from, packet.to_vec()),
        Frame::PeerGone { peer, reason } => Got::Gone(peer, reason),
        Frame::Pong(data) => Got::Pong(data),
        Frame::Health(_) => Got::Health,
        Frame::Restarting { .. } => Got::Restarting,
        Frame::KeepAlive => Got::KeepAlive,
        other => panic!("a relay never sends {other:?}"),
    }
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(label: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Drbg::new(&Seed::new([5; 32]), label).fill(&mut bytes);
    bytes
}

#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        first: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(first).chain(rest).map(|certificate| certificate.clone().into_owned());
        *self.chain.lock().unwrap() = chain.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
