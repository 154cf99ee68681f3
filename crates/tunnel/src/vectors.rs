//! Whether handshakes, sessions and cookies of fixed keys give the bytes that independent implementations gave.

use std::{sync::Arc, time::Duration};

use tidewire_keys::{NodePublic, NodeSecret, PresharedKey, Tai64N};
use zerocopy::FromBytes;
use zeroize::Zeroizing;

use crate::{
    cookie::{self, Cookie},
    dh::count,
    discard::Discard,
    known::{Identity, Known},
    mac,
    message::{CookieReply, INITIATION_LEN, Initiation, RESPONSE_LEN, Response},
    noise::{Initiator, Keys, Responder},
    session::{REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES, Session},
    t0,
};

const INITIATOR_PUBLIC: &str = "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13";
const RESPONDER_PUBLIC: &str = "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20";
const STAMP: &str = "400000006553f10a00000000";
const INITIATION: &str = "0100000001000000ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b3b6f1324884f7dfcb616f1440bce015ad114bc97a5052c5972a42150ca66244ee95bf0cd2c60d3d9addef329768c8c110ed41251d4d6d7792a1ea831af41baab6c8d4ca280201ae6f48ab9ccd5f7e7da4cdad0638ec0b8cdb163930e00000000000000000000000000000000";
const RESPONSE: &str = "02000000020000000100000038ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c67a18245b56bb39f06470b95c2c2365f5714aac80767b63e9cccb8563c374ee6c600000000000000000000000000000000";
const KEEPALIVE: &str = "04000000020000000000000000000000408329df6253e34e1e2ae58c4bd22d8e";
const COOKIE_REPLY: &str = "03000000010000006666666666666666666666666666666666666666666666661383a729ae6b7e298ebcd917ffe101e4726c50308e9ecb1e22d3c6e2eb3fda29";
const MAC2: &str = "8bbd4612388ee7f6aec5f4338cc98fe4";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn public(text: &str) -> NodePublic {
    NodePublic::from_hex(text).unwrap()
}

fn known(own: u8, peer: NodePublic) -> Arc<Known> {
    let mut known = Known::new(Identity::new(NodeSecret::from_bytes([own; 32])));
    known.insert(peer, 0);
    Arc::new(known)
}

fn psk() -> PresharedKey {
    PresharedKey::from_bytes([0x33; 32])
}

fn begin() -> (Initiator, [u8; INITIATION_LEN]) {
    let known = known(0x11, public(RESPONDER_PUBLIC));
    let stamp = Tai64N::from_bytes(hex(STAMP).try_into().unwrap());
    let mut noise = [0; 108];
    let shared = known.shared(&public(RESPONDER_PUBLIC)).unwrap();
    let ephemeral = Zeroizing::new([0x44; 32]);
    let remote = public(RESPONDER_PUBLIC);
    let initiator =
        Initiator::begin(known.identity(), &remote, shared, &psk(), ephemeral, stamp, &mut noise).unwrap();
    let mut message = [0; INITIATION_LEN];
    message[0] = 1;
    message[4] = 1;
    message[8..116].copy_from_slice(&noise);
    mac::sign(&mut message, &remote, None);
    (initiator, message)
}

fn answer(psk: &PresharedKey) -> (Keys, [u8; RESPONSE_LEN]) {
    let known = known(0x22, public(INITIATOR_PUBLIC));
    let bytes = hex(INITIATION);
    let initiation = Initiation::ref_from_bytes(&bytes).unwrap();
    let (responder, greeting) =
        Responder::read(&known, Zeroizing::new([0x55; 32]), &initiation.noise).unwrap();
    assert_eq!(greeting.from, public(INITIATOR_PUBLIC));
    assert_eq!(greeting.stamp.to_bytes().as_slice(), hex(STAMP));
    let mut noise = [0; 48];
    let keys = responder.reply(psk, &mut noise).unwrap();
    let mut message = [0; RESPONSE_LEN];
    message[0] = 2;
    message[4] = 2;
    message[8] = 1;
    message[12..60].copy_from_slice(&noise);
    mac::sign(&mut message, &public(INITIATOR_PUBLIC), None);
    (keys, message)
}

fn finish(initiator: &mut Initiator, response: &[u8]) -> Result<Keys, Discard> {
    initiator.finish(&Response::ref_from_bytes(response).unwrap().noise)
}

#[test]
fn public_keys() {
    assert_eq!(*Identity::new(NodeSecret::from_bytes([0x11; 32])).public(), public(INITIATOR_PUBLIC));
    assert_eq!(*Identity::new(NodeSecret::from_bytes([0x22; 32])).public(), public(RESPONDER_PUBLIC));
}

#[test]
fn initiation() {
    let (_, message) = begin();
    assert_eq!(message.as_slice(), hex(INITIATION));
    assert!(mac::mac1_holds(&message, &mac::mac1_key(&public(RESPONDER_PUBLIC))));
    assert!(!mac::mac1_holds(&message, &mac::mac1_key(&public(INITIATOR_PUBLIC))));
}

#[test]
fn response() {
    assert_eq!(answer(&psk()).1.as_slice(), hex(RESPONSE));
}

#[test]
fn first_keepalive() {
    let (mut initiator, _) = begin();
    let keys = finish(&mut initiator, &hex(RESPONSE)).unwrap();
    let mut keepalive = [0; 32];
    Session::new(t0(), &keys, 1, 2, true).seal(&mut keepalive).unwrap();
    assert_eq!(keepalive.as_slice(), hex(KEEPALIVE));
    let (keys, _) = answer(&psk());
    assert_eq!(Session::new(t0(), &keys, 2, 1, false).open(&mut keepalive), Ok(0));
}

#[test]
fn cookie_reply() {
    let message = hex(INITIATION);
    let mac1 = Initiation::ref_from_bytes(&message).unwrap().mac1;
    let sealed = cookie::seal(&mac::cookie_key(&public(RESPONDER_PUBLIC)), &[0x66; 24], &[0x77; 16], &mac1);
    let reply = hex(COOKIE_REPLY);
    assert_eq!(sealed.as_slice(), &reply[32..]);
    let reply = CookieReply::ref_from_bytes(&reply).unwrap();
    let cookie = Cookie::open(t0(), &public(RESPONDER_PUBLIC), &mac1, reply).unwrap();
    assert_eq!(cookie.value(t0()), Some(&[0x77; 16]));
    let mut message = message;
    mac::sign(&mut message, &public(RESPONDER_PUBLIC), cookie.value(t0()));
    assert_eq!(&message[132..], hex(MAC2));
    assert!(mac::mac2_holds(&message, &[0x77; 16]));
    assert!(!mac::mac2_holds(&message, &[0x78; 16]));
    assert!(Cookie::open(t0(), &public(INITIATOR_PUBLIC), &mac1, reply).is_none());
    assert!(Cookie::open(t0(), &public(RESPONDER_PUBLIC), &[0; 16], reply).is_none());
}

#[test]
fn a_bad_response_leaves_the_handshake_waiting_for_the_good_one() {
    let (mut initiator, _) = begin();
    for at in [12, 30, 59] {
        let mut bad = hex(RESPONSE);
        bad[at] ^= 1;
        assert!(matches!(finish(&mut initiator, &bad), Err(Discard::BadResponse)), "{at}");
    }
    let (_, other) = answer(&PresharedKey::from_bytes([0; 32]));
    assert!(matches!(finish(&mut initiator, &other), Err(Discard::BadResponse)));
    assert!(finish(&mut initiator, &hex(RESPONSE)).is_ok());
}

#[test]
fn a_zero_ephemeral_is_refused_on_both_sides() {
    let (mut initiator, mut message) = begin();
    message[8..40].fill(0);
    let initiation = Initiation::ref_from_bytes(&message).unwrap();
    let read = Responder::read(
        &known(0x22, public(INITIATOR_PUBLIC)),
        Zeroizing::new([0x55; 32]),
        &initiation.noise,
    );
    assert!(matches!(read, Err(Discard::WeakKey)));
    let mut response = hex(RESPONSE);
    response[12..44].fill(0);
    assert!(matches!(finish(&mut initiator, &response), Err(Discard::WeakKey)));
    assert!(finish(&mut initiator, &hex(RESPONSE)).is_ok());
}

#[test]
fn an_unknown_initiator_is_refused() {
    let bytes = hex(INITIATION);
    let initiation = Initiation::ref_from_bytes(&bytes).unwrap();
    let known = known(0x22, public(RESPONDER_PUBLIC));
    let read = Responder::read(&known, Zeroizing::new([0x55; 32]), &initiation.noise);
    assert!(matches!(read, Err(Discard::UnknownInitiator)));
}

#[test]
fn an_unknown_initiator_costs_one_agreement_and_a_known_one_two_and_then_one() {
    let bytes = hex(INITIATION);
    let initiation = Initiation::ref_from_bytes(&bytes).unwrap();
    let read = |known: &Arc<Known>| {
        count::during(|| Responder::read(known, Zeroizing::new([0x55; 32]), &initiation.noise))
    };
    let strangers = known(0x22, public(RESPONDER_PUBLIC));
    for _ in 0..3 {
        let (agreed, read) = read(&strangers);
        assert!(matches!(read, Err(Discard::UnknownInitiator)));
        assert_eq!(agreed, 1);
    }
    let peers = known(0x22, public(INITIATOR_PUBLIC));
    for expected in [2, 1, 1] {
        let (agreed, read) = read(&peers);
        assert_eq!(agreed, expected, "that of the static keys is kept");
        let (agreed, _) = count::during(|| read.unwrap().0.reply(&psk(), &mut [0; 48]).unwrap());
        assert_eq!(agreed, 2);
    }
}

#[test]
fn who_begins_agrees_on_the_static_secret_once() {
    let known = known(0x11, public(RESPONDER_PUBLIC));
    let remote = public(RESPONDER_PUBLIC);
    let stamp = Tai64N::from_bytes([0; 12]);
    for expected in [2, 1, 1] {
        let (agreed, _) = count::during(|| {
            let shared = known.shared(&remote).unwrap();
            let ephemeral = Zeroizing::new([0x44; 32]);
            Initiator::begin(known.identity(), &remote, shared, &psk(), ephemeral, stamp, &mut [0; 108])
                .unwrap()
        });
        assert_eq!(agreed, expected);
    }
    let (mut initiator, _) = begin();
    assert_eq!(count::during(|| finish(&mut initiator, &hex(RESPONSE)).unwrap()).0, 2);
}

#[test]
fn counters_end_before_they_repeat() {
    let (keys, _) = answer(&psk());
    let mut session = Session::new(t0(), &keys, 2, 1, false);
    session.skip_to(REKEY_AFTER_MESSAGES);
    assert!(!session.is_stale_to_send(t0()));
    session.seal(&mut [0; 32]).unwrap();
    assert!(session.is_stale_to_send(t0()));
    session.skip_to(REJECT_AFTER_MESSAGES - 1);
    assert!(session.can_send(t0()));
    session.seal(&mut [0; 32]).unwrap();
    assert!(!session.can_send(t0()));
    assert_eq!(session.seal(&mut [0; 32]), Err(Discard::CounterSpent));
    let mut spent = [0; 32];
    spent[8..16].copy_from_slice(&REJECT_AFTER_MESSAGES.to_le_bytes());
    assert_eq!(session.open(&mut spent), Err(Discard::CounterSpent));
    assert!(!session.is_alive(t0() + Duration::from_secs(200)));
}

#[test]
fn an_initiator_is_told_once_that_its_session_is_stale_to_receive() {
    let (keys, _) = answer(&psk());
    let at = |secs| t0() + Duration::from_secs(secs);
    for is_initiator in [true, false] {
        let mut session = Session::new(t0(), &keys, 2, 1, is_initiator);
        let told = [164, 165, 166, 170].map(|secs| session.becomes_stale_to_receive(at(secs)));
        assert_eq!(told, [false, is_initiator, false, false]);
    }
}

#[test]
fn handshakes_cross_if_each_side_began_one_at_about_the_same_time() {
    let (keys, _) = answer(&psk());
    let session =
        |secs, is_initiator| Session::new(t0() + Duration::from_secs(secs), &keys, 2, 1, is_initiator);
    for (later, is_initiator, crosses) in
        [(0, false, true), (2, false, true), (3, false, false), (0, true, false)]
    {
        let (one, other) = (session(10, true), session(10 + later, is_initiator));
        assert_eq!((one.crosses(&other), other.crosses(&one)), (crosses, crosses), "{later} {is_initiator}");
    }
}
