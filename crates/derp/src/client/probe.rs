//! What a relay is asked without a login: how long it takes to answer over HTTP, and whether it is the relay that answers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use tidewire_clock as clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    dial::Dialer,
    names::Names,
    stream::{Raw, seen},
    tls::TlsDialer,
};
use crate::{
    machine::{
        Seen, Step, http,
        limits::{ANSWER, HEAD_BYTES, HEAD_LINES},
    },
    proxy::Proxies,
    region::{DEFAULT_DERP_PORT, RegionNode},
};

/// What relays answer at once, for those who measure.
const LATENCY_PATH: &str = "/derp/latency-check";
/// What nobody but the relay can answer properly.
const PORTAL_PATH: &str = "/generate_204";
/// Where plain HTTP is served beside HTTPS.
const PLAIN_PORT: u16 = 80;

/// Asks relays over HTTP, each time on a new connection that is opened as the client's are: names, families, proxies, TLS
/// and pins alike. Cheap to clone. Needs a tokio runtime with I/O and time when it is used.
#[derive(Clone)]
pub struct Probe(Arc<Inner>);

struct Inner {
    names: Names,
    proxies: Proxies,
    extra_roots: Vec<Vec<u8>>,
    /// Made at the first use: the system's authorities cost time and memory, and most never need them here.
    dialer: Mutex<Option<Arc<Dialer>>>,
}

/// Why there is no proper answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The stream could not be opened.
    #[error("{step}: {seen}")]
    NotOpened {
        /// How far it came.
        step: Step,
        /// What was seen there.
        seen: Seen,
    },
    /// The stream was opened, and what was asked was not answered.
    #[error("asking over HTTP: {0}")]
    NotAnswered(Seen),
}

impl Probe {
    /// Asks through these proxies, where they are for that relay; `extra_roots` are certificates (DER) of authorities
    /// that are trusted beside the system's.
    #[must_use]
    pub fn new(names: Names, proxies: Proxies, extra_roots: Vec<Vec<u8>>) -> Self {
        Self(Arc::new(Inner { names, proxies, extra_roots, dialer: Mutex::default() }))
    }

    /// The time from the request to the first byte of the answer, once the stream is open: one round trip, and what the relay
    /// needs to answer.
    ///
    /// # Errors
    /// [`NoAnswer`], also if what answers has another status than 200: that is no relay.
    pub async fn latency(&self, node: &RegionNode) -> Result<Duration, NoAnswer> {
        let proxy = self.0.proxies.proxy_for(&node.host_name, node.derp_port).filter(|_| !node.plain);
        let opened = self.dialer()?.open(node, proxy, Duration::ZERO).await;
        let (stream, _) = opened.map_err(NoAnswer::not_opened)?;
        let answer = get(stream, LATENCY_PATH, node, "").await?;
        if answer.status == 200 { Ok(answer.latency) } else { Err(Seen::Status(answer.status).into()) }
    }

    /// Whether it is the relay that answers plain HTTP, and not something on the way, such as the page of a hotel that wants
    /// a password. `challenge` are random bytes that only the relay sends back. Asks on port 80, or on the port of a
    /// relay without TLS; never through a proxy.
    ///
    /// # Errors
    /// [`NoAnswer`] if nobody answers: then nothing is known.
    pub async fn is_relay(&self, node: &RegionNode, challenge: [u8; 16]) -> Result<bool, NoAnswer> {
        let port = if node.plain { node.derp_port } else { PLAIN_PORT };
        let node = RegionNode { plain: true, derp_port: port, ..node.clone() };
        let opened = self.dialer()?.open(&node, None, Duration::ZERO).await;
        let (stream, _) = opened.map_err(NoAnswer::not_opened)?;
        let challenge: String = challenge.iter().map(|byte| format!("{byte:02x}")).collect();
        let field = format!("X-Tailscale-Challenge: {challenge}\r\n");
        match get(stream, PORTAL_PATH, &node, &field).await {
            Ok(answer) => {
                let response = format!("response {challenge}");
                Ok(answer.status == 204 && answer.response.as_deref() == Some(response.as_str()))
            }
            // Something speaks where a relay would speak HTTP.
            Err(NoAnswer::NotAnswered(Seen::NotHttp)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn dialer(&self) -> Result<Arc<Dialer>, NoAnswer> {
        let inner = &self.0;
        let mut dialer = inner.dialer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dialer) = dialer.as_ref() {
            return Ok(Arc::clone(dialer));
        }
        let extra: Vec<CertificateDer<'static>> =
            inner.extra_roots.iter().cloned().map(CertificateDer::from).collect();
        let tls = TlsDialer::new(&extra)
            .map_err(|error| NoAnswer::not_opened((Step::Tls, Seen::Tls(error.to_string()))))?;
        Ok(Arc::clone(dialer.insert(Arc::new(Dialer { names: inner.names.clone(), tls }))))
    }
}

impl NoAnswer {
    fn not_opened((step, seen): (Step, Seen)) -> Self {
        Self::NotOpened { step, seen }
    }
}

impl From<Seen> for NoAnswer {
    fn from(seen: Seen) -> Self {
        Self::NotAnswered(seen)
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

struct Answer {
    status: u16,
    /// What came back for the challenge.
    response: Option<String>,
    latency: Duration,
}

async fn get(stream: Raw, path: &str, node: &RegionNode, field: &str) -> Result<Answer, NoAnswer> {
    let answer = clock::timeout(ANSWER, ask(stream, path, node, field)).await;
    Ok(answer.unwrap_or(Err(Seen::Timeout))?)
}

async fn ask(mut stream: Raw, path: &str, node: &RegionNode, field: &str) -> Result<Answer, Seen> {
    let mut host = http::host(node);
    if ![DEFAULT_DERP_PORT, PLAIN_PORT].contains(&node.derp_port) {
        host.push_str(&format!(":{}", node.derp_port));
    }
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{field}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| seen(&error))?;
    stream.flush().await.map_err(|error| seen(&error))?;
    let asked = clock::now();
    let (mut head, mut latency) = (Vec::new(), None);
    loop {
        if head.len() >= HEAD_BYTES {
            return Err(Seen::NotHttp);
        }
        if stream.read_buf(&mut head).await.map_err(|error| seen(&error))? == 0 {
            return Err(Seen::End);
        }
        let latency = *latency.get_or_insert_with(|| clock::now().saturating_duration_since(asked));
        if let Some((status, response)) = read_head(&head)? {
            return Ok(Answer { status, response, latency });
        }
    }
}

/// The status and the answer to the challenge, once the head is whole.
fn read_head(bytes: &[u8]) -> Result<Option<(u16, Option<String>)>, Seen> {
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Seen::NotHttp),
    }
    let status = response.code.ok_or(Seen::NotHttp)?;
    let mut fields = response.headers.iter();
    let field = fields.find(|field| field.name.eq_ignore_ascii_case("X-Tailscale-Response"));
    Ok(Some((status, field.map(|field| String::from_utf8_lossy(field.value).trim().to_owned()))))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A server on loopback that answers one request so, with `{challenge}` filled in; and the node that it is.
    fn server(answer: &'static str) -> RegionNode {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let request = String::from_utf8(request).unwrap();
            let challenge = request.lines().find_map(|line| line.strip_prefix("X-Tailscale-Challenge: "));
            stream
                .write_all(answer.replace("{challenge}", challenge.unwrap_or_default()).as_bytes())
                .unwrap();
        });
        RegionNode { plain: true, derp_port: port, ..RegionNode::new("a", "127.0.0.1") }
    }

    fn probe() -> Probe {
        Probe::new(Names::new(), Proxies::none(), Vec::new())
    }

    #[tokio::test]
    async fn only_who_answers_the_challenge_is_the_relay() {
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\nX-Tailscale-Response: response {challenge}\r\n\r\n", Ok(true)),
            ("HTTP/1.1 204 No Content\r\nX-Tailscale-Response: {challenge}\r\n\r\n", Ok(false)),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(false)),
            ("HTTP/1.1 200 OK\r\nX-Tailscale-Response: response {challenge}\r\n\r\n", Ok(false)),
            ("HTTP/1.1 302 Found\r\nLocation: http://hotel.example/\r\n\r\n", Ok(false)),
            ("SSH-2.0-x\r\n", Ok(false)),
            ("HTTP/1.1 20", Err(Seen::End.into())),
        ] {
            assert_eq!(probe().is_relay(&server(answer), [7; 16]).await, expected, "{answer}");
        }
    }

    #[tokio::test]
    async fn an_answer_takes_its_time_and_another_status_is_none() {
        assert!(probe().latency(&server("HTTP/1.1 200 OK\r\n\r\n")).await.is_ok());
        let refused = probe().latency(&server("HTTP/1.1 503 Busy\r\n\r\n")).await.unwrap_err();
        assert_eq!(refused.to_string(), "asking over HTTP: HTTP status 503");
        let nobody = RegionNode { derp_port: 1, ..server("") };
        let error = probe().latency(&nobody).await.unwrap_err();
        assert!(matches!(error, NoAnswer::NotOpened { step: Step::Connect, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut() {
        let endless: &'static str =
            Box::leak(format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1 << 16)).into());
        assert_eq!(probe().latency(&server(endless)).await, Err(Seen::NotHttp.into()));
    }
}
