//! Messages are read as loosely as the field reads them, and no more loosely.

use std::net::SocketAddr;

use tidewire_disco::{Message, MessageType, ParseError, Ping, TxId};
use tidewire_keys::NodePublic;

const TX: TxId = TxId([7; 12]);

/// The head of a message and a payload of its shortest length.
fn shortest(kind: MessageType) -> Vec<u8> {
    let len = match kind {
        MessageType::Ping => 12,
        MessageType::Pong => 30,
        MessageType::CallMeMaybe => 18,
        MessageType::Bind | MessageType::Challenge | MessageType::Answer => 72,
        MessageType::CallMeMaybeVia => 124 + 18,
        MessageType::AllocateRequest => 68,
        MessageType::AllocateResponse => 4 + 124 + 18,
    };
    [vec![kind as u8, 0], vec![7; len]].concat()
}

#[test]
fn one_byte_less_than_the_shortest_is_refused() {
    for kind in MessageType::ALL {
        let bytes = shortest(kind);
        assert_eq!(Message::parse(&bytes).unwrap().kind(), kind);
        let short = Message::parse(&bytes[..bytes.len() - 1]);
        match kind {
            MessageType::CallMeMaybe => assert_eq!(short, Ok(Message::CallMeMaybe(vec![]))),
            MessageType::CallMeMaybeVia | MessageType::AllocateResponse => {
                assert_eq!(short, Err(ParseError::Addresses { kind, found: 17 }));
            }
            _ => assert_eq!(short, Err(ParseError::Short { kind, found: bytes.len() - 3 })),
        }
        let head = Message::parse(&bytes[..2]);
        match kind {
            MessageType::CallMeMaybe => assert_eq!(head, Ok(Message::CallMeMaybe(vec![]))),
            _ => assert_eq!(head, Err(ParseError::Short { kind, found: 0 })),
        }
    }
}

#[test]
fn bytes_behind_fixed_messages_are_ignored() {
    for kind in [
        MessageType::Pong,
        MessageType::Bind,
        MessageType::Challenge,
        MessageType::Answer,
        MessageType::AllocateRequest,
    ] {
        let bytes = shortest(kind);
        for more in [1, 17, 18, 1000] {
            let longer = [bytes.clone(), vec![0xee; more]].concat();
            assert_eq!(Message::parse(&longer), Message::parse(&bytes), "{kind:?}");
        }
    }
}

#[test]
fn behind_an_address_list_nothing_may_stand() {
    for kind in [MessageType::CallMeMaybeVia, MessageType::AllocateResponse] {
        for more in 1..36 {
            let longer = [shortest(kind), vec![0; more]].concat();
            let expected = more == 18;
            assert_eq!(Message::parse(&longer).is_ok(), expected, "{kind:?} and {more} more");
        }
    }
}

#[test]
fn an_allocation_needs_an_address() {
    for (kind, fixed) in [(MessageType::CallMeMaybeVia, 124), (MessageType::AllocateResponse, 128)] {
        let bytes = [vec![kind as u8, 0], vec![7; fixed]].concat();
        assert_eq!(Message::parse(&bytes), Err(ParseError::Addresses { kind, found: 0 }));
    }
}

#[test]
fn old_pings_have_no_node_key() {
    let ping = |payload: &[u8]| match Message::parse(&[&[1, 0][..], &TX.0, payload].concat()) {
        Ok(Message::Ping(ping)) => ping,
        other => panic!("{other:?}"),
    };
    let key = NodePublic::from_bytes([9; 32]);
    assert_eq!(ping(&[]), Ping { tx: TX, node: None, padding: 0 });
    assert_eq!(ping(&[9; 31]), Ping { tx: TX, node: None, padding: 31 }, "not a whole key");
    assert_eq!(ping(&[9; 32]), Ping { tx: TX, node: Some(key), padding: 0 });
    assert_eq!(ping(&[9; 40]), Ping { tx: TX, node: Some(key), padding: 8 }, "what follows is padding");
}

/// The trap: an old ping padded to a probe size has 32 zero bytes where newer ones have a key.
#[test]
fn zeros_in_a_padded_old_ping_are_no_node_key() {
    let bytes = [&[1, 0][..], &TX.0, &[0; 1000]].concat();
    assert_eq!(Message::parse(&bytes), Ok(Message::Ping(Ping { tx: TX, node: None, padding: 1000 })));
}

#[test]
fn the_version_of_pings_pongs_and_binds_is_ignored() {
    for kind in
        [MessageType::Ping, MessageType::Pong, MessageType::Bind, MessageType::Challenge, MessageType::Answer]
    {
        let (zero, mut other) = (shortest(kind), shortest(kind));
        for version in 1..=255 {
            other[1] = version;
            assert_eq!(Message::parse(&other), Message::parse(&zero), "{kind:?}");
        }
    }
}

#[test]
fn other_versions_of_allocation_messages_are_dropped() {
    for kind in [MessageType::CallMeMaybeVia, MessageType::AllocateRequest, MessageType::AllocateResponse] {
        let mut bytes = shortest(kind);
        for version in 1..=255 {
            bytes[1] = version;
            assert_eq!(Message::parse(&bytes), Err(ParseError::Version { kind, version }));
        }
    }
}

/// The trap: none of these is an error in the field, and none says anything.
#[test]
fn a_malformed_call_me_maybe_is_an_empty_one() {
    for len in (0..100).filter(|len| *len == 0 || len % 18 != 0) {
        let bytes = [vec![3, 0], vec![7; len]].concat();
        assert_eq!(Message::parse(&bytes), Ok(Message::CallMeMaybe(vec![])), "{len} bytes");
    }
    for version in 1..=255 {
        let bytes = [vec![3, version], vec![7; 36]].concat();
        assert_eq!(Message::parse(&bytes), Ok(Message::CallMeMaybe(vec![])), "version {version}");
    }
}

#[test]
fn a_call_me_maybe_holds_no_more_than_its_datagram() {
    let bytes = [vec![3, 0], vec![7; 18 * 3639]].concat();
    let Ok(Message::CallMeMaybe(addrs)) = Message::parse(&bytes) else { panic!("well formed") };
    assert_eq!(addrs.len(), 3639);
    assert!(addrs.capacity() <= bytes.len() / 18);
}

#[test]
fn mapped_ipv4_addresses_are_unmapped() {
    let mapped = |last: [u8; 4]| [&[0; 10][..], &[0xff; 2], &last, &[0x30, 0x39]].concat();
    let bytes = [vec![3, 0], mapped([192, 0, 2, 1]), vec![0; 15], vec![1, 0, 1]].concat();
    let expected: Vec<SocketAddr> = vec!["192.0.2.1:12345".parse().unwrap(), "[::1]:1".parse().unwrap()];
    assert_eq!(Message::parse(&bytes), Ok(Message::CallMeMaybe(expected)));
}

#[test]
fn types_beyond_the_known_ones() {
    for kind in (0..=255).filter(|kind| !(1..=9).contains(kind)) {
        assert_eq!(Message::parse(&[kind, 0, 1, 2, 3]), Err(ParseError::UnknownType(kind)));
    }
    assert_eq!(Message::parse(&[]), Err(ParseError::NoType));
    assert_eq!(Message::parse(&[1]), Err(ParseError::NoType));
}

#[test]
fn where_each_type_may_be_met() {
    let numbers = |is: fn(MessageType) -> bool| -> Vec<u8> {
        MessageType::ALL.into_iter().filter(|kind| is(*kind)).map(|kind| kind as u8).collect()
    };
    assert_eq!(numbers(|_| true), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(numbers(MessageType::is_relay_handshake), [4, 5, 6]);
    assert_eq!(numbers(MessageType::is_derp_only), [3, 7, 8, 9]);
}
