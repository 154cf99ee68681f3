//! Secret types wipe themselves, and comparing them means the bytes.

use subtle::ConstantTimeEq;
use tidewire_keys::{DiscoSecret, Drbg, NodeSecret, PresharedKey, RelaySecret, Seed, SharedBox};
use zeroize::ZeroizeOnDrop;

fn wiped<T: ZeroizeOnDrop>() {
    assert!(std::mem::needs_drop::<T>(), "nothing would run on drop");
}

#[test]
fn secret_types_are_wiped_on_drop() {
    wiped::<NodeSecret>();
    wiped::<DiscoSecret>();
    wiped::<RelaySecret>();
    wiped::<PresharedKey>();
    wiped::<SharedBox>();
    wiped::<Seed>();
    wiped::<Drbg>();
}

#[test]
fn secrets_are_equal_by_their_bytes() {
    let (a, b) = (NodeSecret::from_bytes([1; 32]), NodeSecret::from_bytes([2; 32]));
    assert_eq!(a, a.clone());
    assert_ne!(a, b);
    assert!(bool::from(a.ct_eq(&a.clone())) && !bool::from(a.ct_eq(&b)));
    assert_ne!(PresharedKey::from_bytes([1; 32]), PresharedKey::from_bytes([2; 32]));
}

#[test]
fn the_rest_is_redacted_too() {
    let seed = Seed::new([0xab; 32]);
    let shared = DiscoSecret::from_bytes([1; 32]).shared(&DiscoSecret::from_bytes([2; 32]).public());
    assert_eq!(format!("{seed:?}"), "Seed(redacted)");
    assert_eq!(format!("{:?}", Drbg::new(&seed, "x")), "Drbg(redacted)");
    assert_eq!(format!("{shared:?}"), "SharedBox(redacted)");
}
