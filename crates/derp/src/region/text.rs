//! How the fields of a region are written as text, and a whole region as TOML.

use std::{
    fmt::{self, Display, Write as _},
    str::FromStr,
};

use super::{CertName, DEFAULT_DERP_PORT, DEFAULT_STUN_PORT, Family, Region, RegionNode};
use crate::login::hex32;

const PIN: &str = "sha256-raw:";

/// A `cert_name` that starts as a pin and is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a pin is `sha256-raw:` and the 64 lower-case hex digits of the certificate's SHA-256")]
pub struct BadCertName;

impl FromStr for CertName {
    type Err = BadCertName;

    /// Empty: the host name. `sha256-raw:<64 hex>`: a pin. Anything else: a name.
    fn from_str(text: &str) -> Result<Self, BadCertName> {
        match text.strip_prefix(PIN) {
            Some(digits) if digits.bytes().any(|digit| digit.is_ascii_uppercase()) => Err(BadCertName),
            Some(digits) => hex32(digits).map(Self::Pin).ok_or(BadCertName),
            None if text.is_empty() => Ok(Self::HostName),
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostName => Ok(()),
            Self::Name(name) => f.write_str(name),
            Self::Pin(hash) => {
                f.write_str(PIN)?;
                hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl<A: Display> Family<A> {
    /// The address, `none`, or nothing where DNS decides.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Resolve => None,
            Self::Address(address) => Some(address.to_string()),
            Self::Off => Some("none".to_owned()),
        }
    }
}

/// How `stun_port` is written: a negative number is off.
pub(super) const fn stun_port_number(port: Option<u16>) -> i32 {
    match port {
        Some(port) => port as i32,
        None => -1,
    }
}

/// What the number in `stun_port` means; `None` where it is no port.
pub(super) fn stun_port_from(number: i64) -> Option<Option<u16>> {
    match number {
        ..0 => Some(None),
        0 => Some(Some(DEFAULT_STUN_PORT)),
        port => u16::try_from(port).ok().map(Some),
    }
}

/// What the number in a port field means; `None` where it is no port.
pub(super) fn derp_port_from(number: i64) -> Option<u16> {
    u16::try_from(number).ok().map(|port| if port == 0 { DEFAULT_DERP_PORT } else { port })
}

impl Region {
    /// The region as a `[[region]]` of our configuration files, ready to paste. Fields with their default are left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut toml = format!("[[region]]\nid = {}\ncode = {}\n", self.id, quoted(&self.code));
        if !self.name.is_empty() {
            line(&mut toml, "name", quoted(&self.name));
        }
        if self.no_measure_no_home {
            line(&mut toml, "no_measure_no_home", true);
        }
        for node in &self.nodes {
            node.write_toml(&mut toml);
        }
        toml
    }
}

impl RegionNode {
    fn write_toml(&self, toml: &mut String) {
        toml.push_str("[[region.node]]\n");
        line(toml, "name", quoted(&self.name));
        line(toml, "host_name", quoted(&self.host_name));
        for (key, address) in [("ipv4", self.ipv4.to_text()), ("ipv6", self.ipv6.to_text())] {
            if let Some(address) = address {
                line(toml, key, quoted(&address));
            }
        }
        if self.derp_port != DEFAULT_DERP_PORT {
            line(toml, "derp_port", self.derp_port);
        }
        if self.stun_port != Some(DEFAULT_STUN_PORT) {
            line(toml, "stun_port", stun_port_number(self.stun_port));
        }
        if let Some(ip) = self.stun_test_ip {
            line(toml, "stun_test_ip", quoted(&ip.to_string()));
        }
        if self.cert_name != CertName::HostName {
            line(toml, "cert_name", quoted(&self.cert_name.to_string()));
        }
        for (key, value) in
            [("stun_only", self.stun_only), ("can_port_80", self.can_port_80), ("plain", self.plain)]
        {
            if value {
                line(toml, key, true);
            }
        }
    }
}

fn line(toml: &mut String, key: &str, value: impl Display) {
    writeln!(toml, "{key} = {value}").expect("a string takes all that is written");
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_a_pin_is_32_bytes_and_what_is_nearly_one_is_no_name() {
        let digits = "00ff".repeat(16);
        let mut hash = [0; 32];
        hash.iter_mut().skip(1).step_by(2).for_each(|byte| *byte = 0xff);
        let text = format!("sha256-raw:{digits}");
        assert_eq!(text.parse(), Ok(CertName::Pin(hash)));
        assert_eq!(CertName::Pin(hash).to_string(), text);
        for wrong in [&digits[..62], &digits.repeat(2), &digits.to_uppercase(), &digits.replace('f', "g"), ""]
        {
            assert_eq!(format!("sha256-raw:{wrong}").parse::<CertName>(), Err(BadCertName), "{wrong}");
        }
    }
}
