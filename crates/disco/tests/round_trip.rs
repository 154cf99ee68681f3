//! What is written is read back the same, and any bytes are a message or an error.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_disco::{
    AllocateRequest, AllocateResponse, Allocation, Bind, Envelope, Message, Ping, Pong, TxId, seal,
};
use tidewire_keys::{DiscoPublic, DiscoSecret, NodePublic};

fn key() -> impl Strategy<Value = DiscoPublic> {
    any::<[u8; 32]>().prop_map(DiscoPublic::from_bytes)
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    // IPv4 inside IPv6 is written and read as IPv4.
    any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

fn bind() -> impl Strategy<Value = Bind> {
    (any::<(u32, u32, [u8; 32])>(), key()).prop_map(|((vni, generation, challenge), remote)| Bind {
        vni,
        generation,
        remote,
        challenge,
    })
}

fn allocation() -> impl Strategy<Value = Allocation> {
    let addrs = prop::collection::vec(addr(), 1..20);
    (any::<(u64, u32, u64, u64)>(), key(), [key(), key()], addrs).prop_map(
        |((lamport, vni, bind, steady), server, clients, addrs)| Allocation {
            server,
            clients,
            lamport,
            vni,
            bind_lifetime: Duration::from_nanos(bind),
            steady_lifetime: Duration::from_nanos(steady),
            addrs,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let node = any::<Option<[u8; 32]>>().prop_map(|key| key.map(NodePublic::from_bytes));
    let tx = || any::<[u8; 12]>().prop_map(TxId);
    prop_oneof![
        (tx(), node, any::<u16>())
            .prop_filter("no key is no key", |(_, node, _)| node.is_none_or(|node| !node.is_zero()))
            .prop_map(|(tx, node, padding)| Message::Ping(Ping { tx, node, padding })),
        (tx(), addr()).prop_map(|(tx, src)| Message::Pong(Pong { tx, src })),
        prop::collection::vec(addr(), 0..20).prop_map(Message::CallMeMaybe),
        bind().prop_map(Message::Bind),
        bind().prop_map(Message::Challenge),
        bind().prop_map(Message::Answer),
        allocation().prop_map(Message::CallMeMaybeVia),
        ([key(), key()], any::<u32>()).prop_map(|(clients, generation)| Message::AllocateRequest(
            AllocateRequest { clients, generation }
        )),
        (allocation(), any::<u32>()).prop_map(|(allocation, generation)| {
            Message::AllocateResponse(AllocateResponse { generation, allocation })
        }),
    ]
}

/// A message with other bytes in some places, and more or fewer at its end.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4);
    (message(), changes, prop::collection::vec(any::<u8>(), 0..40), 0..40_usize).prop_map(
        |(message, changes, more, fewer)| {
            let mut bytes = encoded(&message);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend(more);
            bytes.truncate(bytes.len().saturating_sub(fewer));
            bytes
        },
    )
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn messages_come_back(message in message()) {
        prop_assert_eq!(Message::parse(&encoded(&message)), Ok(message));
    }

    #[test]
    fn what_is_read_is_written_so_that_it_reads_the_same(bytes in nearly_a_message()) {
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&encoded(&message)), Ok(message));
        }
    }

    #[test]
    fn reading_ends_where_the_bytes_end(message in message(), cut: prop::sample::Index) {
        let bytes = encoded(&message);
        // A value or an error, and no panic, whatever is cut off.
        let _ = Message::parse(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn envelopes_come_back(message in message(), a: [u8; 32], b: [u8; 32], nonce: [u8; 24]) {
        let (a, b) = (DiscoSecret::from_bytes(a), DiscoSecret::from_bytes(b));
        let datagram = seal(&message, &a.public(), &a.shared(&b.public()), nonce);
        let envelope = Envelope::parse(&datagram).unwrap();
        prop_assert_eq!(envelope.sender, a.public());
        prop_assert_eq!(envelope.open(&b.shared(&envelope.sender)), Ok(message));
    }

    #[test]
    fn any_bytes_are_an_envelope_or_an_error(tail: Vec<u8>, magic: bool) {
        let datagram = if magic { [&b"TS\xf0\x9f\x92\xac"[..], &tail].concat() } else { tail };
        prop_assert_eq!(Envelope::parse(&datagram).is_ok(), magic && datagram.len() >= 80);
    }
}
