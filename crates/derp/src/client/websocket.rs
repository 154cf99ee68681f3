//! DERP inside WebSocket: a byte stream in binary messages whose boundaries mean nothing.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream as _};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        ClientRequestBuilder, Error, Message,
        error::ProtocolError,
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::stream::{Raw, seen};
use crate::{
    frame::MAX_FRAME,
    machine::{DERP_PATH, Seen, http},
    region::RegionNode,
};

/// Longest message that is sent. Tailscale's relay closes the connection with code 1009 at one byte more.
const SEND: usize = 32_768;
/// Longest message that is taken. Tailscale's relay sends the rest of a long frame in one piece, up to 65,573 bytes.
const RECEIVE: usize = MAX_FRAME + 4096;
/// Bytes that may wait in the WebSocket for the system to take them.
const WAITING: usize = 4 * SEND;
/// A read from the stream below.
const READ: usize = 64 << 10;

/// The byte stream.
pub(super) struct WebSocket {
    messages: WebSocketStream<Raw>,
    /// What is left of a message.
    rest: Bytes,
}

impl WebSocket {
    /// Shakes hands over `raw`: subprotocol `derp`, no compression.
    pub(super) async fn connect(node: &RegionNode, raw: Raw) -> Result<Self, Seen> {
        let scheme = if node.plain { "ws" } else { "wss" };
        let uri = format!("{scheme}://{}{DERP_PATH}", http::host(node));
        let uri = uri.parse().map_err(|_| Seen::WebSocket("the host name fits no URI".to_owned()))?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("derp");
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(WAITING)
            .max_message_size(Some(RECEIVE))
            .max_frame_size(Some(RECEIVE));
        let (messages, _) = client_async_with_config(request, raw, Some(config)).await.map_err(why)?;
        Ok(Self { messages, rest: Bytes::new() })
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Seen>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.rest = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(Seen::WebSocket(
                        "a text message in a stream of bytes".to_owned(),
                    )));
                }
                Some(Ok(Message::Close(None))) | None => return Poll::Ready(Ok(0)),
                Some(Ok(Message::Close(Some(close)))) => return Poll::Ready(closed(close.code)),
                Some(Err(error)) => return Poll::Ready(Err(why(error))),
            }
        }
        let count = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize, Seen>> {
        ready!(Pin::new(&mut self.messages).poll_ready(cx)).map_err(why)?;
        let message = buffer.get(..SEND).unwrap_or(buffer);
        let sent = Pin::new(&mut self.messages).start_send(Message::Binary(Bytes::copy_from_slice(message)));
        Poll::Ready(sent.map(|()| message.len()).map_err(why))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Seen>> {
        Pin::new(&mut self.messages).poll_flush(cx).map_err(why)
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.messages).poll_close(cx).map(|_| ())
    }
}

/// What a close says: two codes are an ordinary end, as is none.
fn closed(code: CloseCode) -> Result<usize, Seen> {
    match code {
        CloseCode::Normal | CloseCode::Away | CloseCode::Status => Ok(0),
        other => Err(Seen::Close(other.into())),
    }
}

fn why(error: Error) -> Seen {
    match error {
        Error::Io(error) => seen(&error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Seen::End,
        Error::Http(response) => Seen::Status(response.status().as_u16()),
        // A server without WebSocket takes the request for the other kind of upgrade.
        Error::Protocol(ProtocolError::MissingUpgradeWebSocketHeader) => Seen::RawDerp,
        Error::Protocol(ProtocolError::HttparseError(_)) => Seen::NotHttp,
        other => Seen::WebSocket(other.to_string()),
    }
}
