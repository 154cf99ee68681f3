//! Which datagrams a relay's STUN answers: binding requests as Tailscale's clients write them, and nothing else.

use std::net::SocketAddr;

use tidewire_stun::{RESPONSE_LEN, parse_request, response};

/// The answer to a datagram: the buffer and how much of it. `None`: silence.
#[must_use]
pub fn answer(datagram: &[u8], from: SocketAddr) -> Option<([u8; RESPONSE_LEN], usize)> {
    let tx = parse_request(datagram).ok()?;
    let mut out = [0; RESPONSE_LEN];
    let len = response(&tx, from, &mut out);
    Some((out, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_stun::{TxId, parse_response, request};

    const TX: TxId = TxId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

    fn answered(datagram: &[u8], from: &str) -> Option<Vec<u8>> {
        answer(datagram, from.parse().unwrap()).map(|(out, len)| out[..len].to_vec())
    }

    #[test]
    fn a_client_learns_its_address() {
        let response = answered(&request(&TX), "1.2.3.4:567").unwrap();
        let expected = [
            0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, //
            0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0x23, 0x25, 0x20, 0x10, 0xa7, 0x46,
        ];
        assert_eq!(response, expected);
    }

    /// Tailscale's own server answers with the mapped form here.
    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_gets_its_ipv4_address() {
        let response = answered(&request(&TX), "[::ffff:1.2.3.4]:567").unwrap();
        assert_eq!(parse_response(&response).unwrap(), (TX, "1.2.3.4:567".parse().unwrap()));
        assert_eq!(response.len(), 32);
    }

    #[test]
    fn strangers_get_silence() {
        let good = request(&TX);
        let mut bare = good[..20].to_vec();
        bare[3] = 0;
        assert_eq!(answered(&bare, "1.2.3.4:567"), None, "a request without SOFTWARE and FINGERPRINT");
        assert_eq!(answered(&[&good[..], &[0]].concat(), "1.2.3.4:567"), None, "one trailing byte");
        for at in 0..good.len() {
            let mut flipped = good;
            flipped[at] ^= 1;
            // The transaction id is the client's own affair, but the fingerprint covers it.
            assert_eq!(answered(&flipped, "1.2.3.4:567"), None, "byte {at}");
        }
    }
}
