//! What must hold for WireGuard's four messages: the tunnel reads exactly what `packet_ident` names, and every field lies where it should.

use tidewire_packet_ident::{Kind, Message as Named, identify};
use tidewire_tunnel::{
    COOKIE_REPLY_LEN, INITIATION_LEN, KEEPALIVE_LEN, Message, MessageError, RESPONSE_LEN,
    TRANSPORT_HEADER_LEN,
};

/// Any datagram.
pub fn wg_message(data: &[u8]) {
    let message = Message::parse(data);
    let named = message.map(|message| named(&message)).ok();
    let ident = identify(data);
    let expected = match (ident.kind, ident.geneve) {
        (Kind::WireGuard(named), None) => Some(named),
        _ => None,
    };
    assert_eq!(named, expected, "the tunnel and packet_ident disagree");
    match message {
        Ok(message) => fields(data, &message),
        Err(MessageError::Length { kind, len }) => {
            assert_eq!((data[0], len), (kind, data.len()));
            assert!((1..=4).contains(&kind) && data[1..4] == [0; 3]);
        }
        Err(MessageError::Kind) => {
            assert!(data.len() < 4 || !(1..=4).contains(&data[0]) || data[1..4] != [0; 3])
        }
    }
}

fn named(message: &Message<'_>) -> Named {
    match message {
        Message::Initiation(_) => Named::Initiation,
        Message::Response(_) => Named::Response,
        Message::CookieReply(_) => Named::Cookie,
        Message::Transport { .. } => Named::Data,
    }
}

/// The fields by the offsets of the WireGuard paper, section 5.4.
fn fields(data: &[u8], message: &Message<'_>) {
    let number = |at: usize| u32::from_le_bytes(*data[at..].first_chunk().expect("the message is that long"));
    match message {
        Message::Initiation(initiation) => {
            assert_eq!((data.len(), INITIATION_LEN), (148, 148));
            assert_eq!(initiation.sender.get(), number(4));
            assert_eq!(initiation.noise[..], data[8..116]);
            assert_eq!((&initiation.mac1[..], &initiation.mac2[..]), (&data[116..132], &data[132..]));
        }
        Message::Response(response) => {
            assert_eq!((data.len(), RESPONSE_LEN), (92, 92));
            assert_eq!((response.sender.get(), response.receiver.get()), (number(4), number(8)));
            assert_eq!(response.noise[..], data[12..60]);
            assert_eq!((&response.mac1[..], &response.mac2[..]), (&data[60..76], &data[76..]));
        }
        Message::CookieReply(reply) => {
            assert_eq!((data.len(), COOKIE_REPLY_LEN), (64, 64));
            assert_eq!(reply.receiver.get(), number(4));
            assert_eq!((&reply.nonce[..], &reply.cookie[..]), (&data[8..32], &data[32..]));
        }
        Message::Transport { header, sealed } => {
            assert!(data.len() >= KEEPALIVE_LEN && TRANSPORT_HEADER_LEN == 16);
            assert_eq!(header.receiver.get(), number(4));
            assert_eq!(header.counter.get(), u64::from(number(8)) | u64::from(number(12)) << 32);
            assert_eq!(*sealed, &data[16..]);
        }
    }
}
