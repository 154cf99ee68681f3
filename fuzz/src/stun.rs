//! What must hold for STUN: answers round trip, trailing bytes change no response, and a request is all or nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tidewire_stun::{RESPONSE_LEN, TxId, parse_request, parse_response, request, response};

/// Any datagram, and its first bytes as a transaction and an address.
pub fn stun(data: &[u8]) {
    if let Ok((tx, addr)) = parse_response(data) {
        assert_eq!(tx.0, data[8..20]);
        round_trip(tx, addr);
        let mut longer = data.to_vec();
        longer.extend([0xa5; 5]);
        assert_eq!(parse_response(&longer), Ok((tx, addr)), "bytes behind the announced length mean nothing");
    }
    if let Ok(tx) = parse_request(data) {
        assert_eq!(tx.0, data[8..20]);
        assert!(parse_response(data).is_err(), "one message is not both");
        let mut spoiled = data.to_vec();
        spoiled[8] ^= 1;
        assert!(parse_request(&spoiled).is_err(), "the fingerprint covers the transaction");
        spoiled[8] ^= 1;
        spoiled.push(0);
        assert!(parse_request(&spoiled).is_err(), "one byte more and it is not the end");
    }
    if let Some((tx, rest)) = data.split_first_chunk()
        && let Some((ip, rest)) = rest.split_first_chunk::<16>()
        && let Some(port) = rest.first_chunk()
    {
        let tx = TxId(*tx);
        assert_eq!(parse_request(&request(&tx)), Ok(tx));
        round_trip(tx, SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*ip)), u16::from_be_bytes(*port)));
    }
}

/// An answer is read as it was meant: IPv4 as IPv4, also where a socket for both families saw it mapped.
fn round_trip(tx: TxId, addr: SocketAddr) {
    let mut out = [0; RESPONSE_LEN];
    let length = response(&tx, addr, &mut out);
    let canonical = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    assert_eq!(length, if canonical.is_ipv4() { 32 } else { 44 });
    assert_eq!(parse_response(&out[..length]), Ok((tx, canonical)));
}
