//! The login: the fixed vector, the exact names, and what is read laxly or refused.

use tidewire_derp::{
    ClientInfo, Frame, LoginError, ServerInfo,
    frame::{Kind, Sealed},
    login::{MeshKey, Rate},
};
use tidewire_keys::{BoxError, NodeSecret, RelaySecret, SharedBox};

fn node() -> NodeSecret {
    NodeSecret::from_bytes([0x11; 32])
}

fn relay() -> RelaySecret {
    RelaySecret::from_bytes([0x22; 32])
}

fn shared() -> SharedBox {
    node().shared(&relay().public())
}

fn nonce() -> [u8; 24] {
    std::array::from_fn(|i| i as u8 + 1)
}

/// What the relay makes of a client's JSON.
fn client(json: &str) -> Result<ClientInfo, LoginError> {
    let boxed = shared().seal(&nonce(), json.as_bytes());
    ClientInfo::open(&node().public(), &shared(), &Sealed { nonce: &nonce(), boxed: &boxed })
}

/// What the client makes of a relay's JSON.
fn server(json: &str) -> Result<ServerInfo, LoginError> {
    let boxed = shared().seal(&nonce(), json.as_bytes());
    ServerInfo::open(&shared(), &Sealed { nonce: &nonce(), boxed: &boxed })
}

/// The JSON in a login as it went out.
fn json_of(info: &ClientInfo) -> String {
    let mut out = Vec::new();
    info.encode(node().public(), &shared(), &nonce(), &mut out).unwrap();
    let Ok(Frame::ClientInfo { key, sealed }) = Frame::parse(Kind::ClientInfo, &out[5..]) else { panic!() };
    assert_eq!(key, node().public());
    let relays = relay().shared(&key);
    assert_eq!(ClientInfo::open(&key, &relays, &sealed).as_ref(), Ok(info));
    String::from_utf8(relays.open(sealed.nonce, sealed.boxed).unwrap()).unwrap()
}

/// The vector's JSON has `version` first, which tells nothing to a reader: names in an object have no order.
#[test]
fn the_box_is_the_one_of_the_fixed_vector() {
    let vector = "687b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13\
        0102030405060708090a0b0c0d0e0f101112131415161718\
        2e0d7f3843087b4e82cb329eaedb99ecf0451eaf045a9e3556169be5ef00ff156ec803a79b07d4a91ae64b197db2c532";
    let bytes: Vec<u8> =
        (2..vector.len()).step_by(2).map(|i| u8::from_str_radix(&vector[i..i + 2], 16).unwrap()).collect();
    assert_eq!(bytes.len(), 0x68);
    let Ok(Frame::ClientInfo { key, sealed }) = Frame::parse(Kind::ClientInfo, &bytes) else { panic!() };
    assert_eq!(key, node().public());
    assert_eq!(ClientInfo::open(&key, &relay().shared(&key), &sealed), Ok(ClientInfo::new()));
    assert_eq!(shared().seal(sealed.nonce, br#"{"version":2,"CanAckPings":true}"#), sealed.boxed);
}

#[test]
fn trap_the_client_writes_the_mixed_names_of_the_field() {
    let minimal: serde_json::Value = serde_json::from_str(&json_of(&ClientInfo::new())).unwrap();
    assert_eq!(minimal, serde_json::json!({ "version": 2, "CanAckPings": true }));
    let full = ClientInfo {
        mesh_key: Some(MeshKey::from_bytes([0xab; 32])),
        is_prober: true,
        app_name: Some("tidewire".to_owned()),
        can_ack_pings: false,
        ..ClientInfo::new()
    };
    let full: serde_json::Value = serde_json::from_str(&json_of(&full)).unwrap();
    let expected = serde_json::json!({
        "meshKey": "ab".repeat(32), "version": 2, "CanAckPings": false, "IsProber": true, "AppName": "tidewire"
    });
    assert_eq!(full, expected);
}

#[test]
fn trap_the_relays_limit_is_read_by_its_own_names() {
    let info =
        server(r#"{"version":2,"TokenBucketBytesPerSecond":1000,"TokenBucketBytesBurst":70000}"#).unwrap();
    assert_eq!(info.rate, Some(Rate { bytes_per_second: 1000, burst: 70_000 }));
    let camel = server(r#"{"version":2,"tokenBucketBytesPerSecond":1000}"#).unwrap();
    assert_eq!(camel.rate, Some(Rate { bytes_per_second: 1000, burst: 0 }));
    assert_eq!(server(r#"{"version":2,"token_bucket_bytes_per_second":1000}"#).unwrap().rate, None);
    assert_eq!(server(r#"{"TokenBucketBytesPerSecond":0,"TokenBucketBytesBurst":5}"#).unwrap().rate, None);
    assert_eq!(server(r#"{"TokenBucketBytesPerSecond":-4}"#).unwrap().rate, None);
}

#[test]
fn trap_a_relay_of_another_version_is_not_refused() {
    for version in [0, 1, 3, 99] {
        assert_eq!(server(&format!(r#"{{"version":{version}}}"#)).unwrap().version, version);
    }
}

#[test]
fn what_tailscales_relay_accepts_is_accepted() {
    for json in ["{}", "null", r#"{"version":null,"Unknown":[1,{}]}"#] {
        let info = client(json).unwrap();
        assert_eq!((info.version, info.can_ack_pings, info.mesh_key), (0, false, None), "{json}");
    }
    let info = client(r#"{"VERSION":2,"canackpings":true,"isPROBER":true}"#).unwrap();
    assert!(info.version == 2 && info.can_ack_pings && info.is_prober);
}

#[test]
fn trap_a_mesh_key_that_is_none_is_refused() {
    for value in [
        r#""""#,
        "null",
        r#""none""#,
        "7",
        &format!(r#""{}""#, "a".repeat(63)),
        &format!(r#""{}""#, "g".repeat(64)),
    ] {
        assert_eq!(client(&format!(r#"{{"meshKey":{value}}}"#)), Err(LoginError::MeshKey), "{value}");
    }
    let key = client(&format!(r#"{{"meshkey":"{}"}}"#, "Ab".repeat(32))).unwrap().mesh_key.unwrap();
    assert_eq!(key.expose(), &[0xab; 32]);
    assert_eq!(format!("{key:?}"), "MeshKey(redacted)");
}

#[test]
fn what_is_no_login_is_refused_with_the_reason() {
    assert_eq!(client("[]"), Err(LoginError::Json));
    assert_eq!(client("{"), Err(LoginError::Json));
    assert_eq!(client(&"[".repeat(100_000)), Err(LoginError::Json));
    assert_eq!(client(r#"{"version":"2"}"#), Err(LoginError::Value("version")));
    assert_eq!(client(r#"{"CanAckPings":1}"#), Err(LoginError::Value("CanAckPings")));
    let sealed = Sealed { nonce: &[0; 24], boxed: &[0; 16] };
    assert_eq!(
        ClientInfo::open(&node().public(), &shared(), &sealed),
        Err(LoginError::Sealed(BoxError::Forged))
    );
    let zero = tidewire_keys::NodePublic::from_bytes([0; 32]);
    assert_eq!(ClientInfo::open(&zero, &relay().shared(&zero), &sealed), Err(LoginError::ZeroKey));
}

#[test]
fn a_server_info_goes_there_and_back() {
    for info in
        [ServerInfo::new(), ServerInfo { version: 2, rate: Some(Rate { bytes_per_second: 9, burst: 8 }) }]
    {
        let mut out = Vec::new();
        info.encode(&relay().shared(&node().public()), &nonce(), &mut out);
        let Ok(Frame::ServerInfo(sealed)) = Frame::parse(Kind::ServerInfo, &out[5..]) else { panic!() };
        assert_eq!(ServerInfo::open(&shared(), &sealed), Ok(info));
    }
}
