//! What is served over plain HTTP beside the relay, on listeners of their own: its numbers, and the check for captive portals.

use std::{io, sync::Arc, time::Duration};

use tidewire_clock as clock;
use tidewire_keys::RelayPublic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
};

use super::{Answer, Mailbox};
use crate::{
    http::{self, MAX_HEAD},
    metrics::Stats,
};

/// Most connections of one listener at a time; further ones wait.
pub(crate) const CONNECTIONS: usize = 64;
/// How long a connection may take, all in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to accept nothing when the system has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// What a listener serves.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// `/metrics`, and `/` for people.
    Numbers { key: RelayPublic, mailbox: Arc<Mailbox> },
    /// `/generate_204`, and a word at `/`.
    PortalCheck,
}

/// Serves that, for ever: one short answer a connection.
pub(crate) async fn serve_page(listener: TcpListener, content: Content) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            clock::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let content = content.clone();
        tokio::spawn(async move {
            // Whoever asked sees that it failed; there is nobody else to tell.
            let _ = clock::timeout(PATIENCE, answer(stream, &content)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, content: &Content) -> io::Result<()> {
    let mut head = Vec::new();
    while http::head_end(&head).is_none() && head.len() < MAX_HEAD {
        let mut piece = [0; 1024];
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            count => head.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    stream.write_all(&content.response(&head).await).await?;
    stream.shutdown().await?;
    // To its end: a socket that is closed with something unread takes the answer back.
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

impl Content {
    async fn response(&self, head: &[u8]) -> Vec<u8> {
        match (self, http::path(head)) {
            (Self::Numbers { mailbox, .. }, Some("/metrics")) => {
                http::page(OPEN_METRICS, &stats(mailbox).await.to_open_metrics())
            }
            (Self::Numbers { key, mailbox }, Some("/")) => {
                http::page(HTML, &stats(mailbox).await.to_html(key))
            }
            (Self::Numbers { .. }, _) => http::no_page(),
            (Self::PortalCheck, _) => http::portal_check(head),
        }
    }
}

async fn stats(mailbox: &Mailbox) -> Stats {
    let (answer, stats) = oneshot::channel();
    mailbox.ask(|asked| {
        // Whoever asked may have given up.
        asked.stats.push(Answer(Box::new(|stats| drop(answer.send(stats)))));
    });
    stats.await.unwrap_or_default()
}
