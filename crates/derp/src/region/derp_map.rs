//! How Tailscale's `DERPMap` is read and written: its JSON names, everything that is unknown ignored.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use tidewire_transport::RegionId;

use super::{
    BadCertName, DEFAULT_DERP_PORT, DEFAULT_STUN_PORT, Family, Region, RegionError, RegionNode, Regions,
    text::{derp_port_from, stun_port_from, stun_port_number},
};

/// Why a text is no `DERPMap`. The configuration is to blame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DerpMapError {
    /// Not JSON.
    #[error("line {line}, column {column}: {what}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the reader says.
        what: String,
    },
    /// A value is not what its name wants.
    #[error("{place}: {key} must be {wanted}")]
    Value {
        /// Which region or node.
        place: String,
        /// The name as Tailscale writes it.
        key: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A pin that is none.
    #[error("{place}: {source}")]
    CertName {
        /// Which node.
        place: String,
        /// What a pin is.
        source: BadCertName,
    },
    /// The regions do not fit together.
    #[error(transparent)]
    Region(#[from] RegionError),
}

impl Regions {
    /// Reads Tailscale's JSON `DERPMap`. Unknown names are ignored. `InsecureForTests` is one of them: this crate verifies
    /// each certificate, so pin that relay's by `CertName` instead.
    ///
    /// # Errors
    /// [`DerpMapError`] says where and what.
    pub fn from_derp_map(text: &str) -> Result<Self, DerpMapError> {
        let value: Value = serde_json::from_str(text).map_err(|error| DerpMapError::Json {
            line: error.line(),
            column: error.column(),
            what: error.to_string(),
        })?;
        Self::from_derp_map_value(&value)
    }

    pub(super) fn from_derp_map_value(value: &Value) -> Result<Self, DerpMapError> {
        let map = Object::of(value, || "the map".to_owned(), "DERPMap")?;
        let mut regions = Self::new();
        let Some(listed) = map.get("Regions") else { return Ok(regions) };
        let listed =
            listed.as_object().ok_or_else(|| map.wrong("Regions", "an object of regions by number"))?;
        for (number, value) in listed.iter().filter(|(_, value)| !value.is_null()) {
            regions.insert(region(number, value)?)?;
        }
        Ok(regions)
    }

    /// Writes Tailscale's JSON `DERPMap`, for programs that read that form. That a node speaks plain HTTP cannot be said there.
    #[must_use]
    pub fn to_derp_map(&self) -> String {
        let regions: Map<String, Value> =
            self.iter().map(|region| (region.id.to_string(), region_json(region))).collect();
        json!({ "Regions": regions }).to_string()
    }
}

fn region(number: &str, value: &Value) -> Result<Region, DerpMapError> {
    let object = Object::of(value, || format!("region {number}"), "RegionID")?;
    let id = match object.integer("RegionID")? {
        0 => number.parse().map_err(|_| object.wrong("RegionID", "a number from 1 to 65535"))?,
        id => u16::try_from(id).map_err(|_| object.wrong("RegionID", "a number from 1 to 65535"))?,
    };
    let nodes = match object.get("Nodes") {
        None => &[][..],
        Some(nodes) => nodes.as_array().ok_or_else(|| object.wrong("Nodes", "a list of nodes"))?,
    };
    Ok(Region {
        id: RegionId(id),
        code: object.string("RegionCode")?.to_owned(),
        name: object.string("RegionName")?.to_owned(),
        no_measure_no_home: object.boolean("NoMeasureNoHome")? || object.boolean("Avoid")?,
        nodes: nodes.iter().map(|value| node(id, value)).collect::<Result<_, _>>()?,
    })
}

fn node(region: u16, value: &Value) -> Result<RegionNode, DerpMapError> {
    let name = value.get("Name").and_then(Value::as_str).unwrap_or("?");
    let object = Object::of(value, || format!("node `{name}` of region {region}"), "Nodes")?;
    let derp_port = object.integer("DERPPort")?;
    let stun_port = object.integer("STUNPort")?;
    let cert_name = object.string("CertName")?.parse();
    Ok(RegionNode {
        name: object.string("Name")?.to_owned(),
        host_name: object.string("HostName")?.to_owned(),
        ipv4: family(object.string("IPv4")?),
        ipv6: family(object.string("IPv6")?),
        derp_port: derp_port_from(derp_port).ok_or_else(|| object.wrong("DERPPort", "a port"))?,
        stun_port: stun_port_from(stun_port)
            .ok_or_else(|| object.wrong("STUNPort", "a port, or -1 for none"))?,
        stun_test_ip: match object.string("STUNTestIP")? {
            "" => None,
            ip => Some(ip.parse().map_err(|_| object.wrong("STUNTestIP", "an IP address"))?),
        },
        cert_name: cert_name.map_err(|source| DerpMapError::CertName { place: object.place(), source })?,
        stun_only: object.boolean("STUNOnly")?,
        can_port_80: object.boolean("CanPort80")?,
        plain: false,
    })
}

/// Empty: DNS. An address: that. Anything else, `none` by custom, switches the family off.
fn family<A: std::str::FromStr>(text: &str) -> Family<A> {
    match text.parse() {
        Ok(address) => Family::Address(address),
        Err(_) if text.is_empty() => Family::Resolve,
        Err(_) => Family::Off,
    }
}

/// A JSON object and where in the map it stands.
struct Object<'a, P> {
    fields: &'a Map<String, Value>,
    place: P,
}

impl<'a, P: Fn() -> String> Object<'a, P> {
    fn of(value: &'a Value, place: P, key: &'static str) -> Result<Self, DerpMapError> {
        match value.as_object() {
            Some(fields) => Ok(Self { fields, place }),
            None => Err(DerpMapError::Value { place: place(), key, wanted: "an object" }),
        }
    }

    fn place(&self) -> String {
        (self.place)()
    }

    fn wrong(&self, key: &'static str, wanted: &'static str) -> DerpMapError {
        DerpMapError::Value { place: self.place(), key, wanted }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn string(&self, key: &'static str) -> Result<&'a str, DerpMapError> {
        self.get(key).map_or(Ok(""), |value| value.as_str().ok_or_else(|| self.wrong(key, "a string")))
    }

    fn boolean(&self, key: &'static str) -> Result<bool, DerpMapError> {
        self.get(key)
            .map_or(Ok(false), |value| value.as_bool().ok_or_else(|| self.wrong(key, "true or false")))
    }

    fn integer(&self, key: &'static str) -> Result<i64, DerpMapError> {
        self.get(key).map_or(Ok(0), |value| value.as_i64().ok_or_else(|| self.wrong(key, "a whole number")))
    }
}

fn region_json(region: &Region) -> Value {
    let nodes: Vec<Value> = region.nodes.iter().map(|node| node_json(region.id, node)).collect();
    let mut json = json!({ "RegionID": region.id.0, "RegionCode": region.code, "RegionName": region.name, "Nodes": nodes });
    if region.no_measure_no_home {
        json["NoMeasureNoHome"] = true.into();
    }
    json
}

fn node_json(region: RegionId, node: &RegionNode) -> Value {
    let mut json = json!({ "Name": node.name, "RegionID": region.0, "HostName": node.host_name });
    for (key, address) in [("IPv4", node.ipv4.to_text()), ("IPv6", node.ipv6.to_text())] {
        if let Some(address) = address {
            json[key] = address.into();
        }
    }
    if node.derp_port != DEFAULT_DERP_PORT {
        json["DERPPort"] = node.derp_port.into();
    }
    if node.stun_port != Some(DEFAULT_STUN_PORT) {
        json["STUNPort"] = stun_port_number(node.stun_port).into();
    }
    if let Some(ip) = node.stun_test_ip {
        json["STUNTestIP"] = IpAddr::to_string(&ip).into();
    }
    let cert_name = node.cert_name.to_string();
    if !cert_name.is_empty() {
        json["CertName"] = cert_name.into();
    }
    for (key, value) in [("STUNOnly", node.stun_only), ("CanPort80", node.can_port_80)] {
        if value {
            json[key] = true.into();
        }
    }
    json
}
