//! What must hold for disco: whatever is read is written back the same, sealed boxes open, and spoiled ones do not.

use std::sync::LazyLock;

use tidewire_disco::{Envelope, HEADER_LEN, MIN_LEN, Message, MessageType, seal};
use tidewire_keys::{DiscoPublic, DiscoSecret, NONCE_LEN, SharedBox};

/// The keys of the fixed vectors.
static SENDER: LazyLock<DiscoSecret> = LazyLock::new(|| DiscoSecret::from_bytes([0x11; 32]));
static RECEIVER: LazyLock<DiscoSecret> = LazyLock::new(|| DiscoSecret::from_bytes([0x22; 32]));
static SENDER_PUBLIC: LazyLock<DiscoPublic> = LazyLock::new(|| SENDER.public());
static SENDS: LazyLock<SharedBox> = LazyLock::new(|| SENDER.shared(&RECEIVER.public()));
static RECEIVES: LazyLock<SharedBox> = LazyLock::new(|| RECEIVER.shared(&SENDER_PUBLIC));

/// Any datagram, and the same bytes as the inside of a box.
pub fn disco(data: &[u8]) {
    outside(data);
    if let Ok(message) = Message::parse(data) {
        inside(data, &message);
        sealed(data, &message);
    }
}

fn outside(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else {
        assert!(data.len() < MIN_LEN || !data.starts_with(&tidewire_disco::MAGIC));
        return;
    };
    assert_eq!(&envelope.sender.as_bytes()[..], &data[6..38]);
    assert_eq!(&envelope.nonce[..], &data[38..HEADER_LEN]);
    assert_eq!(envelope.boxed, &data[HEADER_LEN..]);
    if let Ok(message) = envelope.open(&RECEIVES) {
        let again = seal(&message, &SENDER_PUBLIC, &SENDS, envelope.nonce);
        assert_eq!(
            Envelope::parse(&again).expect("what is sealed is an envelope").open(&RECEIVES),
            Ok(message)
        );
    }
}

fn inside(data: &[u8], message: &Message) {
    assert_eq!(message.kind() as u8, data[0]);
    assert_eq!(MessageType::from_byte(data[0]), Some(message.kind()));
    let mut written = Vec::new();
    message.encode(&mut written);
    assert_eq!(Message::parse(&written).as_ref(), Ok(message), "what is read is written back the same");
    let mut again = Vec::new();
    Message::parse(&written).expect("it was read a line above").encode(&mut again);
    assert_eq!(written, again);
    let grows = matches!(message, Message::Ping(_));
    assert!(grows || written.len() <= data.len(), "nothing is made up");
    let addresses = match message {
        Message::CallMeMaybe(addrs) => addrs,
        Message::CallMeMaybeVia(allocation) => &allocation.addrs,
        Message::AllocateResponse(response) => &response.allocation.addrs,
        _ => return,
    };
    assert!(addresses.len() <= data.len() / 18, "memory is bounded by the datagram");
    assert!(addresses.iter().all(|addr| addr.ip().to_canonical() == addr.ip()), "IPv4 is unmapped");
}

fn sealed(data: &[u8], message: &Message) {
    let mut nonce = [0; NONCE_LEN];
    nonce[..data.len().min(NONCE_LEN)].copy_from_slice(&data[..data.len().min(NONCE_LEN)]);
    let mut datagram = seal(message, &SENDER_PUBLIC, &SENDS, nonce);
    let envelope = Envelope::parse(&datagram).expect("what is sealed is an envelope");
    assert_eq!(envelope.open(&RECEIVES).as_ref(), Ok(message));
    let spoiled = HEADER_LEN + usize::from(data[data.len() - 1]) % (datagram.len() - HEADER_LEN);
    datagram[spoiled] ^= 1;
    assert!(Envelope::parse(&datagram).expect("the outside is as before").open(&RECEIVES).is_err());
}
