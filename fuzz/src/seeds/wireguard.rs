//! Seeds of the targets `tunnel`, `uapi` and `tun_frame`: attacks, requests and frames as they really happen.

use super::{Seed, from_hex};

/// All of them.
pub(super) fn all() -> Vec<Seed> {
    let seed = |target, name: &str, bytes| Seed { target, name: name.to_owned(), bytes };
    let mut seeds: Vec<Seed> =
        ATTACKS.iter().map(|(name, hex)| seed("tunnel", name, from_hex(hex))).collect();
    seeds.extend(REQUESTS.iter().map(|(name, cuts, text)| {
        let text = text.replace("KEY", &"01".repeat(32)).replace("OTHER", &"02".repeat(32));
        seed("uapi", name, [&[*cuts][..], text.as_bytes()].concat())
    }));
    seeds.extend(FRAMES.iter().map(|(name, how, frames)| {
        let mut bytes = vec![*how];
        for (times, hex) in *frames {
            let frame = from_hex(hex);
            let length = u16::try_from(frame.len()).expect("a frame is short");
            bytes.extend([&length.to_be_bytes()[..], &[*times], &frame].concat());
        }
        seed("tun_frame", name, bytes)
    }));
    seeds
}

/// Verbs as the target `tunnel` reads them, by their number modulo 14.
#[rustfmt::skip]
const ATTACKS: &[(&str, &str)] = &[
    ("data-both-ways", "07 03 04 45000014 0a 04 45000014 02 0d"),
    ("keepalives-of-the-mad", "07 4f 00 00 0f 07 4f 00 0d"),
    ("garbage", "01 20 04000000 ffffffff 0000000000000000 00000000000000000000000000000000 01 04 01000000 01 00"),
    ("signed-noise", "02 10 00112233445566778899aabbccddeeff 00 03 10 00112233445566778899aabbccddeeff 01"),
    ("flood", "04 08 0102030405060708 ff 04 08 0102030405060708 ff 0d 08 00 0c 08 0d"),
    ("flood-over-minutes", "04 00 ff 00 11 04 00 ff 00 11 0d 00 12 04 00 ff 0d 00 0d 0d"),
    ("replayed-handshake", "05 00 00 05 01 00 05 02 00 05 03 00 0d"),
    ("spoiled-handshake", "00 0d 08 05 00 03 01 04 01 05 04 03 00 08 80 05 05 03 01 74 ff 0d"),
    ("other-indexes", "00 0d 09 04 ffffffff 00 0d 09 04 00000000 07 00 01 45 0d"),
    ("cookie", "0c 01 00 11 0a 02 4500 01 06 3c 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b 0d"),
    ("mad-goes-and-comes", "0b 00 07 00 01 45 0b 02 08 00 0d 0b 01 0a 01 45 ff 0b 1e 00 0e 0d"),
    ("silence-and-waiting", "0c 01 0b 01 0a 10 45000014000000000000000000000000 ff 00 11 0a 01 45 ff 00 12 0c 00 00 0d"),
    ("years", "00 13 00 13 00 13 00 13 0d"),
];

/// How a request is cut, and its text.
#[rustfmt::skip]
const REQUESTS: &[(&str, u8, &str)] = &[
    ("get", 0, "get=1\n\n"),
    ("set-all", 7, "set=1\nprivate_key=KEY\nlisten_port=51820\nfwmark=7\nreplace_peers=true\npublic_key=OTHER\npreshared_key=KEY\n\
        endpoint=192.0.2.1:51820\npersistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=10.0.0.0/8\n\
        allowed_ip=fd00::/64\nprotocol_version=1\n\nget=1\n\n"),
    ("set-and-remove", 3, "set=1\npublic_key=OTHER\nallowed_ip=10.0.0.0/8\nallowed_ip=-10.0.0.0/8\npublic_key=OTHER\nremove=true\n\n"),
    ("update-only", 3, "set=1\npublic_key=OTHER\nupdate_only=true\nallowed_ip=0.0.0.0/0\n\n"),
    ("key-away", 1, "set=1\nprivate_key=0000000000000000000000000000000000000000000000000000000000000000\n\n"),
    ("endpoint-v6", 5, "set=1\npublic_key=KEY\nendpoint=[fe80::1%eth0]:1\nendpoint=[2001:db8::1]:65535\nendpoint=[::ffff:192.0.2.1]:7\n\n"),
    ("host-bits", 5, "set=1\npublic_key=KEY\nallowed_ip=10.1.2.3/8\nallowed_ip=::1/0\n\n"),
    ("wrong-in-the-middle", 9, "set=1\nfwmark=1\nfwmark=x\nfwmark=2\n\nget=1\n\n"),
    ("no-equals", 9, "set=1\nnonsense\n\nget=1\n\n"),
    ("get-with-lines", 2, "get=1\nx=1\n\nget=1\n\n"),
    ("never-ended", 2, "set=1\nlisten_port=1"),
    ("another-language", 2, "GET / HTTP/1.1\r\n\r\n"),
    ("crlf", 2, "set=1\r\nfwmark=1\r\n\r\n"),
];

/// How often a frame is lengthened by 200 bytes, and how it begins.
type Frame = (u8, &'static str);

/// How frames are read and written, and the frames.
#[rustfmt::skip]
const FRAMES: &[(&str, u8, &[Frame])] = &[
    ("plain-v4-udp", 0x0e, &[(0, "45000020 00010000 40110000 64400001 64400002 04d20050 000c0000 68657921")]),
    ("header-v4-udp", 0x0f, &[(0, "00000000000000000000 45000020 00010000 40110000 64400001 64400002 04d20050 000c0000 68657921")]),
    ("checksum-to-complete", 0x0f, &[(0, "01000000000014000600 45000020 00010000 40110000 64400001 64400002 04d20050 000c0000 68657921")]),
    ("tcp-v4-super-packet", 0x47, &[(40, "01013400e803 14001000 45001fe8 00014000 40060000 64400001 64400002 04d20050 00000001 00000000 50182000 00000000 61")]),
    ("tcp-v6-super-packet", 0x47, &[(40, "01043c00e803 28001000 60000000 1fd40640 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002
        04d20050 00000001 00000000 50182000 00000000 61")]),
    ("udp-v4-super-packet", 0x47, &[(20, "01051c00f401 14000600 45001000 00014000 40110000 64400001 64400002 04d20050 0fec0000 62")]),
    ("udp-v6-super-packet", 0x07, &[(60, "01053000 f401 28000600 60000000 2f000011 fd7a115ca1e000000000000000000001 fd7a115ca1e000000000000000000002
        04d20050 2f000000 62")]),
    ("congestion-mark", 0x47, &[(40, "01813400e803 14001000 45001fe8 00014000 40060000 64400001 64400002 04d20050 00000001 00000000 50982000 00000000 61")]),
    ("unknown-kind", 0x47, &[(1, "01033400e803 14001000 45001fe8 00014000 40060000")]),
    ("checksum-outside", 0x0f, &[(0, "0100000000 00ffff0600 45000020 00010000 40110000 64400001 64400002")]),
    ("segments-of-nothing", 0x47, &[(4, "010134000000 14001000 45001fe8 00014000 40060000 64400001 64400002 04d20050 00000001 00000000 50182000 00000000 61")]),
    ("longer-than-the-mtu", 0x0f, &[(20, "00000000000000000000 45000020 00010000 40110000 64400001 64400002 04d20050 000c0000")]),
    ("short", 0x0f, &[(0, "0000"), (0, ""), (0, "00000000000000000000"), (0, "00000000000000000000 45")]),
];
