//! WebSocket with the messages of another implementation.

use futures_util::{SinkExt, StreamExt};
use tidewire_derp::{Decoder, Frame, frame::Limits};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::rig::{Client, key, login_frame, plain, secret};

async fn connect(relay: &tidewire_relay::Relay, byte: u8) -> WebSocketStream<TcpStream> {
    let tcp = TcpStream::connect(relay.addr()).await.unwrap();
    let mut request = format!("ws://{}/derp", relay.addr()).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("derp"));
    let (mut stream, response) = client_async(request, tcp).await.unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "derp");
    stream.send(Message::binary(login_frame(relay, &secret(byte)))).await.unwrap();
    stream
}

async fn packets(stream: &mut WebSocketStream<TcpStream>, count: usize) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(Limits::CLIENT);
    let mut packets = Vec::new();
    while packets.len() < count {
        let message = stream.next().await.unwrap().unwrap();
        let Message::Binary(payload) = message else { continue };
        assert!(payload.len() <= 32_768);
        let mut bytes = &payload[..];
        while let Some(frame) = decoder.next(&mut bytes).unwrap() {
            if let Frame::RecvPacket { packet, .. } = frame {
                packets.push(packet.to_vec());
            }
        }
    }
    packets
}

#[test]
fn another_implementation_is_understood_and_understands() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let relay = plain();
    runtime.block_on(async {
        let mut browser = connect(&relay, 1).await;
        let mut bytes = Vec::new();
        Frame::SendPacket { to: key(1), packet: b"to myself" }.encode(&mut bytes).unwrap();
        browser.send(Message::binary(bytes)).await.unwrap();
        assert_eq!(packets(&mut browser, 1).await, [b"to myself"]);
        let mut plain = Client::login(&relay, 2);
        let sent: Vec<Vec<u8>> = (0..50).map(|at| vec![at as u8; at * 1337 % 65_000]).collect();
        let expected = sent.clone();
        let sender = std::thread::spawn(move || {
            sent.iter().for_each(|packet| plain.send_packet(key(1), packet));
            plain
        });
        assert_eq!(packets(&mut browser, expected.len()).await, expected);
        let _stays = sender.join().unwrap();
        browser.send(Message::Ping(vec![1, 2, 3].into())).await.unwrap();
        assert_eq!(browser.next().await.unwrap().unwrap(), Message::Pong(vec![1, 2, 3].into()));
        browser.close(None).await.unwrap();
        while browser.next().await.is_some_and(|message| message.is_ok()) {}
    });
}

#[test]
fn text_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let relay = plain();
    runtime.block_on(async {
        let mut browser = connect(&relay, 1).await;
        browser.send(Message::text("hello")).await.unwrap();
        let code = loop {
            match browser.next().await.unwrap().unwrap() {
                Message::Close(frame) => break u16::from(frame.unwrap().code),
                _ => continue,
            }
        };
        assert_eq!(code, 1003);
    });
}
