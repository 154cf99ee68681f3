//! How the Noise handshake runs: snow keeps its order, every primitive is ours.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use blake2::{Blake2s256, Digest};
use snow::{
    Builder, Error, HandshakeState,
    error::Prerequisite,
    params::{CipherChoice, DHChoice, HashChoice, NoiseParams},
    resolvers::CryptoResolver,
    types::{Cipher, Dh, Hash, Random},
};
use subtle::ConstantTimeEq;
use tidewire_keys::{NodePublic, PresharedKey, Tai64N};
use zeroize::Zeroizing;

use crate::{
    aead::Aead,
    dh,
    discard::Discard,
    known::{Identity, Known},
    message::TAG_LEN,
};

const NAME: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
// Where in the pattern IKpsk2 the pre-shared key is mixed in.
const PSK_PLACE: usize = 2;

/// A secret of 32 bytes that is wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// The two keys of a session.
pub(crate) struct Keys {
    pub(crate) send: Secret,
    pub(crate) receive: Secret,
}

/// A handshake that we began and that awaits its response.
pub(crate) struct Initiator(HandshakeState);

impl Initiator {
    /// Writes the first Noise message into `message`.
    ///
    /// # Errors
    /// [`Discard::WeakKey`] if `remote` shares no secret with `ephemeral`.
    pub(crate) fn begin(
        identity: &Arc<Identity>,
        remote: &NodePublic,
        shared: &Secret,
        psk: &PresharedKey,
        ephemeral: Secret,
        stamp: Tai64N,
        message: &mut [u8; 108],
    ) -> Result<Self, Discard> {
        let table =
            Table::Initiator { identity: Arc::clone(identity), remote: *remote, shared: shared.clone() };
        let builder = builder(table, ephemeral, identity.secret())
            .and_then(|builder| builder.remote_public_key(remote.as_bytes()))
            .and_then(Builder::build_initiator);
        let mut state = builder.expect("all that the pattern needs was given");
        state.set_psk(PSK_PLACE, psk.expose()).expect("32 bytes at a place that exists");
        let written = state.write_message(&stamp.to_bytes(), message).map_err(|_| Discard::WeakKey)?;
        debug_assert_eq!(written, message.len());
        Ok(Self(state))
    }

    /// Replaces the pre-shared key that the response must have been made with.
    pub(crate) fn set_psk(&mut self, psk: &PresharedKey) {
        self.0.set_psk(PSK_PLACE, psk.expose()).expect("32 bytes at a place that exists");
    }

    /// Reads the second Noise message.
    ///
    /// # Errors
    /// [`Discard::BadResponse`] or [`Discard::WeakKey`]; the handshake then still awaits the right one.
    pub(crate) fn finish(&mut self, message: &[u8; 48]) -> Result<Keys, Discard> {
        self.0.read_message(message, &mut []).map_err(|error| blame(&error, Discard::BadResponse))?;
        let (ours, theirs) = split(&mut self.0);
        Ok(Keys { send: ours, receive: theirs })
    }
}

/// A handshake that someone else began, whose first message proved who.
pub(crate) struct Responder(HandshakeState);

/// What the first message of a handshake said.
pub(crate) struct Greeting {
    pub(crate) from: NodePublic,
    pub(crate) stamp: Tai64N,
}

impl Responder {
    /// Reads the first Noise message.
    ///
    /// # Errors
    /// [`Discard::UnknownInitiator`], [`Discard::BadInitiation`] or [`Discard::WeakKey`].
    pub(crate) fn read(
        known: &Arc<Known>,
        ephemeral: Secret,
        message: &[u8; 108],
    ) -> Result<(Self, Greeting), Discard> {
        let table = Table::Responder { known: Arc::clone(known), met: AtomicBool::new(false) };
        let builder = builder(table, ephemeral, known.identity().secret()).and_then(Builder::build_responder);
        let mut state = builder.expect("all that the pattern needs was given");
        let mut stamp = [0; Tai64N::LEN];
        state.read_message(message, &mut stamp).map_err(|error| blame(&error, Discard::BadInitiation))?;
        let from = state.get_remote_static().and_then(<[u8]>::first_chunk).ok_or(Discard::BadInitiation)?;
        let greeting = Greeting { from: NodePublic::from_bytes(*from), stamp: Tai64N::from_bytes(stamp) };
        Ok((Self(state), greeting))
    }

    /// Writes the second Noise message into `message`.
    ///
    /// # Errors
    /// [`Discard::WeakKey`] if the initiator's ephemeral or static key shares no secret with ours.
    pub(crate) fn reply(mut self, psk: &PresharedKey, message: &mut [u8; 48]) -> Result<Keys, Discard> {
        self.0.set_psk(PSK_PLACE, psk.expose()).expect("32 bytes at a place that exists");
        let written = self.0.write_message(&[], message).map_err(|_| Discard::WeakKey)?;
        debug_assert_eq!(written, message.len());
        let (theirs, ours) = split(&mut self.0);
        Ok(Keys { send: ours, receive: theirs })
    }
}

fn builder(table: Table, ephemeral: Secret, secret: &[u8; 32]) -> Result<Builder<'_>, Error> {
    static PARAMS: OnceLock<NoiseParams> = OnceLock::new();
    let params = PARAMS.get_or_init(|| NAME.parse().expect("a pattern that snow knows"));
    let resolver = Resolver { table: Arc::new(table), ephemeral };
    Builder::with_resolver(params.clone(), Box::new(resolver)).local_private_key(secret)?.prologue(PROLOGUE)
}

/// The keys from initiator to responder and back.
fn split(state: &mut HandshakeState) -> (Secret, Secret) {
    debug_assert!(state.is_handshake_finished());
    let (forth, back) = state.dangerously_get_raw_split();
    (Zeroizing::new(forth), Zeroizing::new(back))
}

fn blame(error: &Error, otherwise: Discard) -> Discard {
    match error {
        Error::Prereq(Prerequisite::RemotePublicKey) => Discard::UnknownInitiator,
        Error::Dh => Discard::WeakKey,
        _ => otherwise,
    }
}

/// What the static key's Diffie-Hellman may look up instead of computing.
enum Table {
    /// The responder's static key, and the secret it shares with ours.
    Initiator { identity: Arc<Identity>, remote: NodePublic, shared: Secret },
    /// All peers. The initiator's ephemeral comes first, and once that was `met` its static key.
    Responder { known: Arc<Known>, met: AtomicBool },
}

impl Table {
    fn identity(&self) -> &Identity {
        match self {
            Self::Initiator { identity, .. } => identity,
            Self::Responder { known, .. } => known.identity(),
        }
    }

    fn agree(&self, public: &[u8; 32]) -> Result<Secret, Error> {
        match self {
            Self::Initiator { remote, shared, .. } if remote.as_bytes() == public => Ok(shared.clone()),
            Self::Responder { known, met } if met.swap(true, Ordering::Relaxed) => {
                known.shared(&NodePublic::from_bytes(*public)).cloned().map_err(|reason| match reason {
                    Discard::UnknownInitiator => Error::Prereq(Prerequisite::RemotePublicKey),
                    _ => Error::Dh,
                })
            }
            _ => dh::agree(self.identity().secret(), public).ok_or(Error::Dh),
        }
    }
}

struct Resolver {
    table: Arc<Table>,
    ephemeral: Secret,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneKey(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(X25519::Unset(Arc::clone(&self.table))) as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::Blake2s).then(|| Box::new(Blake2s(Blake2s256::new())) as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::new(ChaChaPoly(Zeroizing::new([0; 32]))) as _)
    }
}

/// The one random secret that a handshake needs, drawn beforehand: its ephemeral key.
struct OneKey(Option<Secret>);

impl Random for OneKey {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let key = self.0.take().filter(|key| key.len() == dest.len()).ok_or(Error::Rng)?;
        dest.copy_from_slice(&key[..]);
        Ok(())
    }
}

/// A key pair of a handshake. snow makes two alike and then says which one is the static.
enum X25519 {
    Unset(Arc<Table>),
    Static(Arc<Table>),
    Ephemeral { secret: Secret, public: [u8; 32] },
}

impl X25519 {
    fn ephemeral(secret: Secret) -> Self {
        let public = dh::public(&secret);
        Self::Ephemeral { secret, public }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        let secret = Zeroizing::new(*privkey.first_chunk().expect("an X25519 secret has 32 bytes"));
        match self {
            Self::Unset(table) if bool::from(table.identity().secret().ct_eq(&*secret)) => {
                *self = Self::Static(Arc::clone(table));
            }
            _ => *self = Self::ephemeral(secret),
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut secret[..])?;
        *self = Self::ephemeral(secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        match self {
            Self::Unset(_) => &[],
            Self::Static(table) => table.identity().public().as_bytes(),
            Self::Ephemeral { public, .. } => public,
        }
    }

    fn privkey(&self) -> &[u8] {
        match self {
            Self::Unset(_) => &[],
            Self::Static(table) => table.identity().secret(),
            Self::Ephemeral { secret, .. } => &secret[..],
        }
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // snow pads the key to the longest of all curves.
        let public = pubkey.first_chunk().ok_or(Error::Input)?;
        let shared = match self {
            Self::Unset(_) => return Err(Error::Input),
            Self::Static(table) => table.agree(public)?,
            Self::Ephemeral { secret, .. } => dh::agree(secret, public).ok_or(Error::Dh)?,
        };
        out.get_mut(..32).ok_or(Error::Input)?.copy_from_slice(&shared[..]);
        Ok(())
    }
}

struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Blake2s256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&std::mem::take(&mut self.0).finalize());
    }
}

/// Most keys that snow sets are replaced unused, so what seals and opens is made at its use.
struct ChaChaPoly(Secret);

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.0 = *key;
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        rest[..TAG_LEN].copy_from_slice(&Aead::new(&self.0).seal(nonce, authtext, text));
        plaintext.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        // No field of a WireGuard handshake is longer than a public key and its tag.
        let mut field = Zeroizing::new([0; 32 + TAG_LEN]);
        let field = field.get_mut(..ciphertext.len()).ok_or(Error::Input)?;
        field.copy_from_slice(ciphertext);
        let len = Aead::new(&self.0).open(nonce, authtext, field).ok_or(Error::Decrypt)?;
        out.get_mut(..len).ok_or(Error::Input)?.copy_from_slice(&field[..len]);
        Ok(len)
    }
}
