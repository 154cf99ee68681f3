//! What a UDP socket is to its owner.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use super::post::Post;
use crate::{Local, SendError};

/// A UDP socket. Dropping it frees the port; what was sent before still leaves.
pub struct UdpSocket(Arc<Post>);

impl UdpSocket {
    pub(super) const fn over(post: Arc<Post>) -> Self {
        Self(post)
    }

    /// Sends a datagram from the address that the socket is bound to, else from the own one nearest to `to`. Waits while
    /// [as many as may](crate::Limits::datagrams) wait to leave.
    ///
    /// # Errors
    /// [`SendError`]; never [`Full`](SendError::Full).
    pub async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_send_to(cx, bytes, to)).await
    }

    /// As [`send_to`](Self::send_to), to be polled.
    ///
    /// # Errors
    /// As `send_to`.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<Result<(), SendError>> {
        let to = self.0.facts.route(self.0.local, bytes.len(), to)?;
        self.0.poll_send(cx, bytes, to)
    }

    /// The oldest datagram that arrived: how much of it fitted into `into`, the rest is lost, and who sent it.
    ///
    /// # Errors
    /// `NotConnected` once the stack's task has ended.
    pub async fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, into)).await
    }

    /// As [`recv_from`](Self::recv_from), to be polled.
    ///
    /// # Errors
    /// As `recv_from`.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.0.poll_recv(cx, into)
    }

    /// Where it is bound, with the port that it got.
    #[must_use]
    pub fn local(&self) -> Local {
        self.0.local
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.0.drop_socket();
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("local", &self.local()).finish_non_exhaustive()
    }
}
