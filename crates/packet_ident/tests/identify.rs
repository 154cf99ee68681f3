//! Each rule by which a datagram is given its kind, each trap of the field by name.

use tidewire_packet_ident::geneve::{Header, Protocol};
use tidewire_packet_ident::{DISCO_MAGIC, Ident, Kind, Message, Reason, identify, is_disco};

fn kind(datagram: &[u8]) -> Kind {
    let ident = identify(datagram);
    assert_eq!(ident.geneve, None, "naked");
    assert_eq!(ident.payload(), 0..);
    ident.kind
}

/// A WireGuard message of that type and length, all other bytes 0xaa.
fn wireguard(kind: u8, len: usize) -> Vec<u8> {
    let mut message = vec![0xaa; len];
    for (byte, head) in message.iter_mut().zip([kind, 0, 0, 0]) {
        *byte = head;
    }
    message
}

fn disco(len: usize) -> Vec<u8> {
    let mut message = vec![0xaa; len];
    message[..6].copy_from_slice(&DISCO_MAGIC);
    message
}

fn stun(kind: [u8; 2]) -> Vec<u8> {
    [&kind[..], &[0, 0, 0x21, 0x12, 0xa4, 0x42], &[0xaa; 12]].concat()
}

fn in_geneve(head: [u8; 8], body: &[u8]) -> Vec<u8> {
    [&head[..], body].concat()
}

const GENEVE_DISCO: [u8; 8] = [0, 0, 0x7a, 0x11, 0, 0, 1, 0];
const GENEVE_WIREGUARD: [u8; 8] = [0, 0, 0x7a, 0x12, 0xab, 0xcd, 0xef, 0];

#[test]
fn wireguard_messages_have_their_exact_length() {
    for (number, len, message) in
        [(1, 148, Message::Initiation), (2, 92, Message::Response), (3, 64, Message::Cookie)]
    {
        assert_eq!(kind(&wireguard(number, len)), Kind::WireGuard(message));
        for wrong in (4..300).filter(|wrong| *wrong != len) {
            assert_eq!(kind(&wireguard(number, wrong)), Kind::Unknown(Reason::WireGuardLength));
        }
    }
}

/// The trap: padding ends at the MTU, so a full packet is no multiple of 16.
#[test]
fn transport_data_of_any_length_from_32_on() {
    for len in 32..2000 {
        assert_eq!(kind(&wireguard(4, len)), Kind::WireGuard(Message::Data), "{len} bytes");
    }
    for len in 4..32 {
        assert_eq!(kind(&wireguard(4, len)), Kind::Unknown(Reason::WireGuardLength));
    }
}

/// The trap: WireGuard reserves three bytes. The fourth belongs to an index, and one in 256 random indexes
/// has it zero.
#[test]
fn the_fourth_byte_after_the_type_is_free() {
    for index in 0..=255 {
        for (number, len, message) in [
            (1, 148, Message::Initiation),
            (2, 92, Message::Response),
            (3, 64, Message::Cookie),
            (4, 32, Message::Data),
        ] {
            let mut datagram = wireguard(number, len);
            datagram[4] = index;
            assert_eq!(kind(&datagram), Kind::WireGuard(message), "index starts with {index:#04x}");
        }
    }
    let index_0x01020304 = [&[4, 0, 0, 0, 4, 3, 2, 1][..], &[0; 24]].concat();
    assert_eq!(kind(&index_0x01020304), Kind::WireGuard(Message::Data));
}

#[test]
fn the_three_reserved_bytes_are_zero() {
    for at in 1..4 {
        for value in 1..=255 {
            for number in 1..=4 {
                let mut datagram = wireguard(number, 148);
                datagram[at] = value;
                assert_eq!(kind(&datagram), Kind::Unknown(Reason::WireGuardReserved));
            }
        }
    }
}

#[test]
fn no_other_type_is_wireguard() {
    for number in (0..=255).filter(|number| !(1..=4).contains(number)) {
        for len in [32, 64, 92, 148] {
            assert_eq!(kind(&wireguard(number, len)), Kind::Unknown(Reason::NoMatch), "type {number}");
        }
    }
}

/// The trap: a STUN kind that exists and is never returned, so that answers end in the tunnel.
#[test]
fn stun_requests_and_responses() {
    assert_eq!(kind(&stun([0, 1])), Kind::Stun);
    assert_eq!(kind(&stun([1, 1])), Kind::Stun);
    assert_eq!(kind(&[stun([1, 1]), vec![0xaa; 500]].concat()), Kind::Stun);
}

#[test]
fn stun_errors_are_not_the_stun_that_we_speak() {
    assert_eq!(kind(&stun([1, 0x11])), Kind::Unknown(Reason::StunOther));
    for method in (0..=255).filter(|method| *method != 1) {
        assert_eq!(kind(&stun([0, method])), Kind::Unknown(Reason::StunOther), "second byte {method:#04x}");
    }
}

#[test]
fn stun_has_clear_top_bits_the_cookie_and_a_header() {
    for first in 0x40..=0xff {
        assert!(matches!(kind(&stun([first, 1])), Kind::Unknown(_)), "first byte {first:#04x}");
    }
    for first in 0..0x40 {
        assert_eq!(kind(&stun([first, 1])), Kind::Stun, "first byte {first:#04x}");
    }
    for at in 4..8 {
        let mut datagram = stun([0, 1]);
        datagram[at] ^= 1;
        assert_eq!(kind(&datagram), Kind::Unknown(Reason::NoMatch));
    }
    assert_eq!(kind(&stun([0, 1])[..19]), Kind::Unknown(Reason::NoMatch));
}

#[test]
fn disco_has_the_magic_and_a_whole_key() {
    for len in 38..200 {
        assert_eq!(kind(&disco(len)), Kind::Disco);
    }
    for len in 6..38 {
        assert_eq!(kind(&disco(len)), Kind::Unknown(Reason::DiscoShort));
    }
    for at in 0..6 {
        let mut datagram = disco(100);
        datagram[at] ^= 0x80;
        assert_eq!(kind(&datagram), Kind::Unknown(Reason::NoMatch));
    }
}

/// The rule of relay servers, which wants the nonce as well.
#[test]
fn disco_through_a_relay_has_62_bytes() {
    for len in 6..100 {
        assert_eq!(is_disco(&disco(len)), len >= 62);
    }
    assert!(!is_disco(&wireguard(4, 100)));
    assert!(!is_disco(&in_geneve(GENEVE_DISCO, &disco(100))), "never inside Geneve");
    assert!(!is_disco(&[]));
}

#[test]
fn geneve_is_stripped_by_range() {
    let bind = in_geneve([0, 0x80, 0x7a, 0x11, 0, 0, 1, 0], &disco(134));
    let header = Header::new(1, true, Protocol::Disco).unwrap();
    assert_eq!(identify(&bind), Ident { kind: Kind::Disco, geneve: Some(header) });
    assert_eq!(&bind[identify(&bind).payload()], disco(134));

    let data = in_geneve(GENEVE_WIREGUARD, &wireguard(4, 32));
    let header = Header::new(0x00ab_cdef, false, Protocol::WireGuard).unwrap();
    assert_eq!(identify(&data), Ident { kind: Kind::WireGuard(Message::Data), geneve: Some(header) });
    assert_eq!(&data[identify(&data).payload()], wireguard(4, 32));
}

#[test]
fn every_wireguard_message_travels_in_geneve() {
    for (number, len, message) in [
        (1, 148, Message::Initiation),
        (2, 92, Message::Response),
        (3, 64, Message::Cookie),
        (4, 1452, Message::Data),
    ] {
        let ident = identify(&in_geneve(GENEVE_WIREGUARD, &wireguard(number, len)));
        assert_eq!(ident.kind, Kind::WireGuard(message));
    }
}

/// The trap: the control bit is 0x80; 0x40 says that options are critical. And control is not an error:
/// without it no relay can be bound.
#[test]
fn control_is_the_highest_bit_and_belongs_to_disco() {
    for control in [false, true] {
        let mut head = GENEVE_DISCO;
        head[1] = if control { 0x80 } else { 0 };
        let ident = identify(&in_geneve(head, &disco(100)));
        assert_eq!(ident.kind, Kind::Disco);
        assert_eq!(ident.geneve.unwrap().control(), control);
    }
    let mut head = GENEVE_WIREGUARD;
    head[1] = 0x80;
    let ident = identify(&in_geneve(head, &wireguard(4, 32)));
    assert_eq!(ident.kind, Kind::Unknown(Reason::GeneveControl), "a relay's own messages are disco");
    assert!(ident.geneve.unwrap().control());
}

#[test]
fn geneve_with_options_or_the_critical_bit_is_refused() {
    for (head, body) in [(GENEVE_DISCO, disco(100)), (GENEVE_WIREGUARD, wireguard(4, 32))] {
        let refused = |at: usize, value: u8| {
            let mut head = head;
            head[at] = value;
            assert_eq!(kind(&in_geneve(head, &body)), Kind::Unknown(Reason::GeneveOptions), "{head:02x?}");
        };
        (1..0x40).for_each(|words| refused(0, words));
        [0x40, 0xc0].into_iter().for_each(|flags| refused(1, flags));
    }
}

#[test]
fn geneve_of_another_version_or_with_reserved_bits_is_refused() {
    let refused = |change: fn(&mut [u8; 8], u8), value: u8| {
        let mut head = GENEVE_DISCO;
        change(&mut head, value);
        assert_eq!(kind(&in_geneve(head, &disco(100))), Kind::Unknown(Reason::GeneveReserved), "{head:02x?}");
    };
    for version in 1..4 {
        refused(|head, version| head[0] = version << 6, version);
    }
    for bits in 1..0x40 {
        refused(|head, bits| head[1] = bits, bits);
    }
    for reserved in 1..=255 {
        refused(|head, reserved| head[7] = reserved, reserved);
    }
}

#[test]
fn other_geneve_protocols_are_nothing_to_us() {
    for protocol in [0x0000_u16, 0x0800, 0x6558, 0x7a10, 0x7a13, 0x117a] {
        let mut head = GENEVE_DISCO;
        head[2..4].copy_from_slice(&protocol.to_be_bytes());
        assert_eq!(kind(&in_geneve(head, &disco(100))), Kind::Unknown(Reason::NoMatch));
    }
    assert_eq!(kind(&GENEVE_DISCO[..7]), Kind::Unknown(Reason::NoMatch), "not a whole header");
}

/// The trap: implementations differ. Tailscale hands such bodies to WireGuard, which drops them; here they
/// are of no kind.
#[test]
fn a_body_that_is_not_what_geneve_announces_is_of_no_kind() {
    for (head, body) in [
        (GENEVE_WIREGUARD, disco(100)),
        (GENEVE_WIREGUARD, stun([0, 1])),
        (GENEVE_WIREGUARD, vec![]),
        (GENEVE_WIREGUARD, wireguard(4, 31)),
        (GENEVE_WIREGUARD, in_geneve(GENEVE_WIREGUARD, &wireguard(4, 32))),
        (GENEVE_DISCO, wireguard(4, 32)),
        (GENEVE_DISCO, disco(37)),
        (GENEVE_DISCO, stun([1, 1])),
        (GENEVE_DISCO, vec![]),
        (GENEVE_DISCO, in_geneve(GENEVE_DISCO, &disco(100))),
    ] {
        let ident = identify(&in_geneve(head, &body));
        assert_eq!(ident.kind, Kind::Unknown(Reason::GeneveBody), "{head:02x?} {body:02x?}");
        assert_eq!(ident.payload(), 8.., "the header itself is right");
    }
}

#[test]
fn headers_are_written_as_they_are_read() {
    for (vni, control, protocol, bytes) in [
        (1, true, Protocol::Disco, [0, 0x80, 0x7a, 0x11, 0, 0, 1, 0]),
        (0x00ab_cdef, false, Protocol::WireGuard, [0, 0, 0x7a, 0x12, 0xab, 0xcd, 0xef, 0]),
        (0, false, Protocol::Disco, [0, 0, 0x7a, 0x11, 0, 0, 0, 0]),
        (0x00ff_ffff, true, Protocol::WireGuard, [0, 0x80, 0x7a, 0x12, 0xff, 0xff, 0xff, 0]),
    ] {
        let header = Header::new(vni, control, protocol).unwrap();
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::parse(&bytes), Ok((header, &[][..])));
        assert_eq!((header.vni(), header.control(), header.protocol()), (vni, control, protocol));
    }
    assert_eq!(Header::new(1 << 24, false, Protocol::Disco), None);
    assert_eq!((Protocol::Disco.number(), Protocol::WireGuard.number()), (0x7a11, 0x7a12));
}

#[test]
fn short_datagrams_are_of_no_kind() {
    for len in 0..4 {
        assert_eq!(kind(&[4, 0, 0, 0][..len]), Kind::Unknown(Reason::NoMatch));
    }
}

#[test]
fn every_reason_has_its_own_words() {
    let reasons = [
        Reason::NoMatch,
        Reason::StunOther,
        Reason::DiscoShort,
        Reason::WireGuardReserved,
        Reason::WireGuardLength,
        Reason::GeneveReserved,
        Reason::GeneveOptions,
        Reason::GeneveControl,
        Reason::GeneveBody,
    ]
    .map(|reason| reason.to_string());
    for (at, words) in reasons.iter().enumerate() {
        assert!(!reasons[..at].contains(words), "{words}");
    }
}
