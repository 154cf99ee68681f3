//! How a handshake message proves that its sender knows the receiver's key (mac1) and receives at its address (mac2).

use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{FixedOutput, Mac, consts::U16},
};
use subtle::ConstantTimeEq;
use tidewire_keys::NodePublic;

use crate::message::MAC_LEN;

const MAC1_LABEL: &[u8] = b"mac1----";
const COOKIE_LABEL: &[u8] = b"cookie--";

/// The key of mac1 in messages to `receiver`.
pub(crate) fn mac1_key(receiver: &NodePublic) -> [u8; 32] {
    labelled(MAC1_LABEL, receiver)
}

/// The key that seals cookies which `issuer` sends.
pub(crate) fn cookie_key(issuer: &NodePublic) -> [u8; 32] {
    labelled(COOKIE_LABEL, issuer)
}

/// Writes both MACs into the end of `message`, an initiation or a response, and returns mac1. Without a `cookie` mac2 is
/// zeros.
pub(crate) fn sign(message: &mut [u8], receiver: &NodePublic, cookie: Option<&[u8; 16]>) -> [u8; MAC_LEN] {
    let (covered, macs) = message.split_at_mut(message.len() - 2 * MAC_LEN);
    let mac1 = mac(&mac1_key(receiver), &[covered]);
    let mac2 = cookie.map_or([0; MAC_LEN], |cookie| mac(cookie, &[covered, &mac1]));
    macs[..MAC_LEN].copy_from_slice(&mac1);
    macs[MAC_LEN..].copy_from_slice(&mac2);
    mac1
}

/// Whether mac1 of `message`, an initiation or a response, was made with `key`.
pub(crate) fn mac1_holds(message: &[u8], key: &[u8; 32]) -> bool {
    let (covered, macs) = message.split_at(message.len() - 2 * MAC_LEN);
    mac(key, &[covered]).ct_eq(&macs[..MAC_LEN]).into()
}

/// Whether mac2 of `message`, an initiation or a response, was made with `cookie`.
pub(crate) fn mac2_holds(message: &[u8], cookie: &[u8; 16]) -> bool {
    let (covered, mac2) = message.split_at(message.len() - MAC_LEN);
    mac(cookie, &[covered]).ct_eq(mac2).into()
}

/// Keyed BLAKE2s with an output of 16 bytes over the `parts` as one (WireGuard paper, section 5.4: MAC).
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC_LEN] {
    let keyed = <Blake2sMac<U16> as Mac>::new_from_slice(key).expect("BLAKE2s takes keys of up to 32 bytes");
    parts.iter().fold(keyed, |mac, part| mac.chain_update(part)).finalize_fixed().into()
}

fn labelled(label: &[u8], key: &NodePublic) -> [u8; 32] {
    Blake2s256::new().chain_update(label).chain_update(key.as_bytes()).finalize().into()
}
