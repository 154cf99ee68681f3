//! What node B offers in the demo, and how node A uses it: echoes, and bulk bytes answered with their hash.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use ring::digest::{self, SHA256};
use tidewire_keys::{Drbg, Seed};
use tidewire_node::{TcpListener, TcpStream, clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Port of the service in the mesh.
pub(super) const PORT: u16 = 7;

const ECHO: u8 = b'E';
const BULK: u8 = b'B';
const CHUNK: usize = 64 * 1024;
const HASH: usize = 32;

/// Serves every connection, one task each.
pub(super) async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Err(error) = answer(stream).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

/// Each request is a letter and a length (8 bytes, big endian), then that many bytes.
async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [kind, length @ ..] = head;
        let mut left = u64::from_be_bytes(length);
        let mut hash = digest::Context::new(&SHA256);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let got = stream.read(&mut buffer[..want]).await?;
            ensure!(got > 0, "the other end is gone");
            left -= got as u64;
            if kind == ECHO {
                stream.write_all(&buffer[..got]).await?;
            } else {
                hash.update(&buffer[..got]);
            }
        }
        if kind == BULK {
            stream.write_all(hash.finish().as_ref()).await?;
        }
        stream.flush().await?;
    }
}

/// Asks for an echo of `text`.
pub(super) async fn echo(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    stream.write_all(&head(ECHO, text.len() as u64)).await?;
    stream.write_all(text).await?;
    stream.flush().await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    ensure!(answer == text, "the echo is not what was sent");
    Ok(())
}

/// Sends `bytes` random bytes and compares the hash that comes back. Returns how long it took.
pub(super) async fn bulk(
    stream: &mut TcpStream,
    bytes: u64,
    seed: Seed,
    bar: &ProgressBar,
) -> Result<Duration> {
    let start = clock::now();
    let mut random = Drbg::new(&seed, "bulk transfer");
    let mut hash = digest::Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK];
    stream.write_all(&head(BULK, bytes)).await?;
    let mut left = bytes;
    while left > 0 {
        let chunk = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let chunk = &mut buffer[..chunk];
        random.fill(chunk);
        hash.update(chunk);
        stream.write_all(chunk).await.context("the connection broke")?;
        left -= chunk.len() as u64;
        bar.inc(chunk.len() as u64);
    }
    stream.flush().await?;
    let mut answer = [0; HASH];
    stream.read_exact(&mut answer).await.context("the connection broke before the hash came")?;
    bar.finish_and_clear();
    if answer != hash.finish().as_ref() {
        bail!("the hash at the other end is another: bytes were changed on the way");
    }
    Ok(clock::now() - start)
}

fn head(kind: u8, length: u64) -> [u8; 9] {
    let mut head = [kind; 9];
    head[1..].copy_from_slice(&length.to_be_bytes());
    head
}
