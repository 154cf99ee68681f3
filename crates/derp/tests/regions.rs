//! Regions: both written forms, what each refuses, and what a node's fields mean.

use std::net::{IpAddr, Ipv4Addr};

use tidewire_derp::{
    Region, RegionId, RegionNode, Regions,
    region::{CertName, DerpMapError, Family},
};

#[derive(serde::Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct File {
    region: Regions,
}

const LAB: &str = r#"
[[region]]
id   = 900
code = "lab"
[[region.node]]
name      = "900a"
host_name = "relay.example.net"
ipv4      = "203.0.113.7"
ipv6      = "none"
derp_port = 8443
stun_port = -1
cert_name = "sha256-raw:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
stun_only = false
"#;

fn parse(toml: &str) -> Result<Regions, String> {
    toml::from_str::<File>(toml).map(|file| file.region).map_err(|error| error.to_string())
}

fn every_field() -> Regions {
    let pin: [u8; 32] = std::array::from_fn(|i| i as u8);
    let first = RegionNode {
        ipv4: Family::Address(Ipv4Addr::new(203, 0, 113, 7)),
        ipv6: Family::Off,
        derp_port: 8443,
        stun_port: None,
        stun_test_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        cert_name: CertName::Pin(pin),
        stun_only: true,
        can_port_80: true,
        ..RegionNode::new("900a", "relay.example.net")
    };
    let second = RegionNode {
        ipv6: Family::Address("2001:db8::1".parse().unwrap()),
        stun_port: Some(13_478),
        cert_name: CertName::Name("front.example".to_owned()),
        ..RegionNode::new("900b", "10.0.0.1")
    };
    let region = Region {
        name: "A \"lab\" \\ in Köln\n".to_owned(),
        no_measure_no_home: true,
        ..Region::new(RegionId(900), "lab", vec![first, second])
    };
    let plain = RegionNode { plain: true, ..RegionNode::new("1a", "127.0.0.1") };
    Regions::try_from(vec![region, Region::new(RegionId(1), "one", vec![plain])]).unwrap()
}

#[test]
fn the_form_of_the_documentation_is_read() {
    let regions = parse(LAB).unwrap();
    let region = regions.get(RegionId(900)).unwrap();
    let node = &region.nodes[0];
    assert_eq!((region.code.as_str(), node.host_name.as_str()), ("lab", "relay.example.net"));
    assert_eq!(node.ipv4, Family::Address(Ipv4Addr::new(203, 0, 113, 7)));
    assert_eq!((node.ipv6, node.derp_port, node.stun_port), (Family::Off, 8443, None));
    assert!(matches!(node.cert_name, CertName::Pin(pin) if pin[..2] == [0x00, 0x11]));
}

#[test]
fn defaults_are_those_of_the_field() {
    let regions =
        parse("[[region]]\nid = 1\n[[region.node]]\nhost_name = \"a\"\nstun_port = 0\nderp_port = 0")
            .unwrap();
    assert_eq!(regions.get(RegionId(1)).unwrap().nodes[0], RegionNode::new("", "a"));
}

#[test]
fn what_is_written_can_be_read() {
    let regions = every_field();
    let toml: String = regions.iter().map(Region::to_toml).collect();
    assert_eq!(parse(&toml).unwrap(), regions, "{toml}");
    let json = serde_json::to_string(&regions).unwrap();
    assert_eq!(serde_json::from_str::<Regions>(&json).unwrap(), regions, "{json}");
}

#[test]
fn our_form_refuses_what_it_does_not_know_and_says_where() {
    for (from, to, line, says) in [
        ("stun_only = false", "stun_onyl = false", 13, "unknown field `stun_onyl`"),
        ("id   = 900", "id = 0", 3, "from 1 to 65535"),
        ("id   = 900", "id = 70000", 3, "from 1 to 65535"),
        ("\"203.0.113.7\"", "\"2001:db8::1\"", 8, "an address of this family"),
        ("\"203.0.113.7\"", "\"\"", 8, "or \"none\""),
        ("derp_port = 8443", "derp_port = 84430", 10, "derp_port is a port"),
        ("stun_port = -1", "stun_port = 70000", 11, "-1 for none"),
        ("sha256-raw:0011", "sha256-raw:00", 12, "64 lower-case hex digits"),
        ("sha256-raw:001122334455667788", "sha256-raw:00112233445566778G", 12, "64 lower-case hex digits"),
        ("8899aabbcc", "8899AABBCC", 12, "64 lower-case hex digits"),
        ("host_name = \"relay.example.net\"", "", 5, "missing field `host_name`"),
    ] {
        let error = parse(&LAB.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(says) && error.contains(&format!("line {line}")), "{to}: {error}");
    }
}

#[test]
fn regions_that_do_not_fit_together_are_refused() {
    assert!(parse(&format!("{LAB}{LAB}")).unwrap_err().contains("two regions have id 900"));
    assert!(parse("[[region]]\nid = 5\ncode = \"x\"").unwrap_err().contains("has no node"));
    for host in ["", "a b", "a\\r\\nX: y", "ä.example"] {
        let error = parse(&LAB.replace("relay.example.net", host)).unwrap_err();
        assert!(error.contains("has no proper host_name"), "{host}: {error}");
    }
}

const DERP_MAP: &str = r#"{
  "HomeParams": {"RegionScore": {"1": 0.5}}, "OmitDefaultRegions": true,
  "Regions": {
    "1": {"RegionID": 1, "RegionCode": "nyc", "RegionName": "New York", "Latitude": 40.7, "Avoid": false, "Nodes": [
      {"Name": "1f", "RegionID": 1, "HostName": "derp1f.example.com", "IPv4": "199.38.181.104", "IPv6": "2607:f740:f::bc", "CanPort80": true},
      {"Name": "1g", "RegionID": 1, "HostName": "derp1g.example.com", "IPv4": "none", "STUNPort": -1, "DERPPort": 444,
       "CertName": "sha256-raw:ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100", "InsecureForTests": true}]},
    "2": null,
    "3": {"RegionCode": "x", "NoMeasureNoHome": true, "Nodes": [{"Name": "3a", "HostName": "::1", "STUNOnly": true, "IPv6": "1.2.3.4"}]}
  }
}"#;

#[test]
fn tailscales_form_is_read_and_what_is_unknown_ignored() {
    let regions = Regions::from_derp_map(DERP_MAP).unwrap();
    assert_eq!(regions.ids().collect::<Vec<_>>(), [RegionId(1), RegionId(3)]);
    let [f, g] = &regions.get(RegionId(1)).unwrap().nodes[..] else { panic!() };
    assert_eq!(f.ipv4, Family::Address(Ipv4Addr::new(199, 38, 181, 104)));
    assert!(f.can_port_80 && f.derp_port == 443 && f.stun_port == Some(3478) && !f.plain);
    assert_eq!((g.ipv4, g.ipv6, g.derp_port, g.stun_port), (Family::Off, Family::Resolve, 444, None));
    assert!(matches!(g.cert_name, CertName::Pin(pin) if pin[..2] == [0xff, 0xee]));
    let third = regions.get(RegionId(3)).unwrap();
    assert!(third.no_measure_no_home && third.nodes[0].stun_only);
    assert_eq!(third.nodes[0].ipv6, Family::Off, "an address of the wrong family disables it, as there");
}

#[test]
fn tailscales_form_goes_there_and_back() {
    let mut regions: Vec<Region> = every_field().into();
    for node in regions.iter_mut().flat_map(|region| &mut region.nodes) {
        node.plain = false;
    }
    let regions = Regions::try_from(regions).unwrap();
    assert_eq!(Regions::from_derp_map(&regions.to_derp_map()).unwrap(), regions);
}

#[test]
fn tailscales_form_says_what_is_wrong_and_where() {
    let error = |json: &str| Regions::from_derp_map(json).unwrap_err().to_string();
    assert!(matches!(Regions::from_derp_map("{\n"), Err(DerpMapError::Json { line: 2, .. })));
    assert!(error(r#"{"Regions":[]}"#).contains("Regions must be an object"));
    assert!(
        error(r#"{"Regions":{"1":{"Nodes":[{"Name":"1a","HostName":5}]}}}"#)
            .starts_with("node `1a` of region 1: HostName")
    );
    assert!(error(r#"{"Regions":{"x":{}}}"#).contains("from 1 to 65535"));
    assert!(
        error(r#"{"Regions":{"1":{"Nodes":[{"Name":"1a","HostName":"h","CertName":"sha256-raw:12"}]}}}"#)
            .contains("64 lower-case")
    );
    assert!(
        error(
            r#"{"Regions":{"1":{"RegionID":7,"Nodes":[{"HostName":"h"}]},"7":{"Nodes":[{"HostName":"h"}]}}}"#
        )
        .contains("two regions have id 7")
    );
}

#[test]
fn an_ip_host_name_suppresses_the_other_family() {
    let node = RegionNode::new("a", "192.0.2.1");
    assert_eq!(node.find_ipv4(), Family::Address(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(node.find_ipv6(), Family::Off);
    let node = RegionNode::new("a", "[2001:db8::2]");
    assert_eq!(node.find_ipv4(), Family::Off);
    assert_eq!(node.find_ipv6(), Family::Address("2001:db8::2".parse().unwrap()));
    let node =
        RegionNode { ipv4: Family::Address(Ipv4Addr::LOCALHOST), ..RegionNode::new("a", "name.example") };
    assert_eq!((node.find_ipv4(), node.find_ipv6()), (Family::Address(Ipv4Addr::LOCALHOST), Family::Resolve));
}
