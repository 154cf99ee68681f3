//! Whether `tidewire netcheck` tells what the network lets through, for people and as JSON.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

use serde_json::Value;
use tidewire_derp::{Region, RegionId, Regions};
use tidewire_relay::{Config, Relay, Tls};

fn relay(tls: Tls) -> Relay {
    Relay::start(Config { tls, ..Config::new("127.0.0.1:0".parse().unwrap()) }).unwrap()
}

/// Runs `tidewire netcheck` on a map with this text.
fn netcheck(map: &str, more: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("map");
    std::fs::write(&file, map).unwrap();
    run(&[&["--map", file.to_str().unwrap()], more].concat())
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    for proxy in ["HTTPS_PROXY", "https_proxy", "RUST_LOG"] {
        command.env_remove(proxy);
    }
    command.arg("netcheck").args(arguments).output().unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn two_relays_are_found_and_one_of_them_is_home() {
    let (a, b) = (relay(Tls::SelfSigned), relay(Tls::Off));
    let map = a.region(RegionId(900)).to_toml() + &b.region(RegionId(901)).to_toml();
    let report: Value = serde_json::from_str(&stdout(&netcheck(&map, &["--json"]))).unwrap();
    assert_eq!((&report["udp_v4"], &report["udp_v6"]), (&Value::Bool(true), &Value::Null), "{report}");
    assert_eq!(report["mapping_varies"], false);
    assert_eq!(report["hairpin"], true);
    assert_eq!(report["captive_portal"], false);
    assert!(report["global_v4"].as_str().unwrap().starts_with("127.0.0.1:"), "{report}");
    for (region, number) in report["regions"].as_array().unwrap().iter().zip([900, 901]) {
        assert_eq!(region["region"], number);
        assert!(region["stun_v4_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{region}");
    }
    let home = report["home"].as_u64().unwrap();
    let next = if home == 900 { "the next is 901" } else { "the next is 900" };
    assert!(report["why"].as_str().unwrap().contains(next), "{report}");

    let text = stdout(&netcheck(&map, &[]));
    assert!(text.contains("UDP by IPv4     yes, seen as 127.0.0.1:"), "{text}");
    assert!(text.contains("Mapping varies  no"), "{text}");
    let star = text.lines().find(|line| line.starts_with('*')).unwrap();
    assert!(star.contains("relay-90") && star.contains(" ms"), "{text}");
}

#[test]
fn where_udp_is_blocked_https_tells_and_a_wrong_pin_is_named() {
    // Takes what is sent and never answers.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let relay = relay(Tls::SelfSigned);
    let region = |id| {
        let mut region: Region = relay.region(RegionId(id));
        region.nodes[0].stun_port = Some(deaf.local_addr().unwrap().port());
        region
    };
    let mut stranger = region(901);
    stranger.nodes[0].cert_name = tidewire_derp::region::CertName::Pin([7; 32]);
    // As Tailscale writes it.
    let map = Regions::try_from(vec![region(900), stranger]).unwrap().to_derp_map();
    let text = stdout(&netcheck(&map, &[]));
    assert!(text.contains("UDP by IPv4     no\n"), "{text}");
    assert!(
        text.contains("Home            900 (relay-900)") && text.contains("the only one that answered"),
        "{text}"
    );
    assert!(text.contains("the certificate is not the pinned one"), "{text}");
}

#[test]
fn the_regions_of_a_nodes_configuration_will_do() {
    // Hangs up on everybody: nobody answers, and that is told too.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let map = format!(
        "key_file = \"node.key\"\nfilter = \"allow-all\"\n[[region]]\nid = 7\n[[region.node]]\n\
         host_name = \"127.0.0.1\"\nderp_port = {port}\nstun_port = -1\nplain = true\n"
    );
    let report: Value = serde_json::from_str(&stdout(&netcheck(&map, &["--json"]))).unwrap();
    assert_eq!(
        (&report["udp_v4"], &report["udp_v6"]),
        (&Value::Null, &Value::Null),
        "there is no STUN to ask"
    );
    assert_eq!((&report["home"], &report["why"]), (&Value::Null, &Value::from("no relay answered")));
    let region = &report["regions"][0];
    assert_eq!(
        (&region["region"], &region["https_failure"]),
        (&7.into(), &"asking over HTTP: the stream ended".into())
    );
    let text = stdout(&netcheck(&map, &[]));
    assert!(text.contains("UDP by IPv4     not tried: no relay is known to answer STUN by IPv4\n"), "{text}");
}

#[test]
fn mistakes_say_what_to_write() {
    assert!(complaint(&run(&[])).contains("[[region]] entries that `tidewire relay` prints"));
    assert!(complaint(&run(&["--map", "/nowhere/at/all"])).contains("/nowhere/at/all: cannot be read"));
    assert!(complaint(&netcheck("", &[])).contains("names no relay"));
    assert!(complaint(&netcheck("[[region]]\nid = 900\n", &[])).contains("has no node"));
    let typo = complaint(&netcheck("[[region]]\nid = 9\n[[region.node]]\nhost_nam = \"x\"\n", &[]));
    assert!(typo.contains(":4: ") && typo.contains("host_nam"), "{typo}");
    assert!(complaint(&netcheck("{\"Regions\": 7}", &[])).contains("Regions"));
}
