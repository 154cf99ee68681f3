//! What a client and a relay tell each other in the two sealed messages of a login, and how they are written in JSON.
//!
//! The names are those of Tailscale's Go structs, mixed as they are there. Reading is as lax as there: unknown names are
//! ignored, names match without regard to case, `null` is an absent value.

use bytes::BufMut;
use serde_json::{Map, Value};
use tidewire_keys::{BoxError, NONCE_LEN, NodePublic, SharedBox};
use zeroize::Zeroizing;

use crate::frame::{Frame, FrameError, PROTOCOL_VERSION, Sealed};

/// What a client says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// Version of the protocol; 0 where it says none.
    pub version: u32,
    /// The shared key of a mesh of relays, which makes this client one of them.
    pub mesh_key: Option<MeshKey>,
    /// Whether it answers a `Ping`.
    pub can_ack_pings: bool,
    /// Whether it only measures.
    pub is_prober: bool,
    /// Name of the program, where it gives one.
    pub app_name: Option<String>,
}

/// What a relay says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerInfo {
    /// Version of the protocol; 0 where it says none. A client must not refuse one that it does not know.
    pub version: u32,
    /// How fast this client may send; `None`: as it likes.
    pub rate: Option<Rate>,
}

/// A token bucket. What counts is each `SendPacket` frame with its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Tokens that come in a second; at least 1.
    pub bytes_per_second: u64,
    /// Tokens that the bucket holds. Zero if the relay does not say.
    pub burst: u64,
}

/// The key that relays of one mesh share; wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MeshKey(Zeroizing<[u8; 32]>);

/// Why a login is refused. The other end is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginError {
    /// The box does not open: the sender has not the key that it names.
    #[error(transparent)]
    Sealed(#[from] BoxError),
    /// A client key of nothing but zeros.
    #[error("the client's key is all zeros")]
    ZeroKey,
    /// Not JSON, or no object in it.
    #[error("the login is no JSON object")]
    Json,
    /// A value of the wrong type.
    #[error("the login's `{0}` has a value of the wrong type")]
    Value(&'static str),
    /// A mesh key that is not 64 hex digits.
    #[error("the login's mesh key is not 64 hex digits")]
    MeshKey,
}

impl ClientInfo {
    /// What a client of this crate says: the protocol's version, and that it answers pings.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            version: PROTOCOL_VERSION,
            mesh_key: None,
            can_ack_pings: true,
            is_prober: false,
            app_name: None,
        }
    }

    /// Appends the whole `ClientInfo` frame to `out`: `key` logs in, and `shared` is the box between it and the relay.
    /// One nonce must never seal two messages.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if the program's name is that long.
    pub fn encode(
        &self,
        key: NodePublic,
        shared: &SharedBox,
        nonce: &[u8; NONCE_LEN],
        out: &mut impl BufMut,
    ) -> Result<(), FrameError> {
        let boxed = shared.seal(nonce, &self.to_json());
        Frame::ClientInfo { key, sealed: Sealed { nonce, boxed: &boxed } }.encode(out)
    }

    /// Opens what a client sealed. `key` is the one that its frame names, `shared` the box between it and the relay.
    ///
    /// # Errors
    /// [`LoginError`]: the client is to be turned away.
    pub fn open(key: &NodePublic, shared: &SharedBox, sealed: &Sealed<'_>) -> Result<Self, LoginError> {
        if key.is_zero() {
            return Err(LoginError::ZeroKey);
        }
        Self::from_json(&Zeroizing::new(shared.open(sealed.nonce, sealed.boxed)?))
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut json = Map::new();
        if let Some(key) = &self.mesh_key {
            json.insert("meshKey".to_owned(), Value::from(key.to_hex()));
        }
        json.insert("version".to_owned(), Value::from(self.version));
        json.insert("CanAckPings".to_owned(), Value::from(self.can_ack_pings));
        if self.is_prober {
            json.insert("IsProber".to_owned(), Value::from(true));
        }
        if let Some(name) = &self.app_name {
            json.insert("AppName".to_owned(), Value::from(name.as_str()));
        }
        Zeroizing::new(Value::Object(json).to_string().into_bytes())
    }

    fn from_json(json: &[u8]) -> Result<Self, LoginError> {
        let object = object(json)?;
        // Unlike for the others, `null` is no absent mesh key: Tailscale's relay refuses it, and so must we.
        let mesh_key = find(&object, "meshKey").map(MeshKey::from_json).transpose()?;
        Ok(Self {
            version: version(&object)?,
            mesh_key,
            can_ack_pings: boolean(&object, "CanAckPings")?,
            is_prober: boolean(&object, "IsProber")?,
            app_name: match present(&object, "AppName") {
                None => None,
                Some(Value::String(name)) => Some(name.clone()).filter(|name| !name.is_empty()),
                Some(_) => return Err(LoginError::Value("AppName")),
            },
        })
    }
}

impl Default for ClientInfo {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerInfo {
    /// What a relay of this crate says that sets no limit.
    #[must_use]
    pub const fn new() -> Self {
        Self { version: PROTOCOL_VERSION, rate: None }
    }

    /// Appends the whole `ServerInfo` frame to `out`. `shared` is the box between the relay and the client. One nonce must
    /// never seal two messages.
    pub fn encode(&self, shared: &SharedBox, nonce: &[u8; NONCE_LEN], out: &mut impl BufMut) {
        let boxed = shared.seal(nonce, &self.to_json());
        let frame = Frame::ServerInfo(Sealed { nonce, boxed: &boxed });
        frame.encode(out).expect("four numbers are shorter than any login may be");
    }

    /// Opens what the relay sealed, with the box between it and the client.
    ///
    /// # Errors
    /// [`LoginError`]: this is not the relay that sent the `ServerKey`, or it sends nonsense.
    pub fn open(shared: &SharedBox, sealed: &Sealed<'_>) -> Result<Self, LoginError> {
        Self::from_json(&shared.open(sealed.nonce, sealed.boxed)?)
    }

    fn to_json(self) -> Vec<u8> {
        let mut json = Map::new();
        json.insert("version".to_owned(), Value::from(self.version));
        if let Some(rate) = self.rate {
            json.insert("TokenBucketBytesPerSecond".to_owned(), Value::from(rate.bytes_per_second));
            json.insert("TokenBucketBytesBurst".to_owned(), Value::from(rate.burst));
        }
        Value::Object(json).to_string().into_bytes()
    }

    fn from_json(json: &[u8]) -> Result<Self, LoginError> {
        let object = object(json)?;
        let bytes_per_second = number(&object, "TokenBucketBytesPerSecond")?;
        let burst = number(&object, "TokenBucketBytesBurst")?;
        let rate = (bytes_per_second > 0).then_some(Rate { bytes_per_second, burst });
        Ok(Self { version: version(&object)?, rate })
    }
}

impl Default for ServerInfo {
    fn default() -> Self {
        Self::new()
    }
}

impl MeshKey {
    /// Takes the 32 bytes of a mesh key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself. Named so that each use shows in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_json(value: &Value) -> Result<Self, LoginError> {
        let digits = value.as_str().ok_or(LoginError::MeshKey)?;
        hex32(digits).map(Self::from_bytes).ok_or(LoginError::MeshKey)
    }
}

impl std::fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MeshKey(redacted)")
    }
}

/// 32 bytes out of exactly 64 hex digits of either case.
pub(crate) fn hex32(digits: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = digits.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}

fn object(json: &[u8]) -> Result<Map<String, Value>, LoginError> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(LoginError::Json),
    }
}

/// The value of `name` as it is written here, else of one that differs in case alone.
fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn present<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    find(object, name).filter(|value| !value.is_null())
}

fn boolean(object: &Map<String, Value>, name: &'static str) -> Result<bool, LoginError> {
    present(object, name).map_or(Ok(false), |value| value.as_bool().ok_or(LoginError::Value(name)))
}

/// A whole number; absent or negative it is zero.
fn number(object: &Map<String, Value>, name: &'static str) -> Result<u64, LoginError> {
    let Some(value) = present(object, name) else { return Ok(0) };
    match (value.as_u64(), value.as_i64()) {
        (Some(number), _) => Ok(number),
        (None, Some(_)) => Ok(0),
        (None, None) => Err(LoginError::Value(name)),
    }
}

fn version(object: &Map<String, Value>) -> Result<u32, LoginError> {
    number(object, "version").map(|version| u32::try_from(version).unwrap_or(u32::MAX))
}
