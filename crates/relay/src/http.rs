//! What a relay answers to an HTTP request: upgrades to DERP or WebSocket, probes, and refusals. Heads only, bodies are not read.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tidewire_derp::frame::PROTOCOL_VERSION;

/// Longest request head in bytes.
pub(crate) const MAX_HEAD: usize = 8 * 1024;
/// Most header fields of a request.
const MAX_FIELDS: usize = 64;
/// Longest challenge of a captive portal check, in characters.
const MAX_CHALLENGE: usize = 64;

/// What comes of a request head. The responses are whole, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From here on frames, both ways. The response is empty where the client asked for a fast start.
    Derp { response: Vec<u8> },
    /// From here on WebSocket messages with a stream of frames in them. Not agreed: the client named no subprotocol
    /// that is served, and is to be told so in a WebSocket close.
    WebSocket { response: Vec<u8>, agreed: bool },
    /// The response, and then the end of the connection.
    Answer { response: Vec<u8> },
}

/// Where a request head ends, if it does: behind its first empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    let ends = |at: usize| match bytes.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        _ => None,
    };
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| ends(at))
}

/// Reads a whole request head, up to and with its empty line. `key` is the relay's public key in hex.
pub(crate) fn respond(head: &[u8], key: &str) -> Outcome {
    respond_by(head, |request| route(request, key))
}

fn respond_by(head: &[u8], route: impl FnOnce(&httparse::Request<'_, '_>) -> Outcome) -> Outcome {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => route(&request),
        Err(httparse::Error::TooManyHeaders) => too_large(),
        _ => answer("400 Bad Request", &[], "This is no HTTP/1 request.\n", true),
    }
}

/// The answer to a request head that does not end within [`MAX_HEAD`].
pub(crate) fn too_large() -> Outcome {
    answer("431 Request Header Fields Too Large", &[], "The request head is too long.\n", true)
}

/// The answer of a listener without TLS that is there for captive portals to be found, and serves nothing that needs a relay.
#[cfg(feature = "server")]
pub(crate) fn portal_check(head: &[u8]) -> Vec<u8> {
    let outcome = respond_by(head, |request| match path_of(request) {
        "/generate_204" | "/" => route(request, ""),
        _ => not_found(request.method != Some("HEAD")),
    });
    let (Outcome::Answer { response } | Outcome::Derp { response } | Outcome::WebSocket { response, .. }) =
        outcome;
    response
}

/// The path that a whole head asks to read, without its query.
#[cfg(feature = "server")]
pub(crate) fn path(head: &[u8]) -> Option<&str> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let is_read =
        request.parse(head).is_ok_and(|status| status.is_complete()) && request.method == Some("GET");
    request.path.filter(|_| is_read)?.split('?').next()
}

/// A whole response with that content.
#[cfg(feature = "server")]
pub(crate) fn page(content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len().to_string();
    (head("200 OK", &[("Content-Type", content_type), ("Content-Length", &length)]) + body).into_bytes()
}

/// A whole response where there is no such page.
#[cfg(feature = "server")]
pub(crate) fn no_page() -> Vec<u8> {
    head("404 Not Found", &[("Content-Length", "0")]).into_bytes()
}

fn route(request: &httparse::Request<'_, '_>, key: &str) -> Outcome {
    let method = request.method.unwrap_or_default();
    let has_body = method != "HEAD";
    let is_read = matches!(method, "GET" | "HEAD");
    match path_of(request) {
        "/derp" => derp(request, key, has_body),
        "/derp/probe" | "/derp/latency-check" if is_read => {
            answer("200 OK", &[("Access-Control-Allow-Origin", "*")], "", has_body)
        }
        "/derp/probe" | "/derp/latency-check" => {
            answer("405 Method Not Allowed", &[("Allow", "GET, HEAD")], "", has_body)
        }
        "/generate_204" => no_content(request),
        "/" if is_read => answer("200 OK", &[], "A DERP relay, served by Tidewire.\n", has_body),
        _ => not_found(has_body),
    }
}

/// Without its query.
fn path_of<'h>(request: &httparse::Request<'_, 'h>) -> &'h str {
    request.path.unwrap_or_default().split('?').next().unwrap_or_default()
}

fn not_found(has_body: bool) -> Outcome {
    answer("404 Not Found", &[], "There is nothing here.\n", has_body)
}

fn derp(request: &httparse::Request<'_, '_>, key: &str, has_body: bool) -> Outcome {
    let upgrade = field(request, "Upgrade").unwrap_or_default().to_ascii_lowercase();
    let protocols = field(request, "Sec-WebSocket-Protocol").unwrap_or_default();
    match upgrade.as_str() {
        // As Tailscale decides: whether the text is there at all, in this case.
        "websocket" if protocols.contains("derp") => websocket(request, protocols, has_body),
        "derp" | "websocket" => {
            let is_fast = field(request, "Derp-Fast-Start") == Some("1");
            Outcome::Derp { response: if is_fast { Vec::new() } else { switch_to_derp(key) } }
        }
        _ => {
            answer("426 Upgrade Required", &[("Upgrade", "DERP")], "Ask for an upgrade to DERP.\n", has_body)
        }
    }
}

fn switch_to_derp(key: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\
         Derp-Version: {PROTOCOL_VERSION}\r\nDerp-Public-Key: {key}\r\n\r\n"
    )
    .into_bytes()
}

/// The server's half of the opening handshake (RFC 6455, section 4.2).
fn websocket(request: &httparse::Request<'_, '_>, protocols: &str, has_body: bool) -> Outcome {
    if field(request, "Sec-WebSocket-Version") != Some("13") {
        return answer(
            "426 Upgrade Required",
            &[("Sec-WebSocket-Version", "13")],
            "Version 13 is spoken here.\n",
            has_body,
        );
    }
    let key = field(request, "Sec-WebSocket-Key").unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) || request.method != Some("GET") {
        return answer("400 Bad Request", &[], "This is no WebSocket handshake.\n", has_body);
    }
    let agreed = protocols.split(',').any(|protocol| protocol.trim() == "derp");
    let protocol = if agreed { "Sec-WebSocket-Protocol: derp\r\n" } else { "" };
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        accept(key)
    );
    Outcome::WebSocket { response: response.into_bytes(), agreed }
}

/// The proof that the handshake was read (RFC 6455, section 1.3).
fn accept(key: &str) -> String {
    let proof =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    STANDARD.encode(proof)
}

/// How clients look for captive portals: one that answers in our place cannot know the challenge.
fn no_content(request: &httparse::Request<'_, '_>) -> Outcome {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let challenge = field(request, "X-Tailscale-Challenge")
        .filter(|text| (1..=MAX_CHALLENGE).contains(&text.len()) && text.chars().all(is_valid));
    let response = challenge.map(|text| format!("response {text}"));
    let mut fields = vec![("Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0")];
    fields.extend(response.as_deref().map(|text| ("X-Tailscale-Response", text)));
    Outcome::Answer { response: head("204 No Content", &fields).into_bytes() }
}

fn answer(status: &str, fields: &[(&str, &str)], body: &str, has_body: bool) -> Outcome {
    let length = body.len().to_string();
    let mut all = vec![("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", &length)];
    all.extend(fields);
    let body = if has_body { body } else { "" };
    Outcome::Answer { response: (head(status, &all) + body).into_bytes() }
}

fn head(status: &str, fields: &[(&str, &str)]) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in fields {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head + "\r\n"
}

/// The value of the first field with that name, if it is text.
fn field<'h>(request: &httparse::Request<'_, 'h>, name: &str) -> Option<&'h str> {
    let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(field.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(head: &str) -> (String, Outcome) {
        let head = head.replace('\n', "\r\n");
        assert_eq!(head_end(head.as_bytes()), Some(head.len()));
        let outcome = respond(head.as_bytes(), "ab12");
        let (Outcome::Derp { response } | Outcome::WebSocket { response, .. } | Outcome::Answer { response }) =
            &outcome;
        (String::from_utf8(response.clone()).unwrap(), outcome)
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        for (bytes, end) in [
            ("GET / HTTP/1.1\r\n\r\nrest", Some(18)),
            ("GET / HTTP/1.1\n\nrest", Some(16)),
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n\r\n", Some(24)),
            ("GET / HTTP/1.1\r\n\r", None),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(head_end(bytes.as_bytes()), end, "{bytes:?}");
        }
    }

    #[test]
    fn an_upgrade_is_answered_with_the_key() {
        let (response, outcome) = ask("GET /derp HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: DERP\n\n");
        assert!(matches!(outcome, Outcome::Derp { .. }));
        assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n"), "{response}");
        assert!(response.ends_with("Derp-Version: 2\r\nDerp-Public-Key: ab12\r\n\r\n"), "{response}");
    }

    /// Neither the method, the Connection field, the version nor the case of the word is looked at, as in the original.
    #[test]
    fn an_upgrade_is_read_as_laxly_as_the_original_does() {
        for head in ["POST /derp HTTP/1.0\nUpgrade: dErP\n\n", "GET /derp?x HTTP/1.1\nupgrade: WebSocket\n\n"]
        {
            assert!(matches!(ask(head).1, Outcome::Derp { .. }), "{head}");
        }
    }

    #[test]
    fn a_fast_start_gets_no_response() {
        let head = "GET /derp HTTP/1.1\nHost: a\nUpgrade: DERP\nDerp-Fast-Start: 1\n\n";
        assert_eq!(ask(head).1, Outcome::Derp { response: vec![] });
        assert!(!ask(&head.replace("Start: 1", "Start: 0")).0.is_empty());
    }

    #[test]
    fn no_upgrade_or_more_than_one_word_is_426() {
        for upgrade in ["", "Upgrade: websocket, derp\n", "Upgrade: h2c\n"] {
            let (response, _) = ask(&format!("GET /derp HTTP/1.1\nHost: a\n{upgrade}\n"));
            assert!(response.starts_with("HTTP/1.1 426 "), "{upgrade}: {response}");
        }
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn a_websocket_handshake_is_proven_read() {
        let head = "GET /derp HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: Upgrade\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: chat, derp\n\n";
        let (response, outcome) = ask(head);
        assert!(matches!(outcome, Outcome::WebSocket { agreed: true, .. }));
        assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
        assert!(response.contains("Sec-WebSocket-Protocol: derp\r\n"), "{response}");
        assert!(matches!(
            ask(&head.replace("chat, derp", "derpy")).1,
            Outcome::WebSocket { agreed: false, .. }
        ));
        assert!(
            matches!(ask(&head.replace("chat, derp", "DERP")).1, Outcome::Derp { .. }),
            "the text is case-sensitive"
        );
        assert!(ask(&head.replace("13", "12")).0.starts_with("HTTP/1.1 426 "));
        assert!(ask(&head.replace("dGhl", "")).0.starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn probes_are_answered_with_an_open_origin() {
        for path in ["/derp/probe", "/derp/latency-check"] {
            for method in ["GET", "HEAD"] {
                let (response, _) = ask(&format!("{method} {path} HTTP/1.1\nHost: a\n\n"));
                assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
                assert!(response.contains("Access-Control-Allow-Origin: *\r\n"), "{response}");
            }
            assert!(ask(&format!("POST {path} HTTP/1.1\nHost: a\n\n")).0.starts_with("HTTP/1.1 405 "));
        }
    }

    #[test]
    fn a_captive_portal_check_brings_its_challenge_back() {
        let asked = |challenge: &str| {
            ask(&format!("GET /generate_204 HTTP/1.1\nX-Tailscale-Challenge: {challenge}\n\n")).0
        };
        let longest = "a".repeat(64);
        for good in ["ts_derp.example:1-A", &longest] {
            let response = asked(good);
            assert!(response.starts_with("HTTP/1.1 204 No Content\r\n"), "{response}");
            assert!(response.contains(&format!("X-Tailscale-Response: response {good}\r\n")), "{response}");
        }
        for bad in ["", "a b", "a/b", &"a".repeat(65)] {
            let response = asked(bad);
            assert!(
                response.starts_with("HTTP/1.1 204 ") && !response.contains("X-Tailscale-Response"),
                "{response}"
            );
        }
    }

    #[test]
    fn what_is_no_request_is_400_and_the_unknown_is_404() {
        assert!(ask("PRI * HTTP/2.0\n\n").0.starts_with("HTTP/1.1 400 "));
        assert!(ask("\x16\x03\x01\n\n").0.starts_with("HTTP/1.1 400 "));
        assert!(ask("GET /derp/x HTTP/1.1\n\n").0.starts_with("HTTP/1.1 404 "));
        assert!(ask(&format!("GET / HTTP/1.1\n{}\n", "A: b\n".repeat(65))).0.starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn a_head_request_gets_no_body() {
        let (response, _) = ask("HEAD / HTTP/1.1\n\n");
        assert!(response.ends_with("\r\n\r\n") && !response.contains("Content-Length: 0"), "{response}");
    }

    #[cfg(feature = "server")]
    #[test]
    fn the_listener_for_captive_portals_serves_nothing_else() {
        let ask = |request: &str| {
            let head = format!("{request} HTTP/1.1\r\nUpgrade: DERP\r\nX-Tailscale-Challenge: a.b\r\n\r\n");
            String::from_utf8(portal_check(head.as_bytes())).unwrap()
        };
        let empty = ask("GET /generate_204?x");
        assert!(empty.starts_with("HTTP/1.1 204 ") && empty.contains("response a.b\r\n"), "{empty}");
        assert!(ask("GET /").starts_with("HTTP/1.1 200 "));
        for other in ["GET /derp", "GET /derp/probe", "HEAD /metrics", "GET /generate_204/"] {
            assert!(ask(other).starts_with("HTTP/1.1 404 "), "{other}");
        }
        assert!(portal_check(b"\x16\x03\x01").starts_with(b"HTTP/1.1 400 "));
    }
}
