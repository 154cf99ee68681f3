//! How regions look in serde's formats: our own names, and every unknown one refused.

use std::{
    fmt::{Display, Formatter, Result as FmtResult},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
    ser::SerializeStruct,
};
use tidewire_transport::RegionId;

use super::{
    CertName, DEFAULT_DERP_PORT, DEFAULT_STUN_PORT, Family, Region, RegionNode, Regions,
    text::{derp_port_from, stun_port_from, stun_port_number},
};

impl<'de> Deserialize<'de> for Regions {
    /// A list of regions, as `[[region]]` writes it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Region>::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

impl Serialize for Regions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = RegionForm::deserialize(deserializer)?;
        Ok(Self {
            id: RegionId(form.id),
            code: form.code,
            name: form.name,
            no_measure_no_home: form.no_measure_no_home,
            nodes: form.node.into_iter().map(RegionNode::from).collect(),
        })
    }
}

impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("Region", 5)?;
        form.serialize_field("id", &self.id.0)?;
        form.serialize_field("code", &self.code)?;
        if !self.name.is_empty() {
            form.serialize_field("name", &self.name)?;
        }
        if self.no_measure_no_home {
            form.serialize_field("no_measure_no_home", &true)?;
        }
        form.serialize_field("node", &self.nodes)?;
        form.end()
    }
}

impl Serialize for RegionNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NodeForm::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RegionNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NodeForm::deserialize(deserializer).map(Self::from)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionForm {
    #[serde(deserialize_with = "region_id")]
    id: u16,
    #[serde(default)]
    code: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    no_measure_no_home: bool,
    #[serde(default)]
    node: Vec<NodeForm>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct NodeForm {
    #[serde(default)]
    name: String,
    host_name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    ipv4: Family<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "is_default")]
    ipv6: Family<Ipv6Addr>,
    #[serde(default, skip_serializing_if = "is_default")]
    derp_port: DerpPort,
    #[serde(default, skip_serializing_if = "is_default")]
    stun_port: StunPort,
    #[serde(default, skip_serializing_if = "is_default")]
    stun_test_ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "is_default")]
    cert_name: CertName,
    #[serde(default, skip_serializing_if = "is_default")]
    stun_only: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    can_port_80: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    plain: bool,
}

#[derive(PartialEq, Clone, Copy)]
struct DerpPort(u16);

#[derive(PartialEq, Clone, Copy)]
struct StunPort(Option<u16>);

impl From<NodeForm> for RegionNode {
    fn from(form: NodeForm) -> Self {
        Self {
            name: form.name,
            host_name: form.host_name,
            ipv4: form.ipv4,
            ipv6: form.ipv6,
            derp_port: form.derp_port.0,
            stun_port: form.stun_port.0,
            stun_test_ip: form.stun_test_ip,
            cert_name: form.cert_name,
            stun_only: form.stun_only,
            can_port_80: form.can_port_80,
            plain: form.plain,
        }
    }
}

impl From<RegionNode> for NodeForm {
    fn from(node: RegionNode) -> Self {
        Self {
            name: node.name,
            host_name: node.host_name,
            ipv4: node.ipv4,
            ipv6: node.ipv6,
            derp_port: DerpPort(node.derp_port),
            stun_port: StunPort(node.stun_port),
            stun_test_ip: node.stun_test_ip,
            cert_name: node.cert_name,
            stun_only: node.stun_only,
            can_port_80: node.can_port_80,
            plain: node.plain,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn region_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let number = i64::deserialize(deserializer)?;
    match u16::try_from(number) {
        Ok(id) if id != 0 => Ok(id),
        _ => Err(D::Error::custom(format_args!("a region's id is a number from 1 to 65535, not {number}"))),
    }
}

impl Default for DerpPort {
    fn default() -> Self {
        Self(DEFAULT_DERP_PORT)
    }
}

impl Default for StunPort {
    fn default() -> Self {
        Self(Some(DEFAULT_STUN_PORT))
    }
}

impl<'de> Deserialize<'de> for DerpPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let port = derp_port_from(number).map(Self);
        port.ok_or_else(|| {
            D::Error::custom(format_args!("derp_port is a port from 1 to 65535, not {number}"))
        })
    }
}

impl Serialize for DerpPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StunPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        stun_port_from(number).map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "stun_port is a port from 1 to 65535, or -1 for none, not {number}"
            ))
        })
    }
}

impl Serialize for StunPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        stun_port_number(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CertName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a name, or `sha256-raw:` and 64 hex digits", str::parse))
    }
}

impl Serialize for CertName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, A: FromStr> Deserialize<'de> for Family<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("an address of this family, or \"none\"", |text| {
            match text.parse() {
                Ok(address) => Ok(Self::Address(address)),
                Err(_) if text == "none" => Ok(Self::Off),
                Err(_) => Err("write an address of this family, or \"none\", or leave it out to use DNS"),
            }
        }))
    }
}

impl<A: Display> Serialize for Family<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text().unwrap_or_default())
    }
}

/// Reads a value from a string; the first field says in words what is expected.
struct Text<T, E>(&'static str, fn(&str) -> Result<T, E>);

impl<T, E: Display> Visitor<'_> for Text<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut Formatter<'_>) -> FmtResult {
        f.write_str(self.0)
    }

    fn visit_str<Er: Error>(self, text: &str) -> Result<T, Er> {
        (self.1)(text).map_err(Er::custom)
    }
}
