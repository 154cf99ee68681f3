//! Where the committed corpora begin: the fixed vectors of each protocol, and the nearest wrong ones.

mod wireguard;

use tidewire_packet_ident::geneve::{Header, Protocol};

/// An input with a name, for a target with a name.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The target, and its folder under `corpus/`.
    pub target: &'static str,
    /// The file in it.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All seeds.
#[must_use]
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (targets, name, hex) in VECTORS {
        let bytes = from_hex(hex);
        seeds.extend(targets.iter().map(|target| Seed {
            target,
            name: (*name).to_owned(),
            bytes: bytes.clone(),
        }));
    }
    seeds.extend(wrapped());
    seeds.extend(STREAMS.iter().map(|(name, cuts, hex)| {
        let bytes = [&[*cuts][..], &from_hex(hex)].concat();
        Seed { target: "derp_frames", name: (*name).to_owned(), bytes }
    }));
    seeds.extend(LOGINS.iter().map(|(name, json)| {
        let json = json.replace("MESH", &"4a".repeat(32));
        Seed { target: "derp_login", name: (*name).to_owned(), bytes: json.into_bytes() }
    }));
    seeds.extend(SCRIPTS.iter().map(|(target, name, words)| {
        let bytes = words.iter().flat_map(Word::bytes).collect();
        Seed { target, name: (*name).to_owned(), bytes }
    }));
    seeds.extend(wireguard::all());
    seeds
}

const INITIATION: &str = "
    0100000001000000ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b3b6f1324884f7dfcb616f1440bce015ad114bc97a5052c59
    72a42150ca66244ee95bf0cd2c60d3d9addef329768c8c110ed41251d4d6d7792a1ea831af41baab6c8d4ca280201ae6f48ab9ccd5f7e7da4cdad0638ec0b8cd
    b163930e00000000000000000000000000000000";
const RESPONSE: &str = "
    02000000020000000100000038ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c67a18245b56bb39f06470b95c2c2365f5714aac807
    67b63e9cccb8563c374ee6c600000000000000000000000000000000";
const KEEPALIVE: &str = "04000000020000000000000000000000408329df6253e34e1e2ae58c4bd22d8e";
const COOKIE: &str = "
    03000000010000006666666666666666666666666666666666666666666666661383a729ae6b7e298ebcd917ffe101e4726c50308e9ecb1e22d3c6e2eb3fda29";
const DISCO_PING: &str = "
    5453f09f92ac7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f130102030405060708090a0b0c0d0e0f101112131415161718b111
    b30de4cd6a4f3badd29f717d4fe98a6769c8752df25c3f3ca8ddc82e25ed9910f95552f72357f05de8f4965e39d6e118cfc5bcc059313c2b0869748b";
const DERP_CLIENT_INFO: &str = "
    02000000687b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f130102030405060708090a0b0c0d0e0f1011121314151617182e0d7f
    3843087b4e82cb329eaedb99ecf0451eaf045a9e3556169be5ef00ff156ec803a79b07d4a91ae64b197db2c532";
const STUN_REQUEST: &str =
    "00010014 2112a442 0102030405060708090a0b0c 8022 0008 7461696c6e6f6465 8028 0004 b32c370f";

const IDENT: &[&str] = &["ident"];
const STUN: &[&str] = &["ident", "stun"];
const DISCO: &[&str] = &["disco"];
const WIREGUARD: &[&str] = &["ident", "wg_message"];
const IP: &[&str] = &["ip"];
const LOGIN: &[&str] = &["derp_login"];

/// Targets, name and hex, blanks left out.
#[rustfmt::skip]
const VECTORS: &[(&[&str], &str, &str)] = &[
    (WIREGUARD, "initiation", INITIATION),
    (WIREGUARD, "response", RESPONSE),
    (WIREGUARD, "cookie", COOKIE),
    (WIREGUARD, "keepalive", KEEPALIVE),
    (WIREGUARD, "data-index-fourth-byte-set", "04000000 04030201 0000000000000000 00000000000000000000000000000000"),
    (WIREGUARD, "reserved-not-zero", "04000100 04030201 0000000000000000 00000000000000000000000000000000"),
    (WIREGUARD, "data-one-byte-short", "04000000 04030201 0000000000000000 000000000000000000000000000000"),
    (WIREGUARD, "type-zero", "00000000 04030201 0000000000000000 00000000000000000000000000000000"),
    (IDENT, "empty", ""),
    (IDENT, "disco-ping", DISCO_PING),
    (IDENT, "disco-magic-and-half-a-key", "5453f09f92ac 00112233445566778899aabbccddeeff"),
    (IDENT, "geneve-disco-too-short", "00007a1100000100 5453f09f92ac"),
    (IDENT, "geneve-reserved", "00017a1200000100 04000000040302010000000000000000 00000000000000000000000000000000"),
    (IDENT, "geneve-options", "01007a1200000100 04000000040302010000000000000000 00000000000000000000000000000000"),
    (IDENT, "geneve-critical", "00407a1200000100 04000000040302010000000000000000 00000000000000000000000000000000"),
    (IDENT, "stun-error-response", "01110008 2112a442 0102030405060708090a0b0c 00090004 00000401"),
    (STUN, "request", STUN_REQUEST),
    (STUN, "request-bare", "00010000 2112a442 0102030405060708090a0b0c"),
    (STUN, "response-v4", "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 0001 2325 2010a746"),
    (STUN, "response-v4-of-another-server", "0101000c 2112a442 2360b11e3ec68ffa93e08007 0020 0008 0001 c786 6957856f"),
    (STUN, "response-v4-mapped", "01010018 2112a442 0102030405060708090a0b0c 0020 0014 0002 2325 2112a442 01020304 0506f8f7 080f0e02"),
    (STUN, "response-trailing-bytes", "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 0001 2325 2010a746 deadbeef"),
    (STUN, "response-alternative-type", "0101000c 2112a442 0102030405060708090a0b0c 8020 0008 0001 2325 2010a746"),
    (STUN, "response-plain-address", "0101000c 2112a442 0102030405060708090a0b0c 0001 0008 0001 0237 01020304"),
    (STUN, "response-odd-software", "01010018 2112a442 0102030405060708090a0b0c 8022 0005 6162636465 000000 0020 0008 0001 2325 2010a746"),
    (STUN, "response-unknown-family", "0101000c 2112a442 0102030405060708090a0b0c 0020 0008 0003 2325 2010a746"),
    (STUN, "response-length-beyond", "0101ffff 2112a442 0102030405060708090a0b0c 0020 0008 0001 2325 2010a746"),
    (DISCO, "sealed-ping", DISCO_PING),
    (DISCO, "ping", "0100 0102030405060708090a0b0c"),
    (DISCO, "ping-node-key", "0100 0102030405060708090a0b0c 9999999999999999999999999999999999999999999999999999999999999999"),
    (DISCO, "ping-padded", "0100 0102030405060708090a0b0c 9999999999999999999999999999999999999999999999999999999999999999 0000000000"),
    (DISCO, "ping-short", "0100 0102030405060708090a0b"),
    (DISCO, "pong", "0200 0102030405060708090a0b0c 00000000000000000000ffff02030405 04d2"),
    (DISCO, "call-me-maybe", "0300 00000000000000000000ffff01020304 0237 20010000000000000000000000003456 0315"),
    (DISCO, "call-me-maybe-empty", "0300"),
    (DISCO, "call-me-maybe-cut", "0300 00000000000000000000ffff01020304 02"),
    (DISCO, "bind", "0400 00000001 00000007
        2222222222222222222222222222222222222222222222222222222222222222 0000000000000000000000000000000000000000000000000000000000000000"),
    (DISCO, "challenge", "0500 00000001 00000007
        2222222222222222222222222222222222222222222222222222222222222222 4444444444444444444444444444444444444444444444444444444444444444"),
    (DISCO, "answer", "0600 00000001 00000007
        2222222222222222222222222222222222222222222222222222222222222222 4444444444444444444444444444444444444444444444444444444444444444"),
    (DISCO, "call-me-maybe-via", "0700
        5555555555555555555555555555555555555555555555555555555555555555 1111111111111111111111111111111111111111111111111111111111111111
        2222222222222222222222222222222222222222222222222222222222222222 0000000000000009 00abcdef 00000006fc23ac00 000000 45d964b800
        00000000000000000000ffff01020304 0237"),
    (DISCO, "allocate-request", "0800
        1111111111111111111111111111111111111111111111111111111111111111 2222222222222222222222222222222222222222222222222222222222222222
        00000007"),
    (DISCO, "allocate-response", "0900 00000007
        5555555555555555555555555555555555555555555555555555555555555555 1111111111111111111111111111111111111111111111111111111111111111
        2222222222222222222222222222222222222222222222222222222222222222 0000000000000009 00abcdef 00000006fc23ac00 000000 45d964b800
        00000000000000000000ffff01020304 0237"),
    (DISCO, "other-version", "0801 00"),
    (IP, "v4-udp", "45000020 00010000 40110000 64400001 64400002 04d20050 000c0000 68657921"),
    (IP, "v4-tcp-padded", "45000028 00014000 40060000 64400001 64400002 04d20050 00000001 00000000 50022000 00000000 0000000000000000"),
    (IP, "v4-options", "46000020 00010000 40110000 64400001 64400002 01010101 04d20050 00080000"),
    (IP, "v4-later-fragment", "45000020 00010001 40110000 64400001 64400002 04d20050 000c0000 68657921"),
    (IP, "v4-header-beyond", "4f000014 00010000 40110000 64400001 64400002"),
    (IP, "v4-total-beyond", "45000021 00010000 40110000 64400001 64400002 04d20050 000c0000 68657921"),
    (IP, "v6-udp", "60000000 000c1140 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002 04d20050 000c0000 68657921"),
    (IP, "v6-no-payload", "60000000 00003b40 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002"),
    (IP, "v6-short", "60000000 000c1140 fd7a115ca1e0"),
    (IP, "tsmp", "4500001d 00010000 40630000 64400001 64400002 70 0102030405060708"),
    (IP, "version-5", "55"),
    (LOGIN, "client-info-frame", DERP_CLIENT_INFO),
];

/// DERP streams. How each is cut comes in front of it.
#[rustfmt::skip]
const STREAMS: &[(&str, u8, &str)] = &[
    ("client-info", 3, DERP_CLIENT_INFO),
    ("server-key", 0, "01 00000028 44455250f09f9491 2222222222222222222222222222222222222222222222222222222222222222"),
    ("server-key-longer", 5, "01 0000002b 44455250f09f9491 2222222222222222222222222222222222222222222222222222222222222222 010203"),
    ("server-key-wrong-magic", 5, "01 00000028 44455250f09f9492 2222222222222222222222222222222222222222222222222222222222222222"),
    ("send-packet", 7, "04 00000024 1111111111111111111111111111111111111111111111111111111111111111 01020304"),
    ("recv-packet-empty", 0, "05 00000020 1111111111111111111111111111111111111111111111111111111111111111"),
    ("keep-alive", 0, "06 00000000"),
    ("keep-alive-with-body", 2, "06 00000003 010203 06 00000000"),
    ("note-preferred", 0, "07 00000001 01 07 00000001 00"),
    ("note-preferred-longer", 1, "07 00000002 0100 06 00000000"),
    ("peer-gone-old", 9, "08 00000020 1111111111111111111111111111111111111111111111111111111111111111"),
    ("peer-gone-not-here", 9, "08 00000021 1111111111111111111111111111111111111111111111111111111111111111 01"),
    ("peer-present-and-more", 9, "09 00000034 1111111111111111111111111111111111111111111111111111111111111111
        00000000000000000000ffff01020304 0237 04 00"),
    ("forward-packet", 11, "0a 00000041 1111111111111111111111111111111111111111111111111111111111111111
        2222222222222222222222222222222222222222222222222222222222222222 01"),
    ("mesh", 4, "10 00000000 11 00000020 1111111111111111111111111111111111111111111111111111111111111111"),
    ("ping-pong", 0, "12 00000008 0102030405060708 13 00000008 0102030405060708"),
    ("ping-short", 0, "12 00000007 01020304050607 06 00000000"),
    ("health", 6, "14 00000003 626164 14 00000000"),
    ("restarting", 6, "15 00000008 000003e8 00002710"),
    ("unknown-type", 8, "7f 00000004 06000000 06 00000000"),
    ("far-too-long", 8, "05 ffffffff 01020304"),
    ("login-too-long", 8, "02 00040001 01020304"),
    ("cut-in-header", 0, "05 0000"),
];

/// What is sealed in a login.
const LOGINS: &[(&str, &str)] = &[
    ("smallest", r#"{"version":2,"CanAckPings":true}"#),
    ("all", r#"{"meshKey":"MESH","version":2,"CanAckPings":true,"IsProber":true,"AppName":"x"}"#),
    ("other-case", r#"{"MESHKEY":"MESH","Version":2,"canackpings":false}"#),
    ("mesh-key-none", r#"{"mesh_key":"none","can_ack_pings":true,"is_prober":false,"version":2}"#),
    ("mesh-key-empty", r#"{"meshKey":""}"#),
    ("mesh-key-null", r#"{"meshKey":null}"#),
    ("empty", "{}"),
    ("null", "null"),
    ("version-negative", r#"{"version":-1}"#),
    ("version-huge", r#"{"version":18446744073709551615}"#),
    ("version-text", r#"{"version":"2"}"#),
    ("name-empty", r#"{"AppName":""}"#),
    ("server", r#"{"version":2,"TokenBucketBytesPerSecond":125000,"TokenBucketBytesBurst":250000}"#),
    ("server-no-rate", r#"{"version":2,"TokenBucketBytesPerSecond":0,"TokenBucketBytesBurst":250000}"#),
    ("not-an-object", "[2]"),
];

/// A part of a script.
enum Word {
    Hex(&'static str),
    /// A piece with its length in front.
    Piece(&'static [u8]),
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Hex(hex) => from_hex(hex),
            Self::Piece(piece) => {
                let length = u16::try_from(piece.len()).expect("a piece is short");
                [&length.to_be_bytes(), *piece].concat()
            }
        }
    }
}

/// What happens at a relay, and to a client of some: verbs as `relay_core` and `derp_client` read them.
const SCRIPTS: &[(&str, &str, &[Word])] = &[
    ("relay_core", "honest-both-ways", &[Word::Hex("06 0064 0e 0064 16 0000 1e 0000 07 01f4 06 07cf 0e 0000")]),
    ("relay_core", "packets-of-the-villain", &[Word::Hex("03 00 0100 03 01 07d0 03 02 0000 03 03 0010 06 0001")]),
    ("relay_core", "garbage-and-back", &[Word::Hex("01"), Word::Piece(b"\xff\xff\xff\xff\xff\xff"), Word::Hex("04 06 0001")]),
    ("relay_core", "watch", &[Word::Hex("02 10 0000 04 0e 0001")]),
    ("relay_core", "ping", &[Word::Hex("02 12 0008 0102030405060708 02 12 0000 04")]),
    ("relay_core", "note-preferred", &[Word::Hex("02 07 0001 01 02 07 0001 00 02 07 0002 0101")]),
    ("relay_core", "unknown-type", &[Word::Hex("02 7f 0003 010203 03 00 0001")]),
    ("relay_core", "login-with-a-box-of-zeros", &[Word::Hex("05"), Word::Piece(&[0; 72]), Word::Hex("06 0001")]),
    ("relay_core", "strangers", &[
        Word::Hex("00"),
        Word::Piece(b"GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\n\r\n\x02\x00\x00\x00\x48"),
        Word::Hex("00"),
        Word::Piece(b"GET /generate_204 HTTP/1.1\r\nHost: relay\r\nX-Tailscale-Challenge: a.b\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        Word::Hex("00"),
        Word::Piece(b"POST /derp HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        Word::Hex("06 0001"),
    ]),
    ("relay_core", "stranger-by-websocket", &[
        Word::Hex("00"),
        Word::Piece(b"GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: derp\r\n\r\n\
            \x82\x85\x01\x02\x03\x04\x03\x02\x03\x04\x49\x89\x80\x01\x02\x03\x04\x81\x80\x01\x02\x03\x04"),
        Word::Hex("07 01f4 06 0001"),
    ]),
    ("relay_core", "villain-by-websocket", &[
        Word::Hex("e8"), Word::Piece(b"\x12\x00\x00\x00\x08abcdefgh"), Word::Hex("e0"), Word::Piece(b"\x81\x80\x01\x02\x03\x04"), Word::Hex("04 06 0001"),
    ]),
    ("relay_core", "blocked-and-cut", &[Word::Hex("e9 03 00 0100 07 01f3 07 01f3 07 01f3 07 01f3 07 01f3 06 0064 e1 04 e9 e1")]),
    ("relay_core", "faster-than-it-may", &[Word::Hex("ea ffff ea ffff 07 01f3 ea ffff 06 07cf 0e 07cf")]),
    ("relay_core", "admission-changes", &[Word::Hex("03 00 0100 e3 06 0064 04 eb 04 03 01 0100 0e 0001")]),
    ("relay_core", "gathered-in-pieces", &[Word::Hex("06 07cf 06 07cf 0e 07cf 0e 0001 ec 0000 ec 0400 16 0000 ec 1000 06 0001")]),
    ("derp_client", "upgrade", &[Word::Hex("00 07 0bb7 03 07 0bb7 03 07 0bb7 03 0a 01 0040 07 0bb7 05 06 07 0bb7 0b 1388")]),
    ("derp_client", "fast-start", &[Word::Hex("10 07 0bb7 05 07 03 03 03 05 01 05 05 07 0bb7 0b ffff 1b ffff 05 00")]),
    ("derp_client", "upgrade-refused", &[Word::Hex("00 07 0bb7 06"), Word::Piece(b"HTTP/1.1 426 Upgrade Required\r\n\r\n"), Word::Hex(
        "00 02 03 03 07 0bb7 03 07 0bb7 0a 01 0040 07 0bb7",
    )]),
    ("derp_client", "dials-fail", &[Word::Hex("01 00 0b 03e8 01 01 0b 03e8 01 03 1b ffff 0f 0b ffff")]),
    ("derp_client", "regions-come-and-go", &[Word::Hex("00 03 03 03 0a 02 0010 0a 03 0010 40 80 43 83 43 83 43 83 0c ff 0b 0001 0c 00 0d 02 0b ffff")]),
    ("derp_client", "kept", &[Word::Hex("0e 0002 0203 00 40 80 0b 7530")]),
    ("derp_client", "blocked", &[Word::Hex("00 07 0bb7 03 03 03 19 0a 01 07cf 0a 21 07cf 0b 7530 09 07 0001")]),
    ("derp_client", "restarting", &[Word::Hex("00 07 0bb7 03 03 03 05 05 05 04 05 02 05 03 0b ffff 00 03 03 03")]),
];

/// Geneve in front of what may stand behind it.
fn wrapped() -> impl Iterator<Item = Seed> {
    let cases = [
        ("geneve-disco", 1, false, Protocol::Disco, DISCO_PING),
        ("geneve-disco-control", 1, true, Protocol::Disco, DISCO_PING),
        ("geneve-wireguard", 0x00ab_cdef, false, Protocol::WireGuard, KEEPALIVE),
        ("geneve-wireguard-control", 7, true, Protocol::WireGuard, KEEPALIVE),
        ("geneve-wireguard-body-disco", 7, false, Protocol::WireGuard, DISCO_PING),
        ("geneve-disco-body-wireguard", 7, false, Protocol::Disco, KEEPALIVE),
        ("geneve-vni-zero", 0, false, Protocol::WireGuard, KEEPALIVE),
    ];
    cases.into_iter().map(|(name, vni, control, protocol, body)| {
        let header = Header::new(vni, control, protocol).expect("each network above has 24 bits");
        Seed {
            target: "ident",
            name: name.to_owned(),
            bytes: [&header.encode()[..], &from_hex(body)].concat(),
        }
    })
}

/// The bytes of digits, blanks left out.
fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {hex}");
    let nibble = |c: &char| u8::try_from(c.to_digit(16).expect("a hexadecimal digit")).expect("below 16");
    digits.chunks_exact(2).map(|pair| nibble(&pair[0]) << 4 | nibble(&pair[1])).collect()
}
