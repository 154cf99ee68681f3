//! What one side writes the other reads, and any bytes are a value or an error.

use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidewire_stun::{RESPONSE_LEN, RequestError, TxId, parse_request, parse_response, request, response};

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    #[test]
    fn requests_come_back(tx: [u8; 12]) {
        prop_assert_eq!(parse_request(&request(&TxId(tx))), Ok(TxId(tx)));
    }

    #[test]
    fn responses_come_back(tx: [u8; 12], addr: SocketAddr) {
        let mut out = [0; RESPONSE_LEN];
        let len = response(&TxId(tx), addr, &mut out);
        let canonical = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        prop_assert_eq!(parse_response(&out[..len]), Ok((TxId(tx), canonical)));
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>) {
        let _ = parse_response(&bytes);
        prop_assert!(parse_request(&bytes).is_err());
    }

    #[test]
    fn any_attributes_are_a_value_or_an_error(tx: [u8; 12], len: u16, attributes: Vec<u8>) {
        let rest = [&len.to_be_bytes()[..], &[0x21, 0x12, 0xa4, 0x42], &tx, &attributes].concat();
        let _ = parse_response(&[&[1, 1], &rest[..]].concat());
        prop_assert!(parse_request(&[&[0, 1], &rest[..]].concat()).is_err());
    }

    /// CRC-32 finds every change of one bit.
    #[test]
    fn a_changed_bit_is_never_answered(tx: [u8; 12], at in 0..40_usize, bit in 0..8_u8) {
        let mut wrong = request(&TxId(tx));
        wrong[at] ^= 1 << bit;
        prop_assert!(parse_request(&wrong).is_err());
    }

    #[test]
    fn a_cut_response_is_an_error(tx: [u8; 12], addr: SocketAddr, cut in 0..RESPONSE_LEN) {
        let mut out = [0; RESPONSE_LEN];
        let len = response(&TxId(tx), addr, &mut out);
        prop_assert!(parse_response(&out[..cut.min(len - 1)]).is_err());
    }

    #[test]
    fn a_cut_request_is_never_answered(tx: [u8; 12], cut in 0..40_usize) {
        prop_assert_ne!(parse_request(&request(&TxId(tx))[..cut]), Ok(TxId(tx)));
        if cut < 20 {
            prop_assert_eq!(parse_request(&request(&TxId(tx))[..cut]), Err(RequestError::NotStun));
        }
    }
}
