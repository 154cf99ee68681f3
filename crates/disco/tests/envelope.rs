//! An envelope names its sender before any cryptography, and opens for its receiver alone.

use tidewire_disco::{
    Envelope, EnvelopeError, HEADER_LEN, MAGIC, MIN_LEN, Message, OpenError, ParseError, SENDER_END, seal,
};
use tidewire_keys::{BoxError, DiscoSecret};

const NONCE: [u8; 24] = [5; 24];

fn secret(byte: u8) -> DiscoSecret {
    DiscoSecret::from_bytes([byte; 32])
}

fn sealed(from: &DiscoSecret, to: &DiscoSecret) -> Vec<u8> {
    seal(&Message::CallMeMaybe(vec![]), &from.public(), &from.shared(&to.public()), NONCE)
}

#[test]
fn the_layout() {
    let (a, b) = (secret(1), secret(2));
    let datagram = sealed(&a, &b);
    assert_eq!((SENDER_END, HEADER_LEN, MIN_LEN), (38, 62, 80));
    assert_eq!(datagram.len(), MIN_LEN, "an empty message is the shortest");
    assert_eq!(datagram[..6], MAGIC);
    assert_eq!(&datagram[6..SENDER_END], a.public().as_bytes());
    assert_eq!(datagram[SENDER_END..HEADER_LEN], NONCE);
    let plain = b.shared(&a.public()).open(&NONCE, &datagram[HEADER_LEN..]);
    assert_eq!(plain.as_deref(), Ok(&[3, 0][..]));
}

/// The trap: whoever opens first and looks up later works, and answers, for any stranger.
#[test]
fn the_sender_is_known_before_any_cryptography() {
    let stranger = secret(9);
    let mut datagram = sealed(&stranger, &secret(2));
    datagram[HEADER_LEN..].fill(0xee);
    let envelope = Envelope::parse(&datagram).unwrap();
    assert_eq!(envelope.sender, stranger.public());
    assert_eq!(envelope.boxed, &datagram[HEADER_LEN..]);
}

#[test]
fn every_shorter_datagram_is_refused() {
    let datagram = sealed(&secret(1), &secret(2));
    for len in 6..MIN_LEN {
        assert_eq!(Envelope::parse(&datagram[..len]), Err(EnvelopeError::Short { found: len }));
    }
    for len in 0..6 {
        assert_eq!(Envelope::parse(&datagram[..len]), Err(EnvelopeError::NotDisco));
    }
}

#[test]
fn every_other_magic_is_refused() {
    for at in 0..MAGIC.len() {
        let mut datagram = sealed(&secret(1), &secret(2));
        datagram[at] ^= 1;
        assert_eq!(Envelope::parse(&datagram), Err(EnvelopeError::NotDisco));
    }
}

#[test]
fn a_changed_byte_anywhere_does_not_open() {
    let (a, b) = (secret(1), secret(2));
    for at in SENDER_END..MIN_LEN {
        let mut datagram = sealed(&a, &b);
        datagram[at] ^= 0x80;
        let opened = Envelope::parse(&datagram).unwrap().open(&b.shared(&a.public()));
        assert_eq!(opened, Err(OpenError::Box(BoxError::Forged)), "byte {at}");
    }
}

#[test]
fn another_receiver_or_sender_does_not_open() {
    let (a, b, c) = (secret(1), secret(2), secret(3));
    let datagram = sealed(&a, &b);
    let envelope = Envelope::parse(&datagram).unwrap();
    assert_eq!(envelope.open(&c.shared(&a.public())), Err(OpenError::Box(BoxError::Forged)));
    assert_eq!(envelope.open(&b.shared(&c.public())), Err(OpenError::Box(BoxError::Forged)));
}

#[test]
fn a_box_of_something_else_is_a_parse_error() {
    let (a, b) = (secret(1), secret(2));
    let mut datagram = sealed(&a, &b)[..HEADER_LEN].to_vec();
    a.shared(&b.public()).seal_into(&NONCE, &[77, 0], &mut datagram);
    let opened = Envelope::parse(&datagram).unwrap().open(&b.shared(&a.public()));
    assert_eq!(opened, Err(OpenError::Message(ParseError::UnknownType(77))));
}
