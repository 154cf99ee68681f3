//! What a TCP connection is to its owner: a stream that is read and written, whole or in halves.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{mailbox::Mailbox, pipe::Pipe};
use crate::DialError;

/// A TCP connection.
///
/// - Writing waits while 256 KiB and the [send buffer](crate::Limits::send_buffer) wait to be sent or acknowledged.
/// - Flushing does nothing: what was written is on its way.
/// - Shutting down closes this half and waits until the other end has acknowledged everything, so that a program may exit
///   after it. Reading goes on until the other end closes its half.
/// - Dropping it closes it: what was written is still delivered while the stack's task runs. If bytes that arrived were not
///   read, or more arrive, the other end sees a reset, as with a socket of the kernel.
///
/// Errors say how the connection ended, see [`End`](crate::End); bytes that arrived before can still be read.
#[derive(Debug)]
pub struct TcpStream {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

/// The half of a [`TcpStream`] that reads. The connection lives until both halves are gone.
#[derive(Debug)]
pub struct OwnedReadHalf {
    pipe: Arc<Pipe>,
    piece: Vec<u8>,
    at: usize,
}

/// The half of a [`TcpStream`] that writes. Dropping it closes this half of the connection.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    pipe: Arc<Pipe>,
}

impl TcpStream {
    /// The two halves, for two tasks.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (self.reader, self.writer)
    }

    /// Its own end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.writer.pipe.ends().0
    }

    /// The other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.writer.pipe.ends().1
    }

    /// Gives the connection up: nothing more is delivered, the other end sees a reset.
    pub fn abort(self) {
        self.writer.pipe.give_up();
    }

    pub(super) fn over(pipe: Arc<Pipe>) -> Self {
        let reader = OwnedReadHalf { pipe: Arc::clone(&pipe), piece: Vec::new(), at: 0 };
        Self { reader, writer: OwnedWriteHalf { pipe } }
    }

    pub(super) fn dial(to: SocketAddr, mailbox: Arc<Mailbox>) -> Self {
        let pipe = Pipe::new(Some(to), mailbox);
        pipe.announce();
        Self::over(pipe)
    }

    pub(super) async fn connected(&self) -> Result<(), DialError> {
        poll_fn(|cx| self.writer.pipe.poll_connected(cx)).await
    }
}

impl OwnedReadHalf {
    /// Its own end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.pipe.ends().0
    }

    /// The other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.pipe.ends().1
    }
}

impl OwnedWriteHalf {
    /// Its own end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.pipe.ends().0
    }

    /// The other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.pipe.ends().1
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.at == this.piece.len() {
            let old = std::mem::take(&mut this.piece);
            this.at = 0;
            match ready!(this.pipe.poll_take(cx, old))? {
                Some(piece) => this.piece = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let rest = &this.piece[this.at..];
        let len = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..len]);
        this.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pipe.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_shutdown(cx)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        self.pipe.drop_reader(self.at < self.piece.len());
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.pipe.drop_writer();
    }
}
