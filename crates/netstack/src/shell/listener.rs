//! What a listening port is to its owner.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use super::{hall::Hall, stream::TcpStream};
use crate::Local;

/// A port that takes connections. Dropping it resets those that were not accepted, and frees the port.
pub struct TcpListener(Arc<Hall>);

impl TcpListener {
    pub(super) const fn over(hall: Arc<Hall>) -> Self {
        Self(hall)
    }

    /// The oldest connection that waits, and its other end. Several tasks may wait at once; dropping the future loses none.
    ///
    /// # Errors
    /// `NotConnected` once the stack's task has ended.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](Self::accept), to be polled.
    ///
    /// # Errors
    /// As `accept`.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.0.poll_accept(cx).map_ok(|stream| {
            let peer = stream.peer_addr();
            (stream, peer)
        })
    }

    /// Where it listens, with the port that it got.
    #[must_use]
    pub fn local(&self) -> Local {
        self.0.local
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.0.drop_listener();
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("local", &self.local()).finish_non_exhaustive()
    }
}
