//! The smallest HTTP that shows a transfer to be whole: the path says how many bytes of which seed, both ends know their hash.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use blake2::{Blake2s256, Digest as _};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::report::now;

/// A transfer in which nothing moves for so long has failed.
const STALL: Duration = Duration::from_secs(20);
/// More than any head here.
const MAX_HEAD: u64 = 8192;
const CHUNK: usize = 64 * 1024;

/// What a fetch found, all checks passed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fetched {
    pub(crate) bytes: u64,
    /// BLAKE2s-256 of the body, as it should be.
    pub(crate) hash: String,
    /// From the start of the connection to its end.
    pub(crate) millis: u64,
}

/// Serves until it is killed, a thread for each connection.
pub(crate) fn serve(listen: SocketAddr) -> Result<Outcome> {
    let listener = TcpListener::bind(listen)?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = answer(&stream) {
                eprintln!("http: {error:#}");
            }
        });
    }
    Ok(Outcome::Done)
}

fn answer(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let head = read_head(&mut BufReader::new(stream))?;
    let mut out = stream;
    let Some((bytes, seed)) = requested(&head[0]) else {
        out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        return Ok(());
    };
    write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n")?;
    body(bytes, seed, |chunk| Ok(out.write_all(chunk)?))
}

/// Fetches and prints one JSON object, for the scenario that started it in a namespace.
/// With a `rate` in bytes per second it reads no faster, and the network has to wait for it.
pub(crate) fn fetch_and_print(from: SocketAddr, bytes: u64, seed: u64, rate: Option<u64>) -> Result<Outcome> {
    println!("{}", serde_json::to_string(&fetch(from, bytes, seed, rate)?)?);
    Ok(Outcome::Done)
}

fn fetch(from: SocketAddr, bytes: u64, seed: u64, rate: Option<u64>) -> Result<Fetched> {
    let expected = expected_hash(bytes, seed)?;
    let start = now();
    let stream = TcpStream::connect_timeout(&from, STALL).context("connect")?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let mut out = &stream;
    write!(out, "GET /{bytes}/{seed} HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n")
        .context("request")?;
    let mut input = BufReader::with_capacity(CHUNK, &stream);
    let head = read_head(&mut input).context("the head of the answer")?;
    ensure!(head[0].starts_with("HTTP/1.1 200 "), "the answer is `{}`", head[0]);
    let length = format!("Content-Length: {bytes}");
    ensure!(head.contains(&length), "the answer does not say `{length}`");
    let (received, hash) = hash_of(&mut input, rate).context("the body")?;
    let millis = u64::try_from(start.elapsed().as_millis())?;
    ensure!(received == bytes, "{received} bytes of {bytes} came");
    ensure!(hash == expected, "the body is not what was sent: {hash}, not {expected}");
    Ok(Fetched { bytes, hash, millis })
}

/// The lines of a head, at least one.
fn read_head(input: &mut impl BufRead) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut limited = input.take(MAX_HEAD);
    loop {
        let mut line = String::new();
        ensure!(limited.read_line(&mut line)? > 0, "the stream ended in the head");
        match line.trim_end() {
            "" if lines.is_empty() => bail!("an empty head"),
            "" => return Ok(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

/// `GET /BYTES/SEED HTTP/1.1`.
fn requested(line: &str) -> Option<(u64, u64)> {
    let (bytes, seed) = line.strip_prefix("GET /")?.strip_suffix(" HTTP/1.1")?.split_once('/')?;
    Some((bytes.parse().ok()?, seed.parse().ok()?))
}

fn hash_of(input: &mut impl Read, rate: Option<u64>) -> Result<(u64, String)> {
    let start = now();
    let mut hash = Blake2s256::new();
    let mut chunk = vec![0; CHUNK];
    let mut received = 0;
    loop {
        let length = input.read(&mut chunk)?;
        if length == 0 {
            return Ok((received, hex(&hash.finalize())));
        }
        hash.update(&chunk[..length]);
        received += length as u64;
        if let Some(rate) = rate {
            let due = start + Duration::from_micros(received * 1_000_000 / rate.max(1));
            thread::sleep(due.saturating_duration_since(now()));
        }
    }
}

fn expected_hash(bytes: u64, seed: u64) -> Result<String> {
    let mut hash = Blake2s256::new();
    body(bytes, seed, |chunk| {
        hash.update(chunk);
        Ok(())
    })?;
    Ok(hex(&hash.finalize()))
}

/// Bytes that no compression and no repetition can fake (xorshift64*).
fn body(bytes: u64, seed: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            word.copy_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        take(&chunk[..length])?;
        left -= length as u64;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(answer_one: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || answer_one(listener.accept().unwrap().0));
        address
    }

    #[test]
    fn a_whole_transfer_is_accepted() {
        for bytes in [0, 1, CHUNK as u64, 200_001] {
            let address = server(|stream| answer(&stream).unwrap());
            let fetched = fetch(address, bytes, 7, None).unwrap();
            assert_eq!((fetched.bytes, fetched.hash.len()), (bytes, 64));
        }
    }

    /// Answers with a good head and the body of a change.
    fn changed(change: fn(Vec<u8>) -> Vec<u8>) -> String {
        let address = server(move |stream| {
            read_head(&mut BufReader::new(&stream)).unwrap();
            let mut whole = Vec::new();
            body(1000, 7, |chunk| Ok(whole.write_all(chunk)?)).unwrap();
            let mut out = &stream;
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").unwrap();
            out.write_all(&change(whole)).unwrap();
        });
        fetch(address, 1000, 7, None).unwrap_err().to_string()
    }

    #[test]
    fn a_damaged_transfer_is_refused() {
        assert!(
            changed(|mut body| {
                body[500] ^= 1;
                body
            })
            .contains("not what was sent")
        );
        assert!(
            changed(|mut body| {
                body.pop();
                body
            })
            .contains("999 bytes of 1000")
        );
        assert!(
            changed(|mut body| {
                body.push(0);
                body
            })
            .contains("1001 bytes of 1000")
        );
    }

    #[test]
    fn other_requests_are_not_found() {
        assert_eq!(requested("GET /10/3 HTTP/1.1"), Some((10, 3)));
        for line in ["GET / HTTP/1.1", "POST /10/3 HTTP/1.1", "GET /10/3", "GET /-1/3 HTTP/1.1", ""] {
            assert_eq!(requested(line), None, "{line}");
        }
    }

    #[test]
    fn seeds_make_different_bodies() {
        assert_ne!(expected_hash(1000, 0).unwrap(), expected_hash(1000, 1).unwrap());
    }
}
