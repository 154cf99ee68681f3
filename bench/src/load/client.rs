//! A client as thin as can be: TLS without looking at the certificate, the upgrade, the login, frames.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tidewire_derp::{ClientInfo, Decoder, Frame, frame::Limits};
use tidewire_keys::NodeSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const UPGRADE: &[u8] =
    b"GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: DERP\r\nConnection: Upgrade\r\nDerp-Fast-Start: 1\r\n\r\n";
const BUFFER: usize = 64 * 1024;

/// What all clients share.
pub(super) struct Connector(TlsConnector);

impl Connector {
    pub(super) fn new() -> Self {
        let mut provider = rustls::crypto::ring::default_provider();
        // What Go's clients ask for first on a processor with AES.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let provider = Arc::new(provider);
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring has the usual versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }
}

/// A client that is logged in.
pub(super) struct Client {
    pub(super) reader: Reader,
    pub(super) writer: WriteHalf<TlsStream<TcpStream>>,
}

/// What it reads.
pub(super) struct Reader {
    stream: ReadHalf<TlsStream<TcpStream>>,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(
        connector: &Connector,
        addr: SocketAddr,
        key: &NodeSecret,
    ) -> io::Result<Self> {
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let stream = connector.0.connect(ServerName::from(addr.ip()), tcp).await?;
        let (stream, mut writer) = tokio::io::split(stream);
        writer.write_all(UPGRADE).await?;
        writer.flush().await?;
        let decoder = Decoder::new(Limits::CLIENT);
        let mut reader = Reader { stream, decoder, buffer: vec![0; BUFFER] };
        let mut hello = Vec::new();
        let mut is_in = false;
        while !is_in {
            reader
                .read(|frame| match frame {
                    Frame::ServerKey(relay) => {
                        let mut nonce = [0; 24];
                        getrandom::fill(&mut nonce).map_err(io::Error::from)?;
                        let shared = key.shared(&relay);
                        ClientInfo::new()
                            .encode(key.public(), &shared, &nonce, &mut hello)
                            .map_err(io::Error::other)
                    }
                    Frame::ServerInfo(_) => {
                        is_in = true;
                        Ok(())
                    }
                    _ => Ok(()),
                })
                .await?;
            if !hello.is_empty() {
                writer.write_all(&hello).await?;
                writer.flush().await?;
                hello.clear();
            }
        }
        Ok(Self { reader, writer })
    }

    /// Gives back what a client that reads nothing does not need.
    pub(super) fn into_idle(mut self) -> Self {
        self.reader.buffer = Vec::new();
        self
    }
}

impl Reader {
    /// Reads once, and hands over the frames that are whole with it.
    pub(super) async fn read(&mut self, mut take: impl FnMut(Frame<'_>) -> io::Result<()>) -> io::Result<()> {
        let read = self.stream.read(&mut self.buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = &self.buffer[..read];
        while let Some(frame) = self.decoder.next(&mut bytes).map_err(io::Error::other)? {
            take(frame)?;
        }
        Ok(())
    }
}

/// Takes any certificate: load is no matter of trust.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
