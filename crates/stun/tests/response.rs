//! Responses of real servers are read, malformed ones refused, and ours are what Tailscale's relays send.

use std::net::SocketAddr;

use stun::{RESPONSE_LEN, ResponseError, TxId, parse_response, response};
use tidewire_stun as stun;

const TX: TxId = TxId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A success response of [`TX`] with these attributes.
fn success(attributes: &str) -> Vec<u8> {
    let attributes = unhex(attributes);
    let len = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    [&[1, 1][..], &len, &[0x21, 0x12, 0xa4, 0x42], &TX.0, &attributes].concat()
}

fn read(attributes: &str) -> Result<String, ResponseError> {
    parse_response(&success(attributes)).map(|(tx, addr)| {
        assert_eq!(tx, TX);
        addr.to_string()
    })
}

/// What servers in the wild answered.
#[test]
fn servers_in_the_wild() {
    for (name, hex, addr) in [
        ("google", "0101000c2112a442 2360b11e3ec68ffa93e08007 00200008 0001c786 6957856f", "72.69.33.45:59028"),
        ("google again", "0101000c2112a442 f9f121cbde7d7c75923ce271 00200008 0001c787 6957856f", "72.69.33.45:59029"),
        (
            "sipgate: mapped first, then the XORed address of type 0x8020",
            "010100442112a442 482eb64715e8b28eaead6444 00010008 0001e4ab 4845212d 00040008 00012710 d90a4498
             00050008 00012711 d9747a8a 80200008 0001c5b9 6957856f 80220010 566f766964612e6f726720302e393600",
            "72.69.33.45:58539",
        ),
        (
            "powervoip: a mapped address alone",
            "010100242112a442 7e57966829f444609d1deaa6 00010008 0001e9d3 4845212d 00040008 00010d96 4d48a9d4
             00050008 00010d97 4d48a9d5",
            "72.69.33.45:59859",
        ),
        (
            "stuntman: IPv6",
            "010100482112a442 06f56685d28af3e69ce341e2 00010014 000290ce 260200d1b4cfc10038b231fffeef96f6
             802b0014 00020d96 2604a880000200d10000000000c57001 00200014 0002b1dc 0710a493b23aa785ea38c219620cd714",
            "[2602:d1:b4cf:c100:38b2:31ff:feef:96f6]:37070",
        ),
    ] {
        let bytes = unhex(hex);
        let (tx, found) = parse_response(&bytes).unwrap();
        assert_eq!(tx.0, bytes[8..20], "{name}");
        assert_eq!(found.to_string(), addr, "{name}");
    }
}

/// The trap: pion's in-process server sent more than it announced.
#[test]
fn bytes_behind_the_announced_length_are_ignored() {
    let bytes = unhex(
        "010100242112a442 ebc2d36ef471217c4f3e308e 8022000a 656e64706f696e7465720000 00200008 0001ce66 5e12a443
         80280004 b699bb02 010100242112a442",
    );
    assert_eq!(parse_response(&bytes).unwrap().1.to_string(), "127.0.0.1:61300");
}

/// The trap: values are padded to a multiple of four, the padding is not counted.
#[test]
fn software_of_odd_length_is_padded() {
    for software in ["80220001 61000000", "80220003 61626300", "80220005 6162636465000000", "80220000"] {
        assert_eq!(read(&format!("{software} 00200008 0001 2325 2010a746")).unwrap(), "1.2.3.4:567");
    }
}

/// The trap: a relay with one socket for both families answers IPv4 with an IPv6 address.
#[test]
fn mapped_ipv4_is_unmapped() {
    let mapped = success("00200014 0002 2325 2112a442 010203040506 f8f7 08080808");
    assert_eq!(mapped.len(), 44);
    assert_eq!(parse_response(&mapped).unwrap().1.to_string(), "1.2.3.4:567");
    assert_eq!(read("00010014 0002 0237 00000000000000000000ffff01020304").unwrap(), "1.2.3.4:567");
}

#[test]
fn the_xored_address_counts_wherever_it_stands() {
    let (mapped, xored) = ("00010008 0001 0001 09090909", "00200008 0001 2325 2010a746");
    assert_eq!(read(&format!("{mapped} {xored}")).unwrap(), "1.2.3.4:567");
    assert_eq!(read(&format!("{xored} {mapped}")).unwrap(), "1.2.3.4:567");
    assert_eq!(read(mapped).unwrap(), "9.9.9.9:1");
    let other = "80200008 0001 0000 00000000";
    assert_eq!(read(&format!("{xored} {other}")).unwrap(), "1.2.3.4:567", "of two the first");
}

#[test]
fn other_classes_and_methods_are_no_success() {
    for (kind, message) in
        [("0001", 0x0001), ("0111", 0x0111), ("0011", 0x0011), ("0003", 3), ("0103", 0x0103)]
    {
        let mut bytes = success("00200008 0001 2325 2010a746");
        bytes[..2].copy_from_slice(&unhex(kind));
        assert_eq!(parse_response(&bytes), Err(ResponseError::NotSuccess { kind: message }));
    }
}

#[test]
fn what_is_no_stun_at_all() {
    let bytes = success("00200008 0001 2325 2010a746");
    for len in 0..20 {
        assert_eq!(parse_response(&bytes[..len]), Err(ResponseError::NotStun));
    }
    for bit in [0x40, 0x80] {
        let mut wrong = bytes.clone();
        wrong[0] |= bit;
        assert_eq!(parse_response(&wrong), Err(ResponseError::NotStun));
    }
    for at in 4..8 {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        assert_eq!(parse_response(&wrong), Err(ResponseError::NotStun));
    }
}

#[test]
fn malformed_attributes_are_refused() {
    for attributes in [
        "00200008 0001 2325",                            // beyond the message
        "00200008 0003 2325 2010a746",                   // no such family
        "00200008 0000 2325 2010a746",                   // no family
        "00200004 0001 2325",                            // no address
        "00200007 0001 2325 2010a700",                   // IPv4, one byte short
        "00200008 0002 2325 2010a746",                   // IPv6, twelve bytes short
        "00010003 000100",                               // not even a port
        "00200008 0001 2325 2010a746 8022",              // half a header
        "80220001 61",                                   // padding missing
        "00200008 0001 2325 2010a746 00200001 00000000", // the second one is looked at as well
    ] {
        assert_eq!(read(attributes), Err(ResponseError::Malformed), "{attributes}");
    }
    assert_eq!(read(""), Err(ResponseError::NoAddress));
    assert_eq!(read("80220004 61626364"), Err(ResponseError::NoAddress));
}

#[test]
fn a_length_beyond_the_datagram_is_refused() {
    let mut bytes = success("00200008 0001 2325 2010a746");
    bytes[3] += 1;
    assert_eq!(parse_response(&bytes), Err(ResponseError::Malformed));
    bytes[3] -= 5;
    assert_eq!(parse_response(&bytes), Err(ResponseError::Malformed), "an attribute beyond the length");
}

/// Confirmed by Tailscale's own package.
#[test]
fn the_response_of_a_relay() {
    let mut out = [0; RESPONSE_LEN];
    let len = response(&TX, "1.2.3.4:567".parse().unwrap(), &mut out);
    let expected = unhex("0101000c 2112a442 0102030405060708090a0b0c 0020 0008 0001 2325 2010a746");
    assert_eq!(out[..len], expected);
    let mapped: SocketAddr = "[::ffff:1.2.3.4]:567".parse().unwrap();
    assert_eq!(response(&TX, mapped, &mut out), 32, "IPv4 is answered as IPv4 whichever socket it came to");
    assert_eq!(out[..32], expected);
    let len = response(&TX, "[2001:db8::1]:567".parse().unwrap(), &mut out);
    assert_eq!(
        out[..len],
        unhex(
            "01010018 2112a442 0102030405060708090a0b0c 0020 0014 0002 2325 0113a9fa010203040506 0708090a0b0d"
        )
    );
}
