//! The byte strings that other implementations write are read, and written, the same here.

use std::net::SocketAddr;

use tidewire_disco::{
    AllocateRequest, AllocateResponse, Allocation, Bind, Envelope, Message, Ping, Pong, TxId, seal,
};
use tidewire_keys::{DiscoPublic, DiscoSecret, NodePublic};

const TX: TxId = TxId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
const NONCE: [u8; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn check(message: Message, hex: &str) {
    let mut bytes = b"before".to_vec();
    message.encode(&mut bytes);
    assert_eq!(bytes, [&b"before"[..], &unhex(hex)].concat(), "{message:?}");
    assert_eq!(Message::parse(&unhex(hex)), Ok(message));
}

#[test]
fn pings() {
    let mut node = [0; 32];
    (node[1], node[2], node[30], node[31]) = (1, 2, 30, 31);
    let node = Some(NodePublic::from_bytes(node));
    let key = format!("000102 {} 1e1f", "00".repeat(27));
    let ping = |node, padding| Message::Ping(Ping { tx: TX, node, padding });
    check(ping(None, 0), "0100 0102030405060708090a0b0c");
    check(ping(None, 3), "0100 0102030405060708090a0b0c 000000");
    check(ping(node, 0), &format!("0100 0102030405060708090a0b0c {key}"));
    check(ping(node, 3), &format!("0100 0102030405060708090a0b0c {key} 000000"));
}

#[test]
fn pongs() {
    let pong = |src| Message::Pong(Pong { tx: TX, src: addr(src) });
    check(pong("2.3.4.5:1234"), "0200 0102030405060708090a0b0c 00000000000000000000ffff02030405 04d2");
    check(pong("[fed0::12]:6666"), "0200 0102030405060708090a0b0c fed00000000000000000000000000012 1a0a");
}

#[test]
fn call_me_maybe() {
    check(Message::CallMeMaybe(vec![]), "0300");
    check(
        Message::CallMeMaybe(vec![addr("1.2.3.4:567"), addr("[2001::3456]:789")]),
        "0300 00000000000000000000ffff01020304 0237 20010000000000000000000000003456 0315",
    );
}

#[test]
fn relay_messages() {
    let key = |byte| DiscoPublic::from_bytes([byte; 32]);
    let bind = Bind { vni: 0x00ab_cdef, generation: 7, remote: key(2), challenge: [3; 32] };
    let bytes = format!("00abcdef 00000007 {} {}", "02".repeat(32), "03".repeat(32));
    check(Message::Bind(bind), &format!("0400 {bytes}"));
    check(Message::Challenge(bind), &format!("0500 {bytes}"));
    check(Message::Answer(bind), &format!("0600 {bytes}"));

    let clients = [key(4), key(5)];
    let client_bytes = "04".repeat(32) + &"05".repeat(32);
    let allocation = Allocation {
        server: key(6),
        clients,
        lamport: 0x0102_0304_0506_0708,
        vni: 9,
        bind_lifetime: std::time::Duration::from_secs(30),
        steady_lifetime: std::time::Duration::from_secs(300),
        addrs: vec![addr("1.2.3.4:567")],
    };
    let bytes = format!(
        "{} {client_bytes} 0102030405060708 00000009 00000006fc23ac00 00000045d964b800 00000000000000000000ffff010203040237",
        "06".repeat(32)
    );
    check(Message::CallMeMaybeVia(allocation.clone()), &format!("0700 {bytes}"));
    check(
        Message::AllocateRequest(AllocateRequest { clients, generation: 8 }),
        &format!("0800 {client_bytes} 00000008"),
    );
    check(
        Message::AllocateResponse(AllocateResponse { generation: 8, allocation }),
        &format!("0900 00000008 {bytes}"),
    );
}

/// Made by three other implementations, Tailscale's own among them.
#[test]
fn a_whole_ping() {
    let datagram = unhex(
        "5453f09f92ac7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13\
         0102030405060708090a0b0c0d0e0f101112131415161718\
         b111b30de4cd6a4f3badd29f717d4fe98a6769c8752df25c3f3ca8ddc82e25ed9910f95552f72357f05de8f4965e39d6e118cfc5bcc059313c2b0869748b",
    );
    let (ours, theirs) = (DiscoSecret::from_bytes([0x11; 32]), DiscoSecret::from_bytes([0x22; 32]));
    let ping = Message::Ping(Ping { tx: TX, node: Some(NodePublic::from_bytes([0x99; 32])), padding: 0 });
    assert_eq!(seal(&ping, &ours.public(), &ours.shared(&theirs.public()), NONCE), datagram);

    let envelope = Envelope::parse(&datagram).unwrap();
    assert_eq!((envelope.sender, envelope.nonce), (ours.public(), NONCE));
    assert_eq!(envelope.open(&theirs.shared(&envelope.sender)), Ok(ping));
}

#[test]
fn sizes_on_the_wire() {
    let secret = DiscoSecret::from_bytes([1; 32]);
    let shared = secret.shared(&secret.public());
    let size = |message: &Message| seal(message, &secret.public(), &shared, NONCE).len();
    let node = Some(NodePublic::from_bytes([9; 32]));
    assert_eq!(size(&Message::Ping(Ping { tx: TX, node: None, padding: 0 })), 92);
    assert_eq!(size(&Message::Ping(Ping { tx: TX, node, padding: 0 })), 124);
    assert_eq!(size(&Message::Ping(Ping { tx: TX, node, padding: 1000 })), 1124);
    assert_eq!(size(&Message::Pong(Pong { tx: TX, src: addr("1.2.3.4:5") })), 110);
    for count in 0..5 {
        let called = Message::CallMeMaybe(vec![addr("1.2.3.4:5"); count]);
        assert_eq!(size(&called), 80 + 18 * count);
    }
}
