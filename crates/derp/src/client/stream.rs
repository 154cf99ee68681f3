//! A stream to a relay whatever it runs over, as bytes in and bytes out.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{tls::Tls, websocket::WebSocket};
use crate::machine::Seen;

/// An open stream.
pub(super) enum Stream {
    /// TCP or TLS.
    Raw(Raw),
    /// The content of WebSocket messages.
    WebSocket(Box<WebSocket>),
}

/// TCP, with TLS or without.
pub(super) enum Raw {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Stream {
    /// Reads into `buffer`; zero bytes are the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Seen>> {
        match self {
            Self::Raw(raw) => {
                let mut buffer = ReadBuf::new(buffer);
                let done = ready!(Pin::new(raw).poll_read(cx, &mut buffer));
                Poll::Ready(done.map(|()| buffer.filled().len()).map_err(|error| seen(&error)))
            }
            Self::WebSocket(socket) => socket.poll_read(cx, buffer),
        }
    }

    /// Takes bytes of `buffer`, at least one. They are on their way once [`poll_flush`](Self::poll_flush) is done.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize, Seen>> {
        match self {
            Self::Raw(raw) => match ready!(Pin::new(raw).poll_write(cx, buffer)) {
                Ok(0) => Poll::Ready(Err(Seen::End)),
                Ok(count) => Poll::Ready(Ok(count)),
                Err(error) => Poll::Ready(Err(seen(&error))),
            },
            Self::WebSocket(socket) => socket.poll_write(cx, buffer),
        }
    }

    /// Hands everything that was taken to the system.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Seen>> {
        match self {
            Self::Raw(raw) => Pin::new(raw).poll_flush(cx).map_err(|error| seen(&error)),
            Self::WebSocket(socket) => socket.poll_flush(cx),
        }
    }
}

impl Stream {
    /// Says goodbye if that can be done without waiting: a close of TLS or of WebSocket lets the other end know at once.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        let said = match self {
            Self::Raw(raw) => Pin::new(raw).poll_shutdown(cx).map(|_| ()),
            Self::WebSocket(socket) => socket.poll_close(cx),
        };
        // Who does not listen finds out by the end of the stream.
        let _ = said;
    }
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// What an error of a stream means. A relay that is stopped sends neither a frame nor a close of TLS: that, and a reset, is an
/// ordinary end.
pub(super) fn seen(error: &io::Error) -> Seen {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Seen::End,
        ErrorKind::InvalidData => Seen::Tls(error.to_string()),
        kind => Seen::Io(kind),
    }
}
