//! What a check found, as plain data.

use std::{
    net::{SocketAddrV4, SocketAddrV6},
    time::Duration,
};

use tidewire_derp::{Region, RegionId};

/// What a check found. In serde's forms (feature `serde`) latencies are milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Report {
    /// Whether STUN was answered by IPv4. `None`: nobody was asked, because no relay is known to answer STUN by IPv4.
    pub udp_v4: Option<bool>,
    /// Whether STUN was answered by IPv6. `None`: nobody was asked, because no relay is known to answer STUN by IPv6.
    pub udp_v6: Option<bool>,
    /// The IPv4 address and port that the farthest relay saw us send from.
    pub global_v4: Option<SocketAddrV4>,
    /// The IPv6 address and port that the farthest relay saw us send from.
    pub global_v6: Option<SocketAddrV6>,
    /// Whether our address or port differs with who is sent to, so that what one relay saw does not help a peer to reach us
    /// (RFC 4787, section 4.1). `None`: fewer than two relays told an IPv4 address.
    pub mapping_varies: Option<bool>,
    /// Whether what we send to our own global IPv4 address comes back to us (RFC 4787, section 6). `None`: not tried.
    pub hairpin: Option<bool>,
    /// Whether something else answers plain HTTP in the place of a relay. `None`: not asked, or no answer.
    pub captive_portal: Option<bool>,
    /// The regions that were asked, in the order of their numbers.
    pub regions: Vec<RegionReport>,
}

/// What a check found of one region.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RegionReport {
    /// Which.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::region"))]
    pub region: RegionId,
    /// Its short name.
    pub code: String,
    /// Round trip of STUN by IPv4, the best there was.
    #[cfg_attr(feature = "serde", serde(rename = "stun_v4_ms", serialize_with = "form::ms"))]
    pub stun_v4: Option<Duration>,
    /// Round trip of STUN by IPv6, the best there was.
    #[cfg_attr(feature = "serde", serde(rename = "stun_v6_ms", serialize_with = "form::ms"))]
    pub stun_v6: Option<Duration>,
    /// Round trip of HTTPS, asked where STUN is of no use.
    #[cfg_attr(feature = "serde", serde(rename = "https_ms", serialize_with = "form::ms"))]
    pub https: Option<Duration>,
    /// Why HTTPS failed, for a person.
    pub https_failure: Option<String>,
}

impl Report {
    /// What was found of a region, if it was asked.
    #[must_use]
    pub fn region(&self, region: RegionId) -> Option<&RegionReport> {
        let at = self.regions.binary_search_by_key(&region, |report| report.region).ok()?;
        self.regions.get(at)
    }

    /// The latency of a region, if it answered.
    #[must_use]
    pub fn latency(&self, region: RegionId) -> Option<Duration> {
        self.region(region)?.latency()
    }

    /// The regions that answered, each with its latency, in the order of their numbers.
    pub fn latencies(&self) -> impl Iterator<Item = (RegionId, Duration)> + '_ {
        self.regions.iter().filter_map(|report| Some((report.region, report.latency()?)))
    }

    /// Whether STUN was answered at all.
    #[must_use]
    pub const fn has_udp(&self) -> bool {
        matches!(self.udp_v4, Some(true)) || matches!(self.udp_v6, Some(true))
    }
}

impl RegionReport {
    pub(crate) fn new(region: &Region) -> Self {
        Self {
            region: region.id,
            code: region.code.clone(),
            stun_v4: None,
            stun_v6: None,
            https: None,
            https_failure: None,
        }
    }

    /// The region's latency: the better one of STUN, else that of HTTPS; `None` if it did not answer.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.stun_v4.into_iter().chain(self.stun_v6).min().or(self.https)
    }
}

#[cfg(feature = "serde")]
mod form {
    //! How numbers and times are written.

    use std::time::Duration;

    use serde::Serializer;
    use tidewire_derp::RegionId;

    pub(super) fn region<S: Serializer>(region: &RegionId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(region.0)
    }

    /// Milliseconds with three digits behind the point.
    pub(super) fn ms<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&(time.as_micros() as f64 / 1000.0)),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidewire_derp::RegionNode;

    use super::*;

    fn report(stun_v4: Option<u64>, stun_v6: Option<u64>, https: Option<u64>) -> RegionReport {
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        let region = Region::new(RegionId(7), "fra", vec![RegionNode::new("7a", "h")]);
        let (stun_v4, stun_v6, https) = (ms(stun_v4), ms(stun_v6), ms(https));
        RegionReport { stun_v4, stun_v6, https, ..RegionReport::new(&region) }
    }

    #[test]
    fn the_latency_is_the_better_one_of_stun_and_https_only_without_it() {
        for (found, expected) in [
            (report(Some(20), Some(10), Some(1)), Some(10)),
            (report(Some(20), None, Some(1)), Some(20)),
            (report(None, None, Some(30)), Some(30)),
            (report(None, None, None), None),
        ] {
            assert_eq!(found.latency(), expected.map(Duration::from_millis), "{found:?}");
        }
        let all = Report { regions: vec![report(Some(20), None, None)], ..Report::default() };
        assert_eq!(all.latency(RegionId(7)), Some(Duration::from_millis(20)));
        assert_eq!(all.latency(RegionId(8)), None);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn as_json_it_is_plain_names_and_milliseconds() {
        let report = Report {
            udp_v4: Some(true),
            global_v4: Some("203.0.113.7:41641".parse().unwrap()),
            regions: vec![RegionReport {
                stun_v4: Some(Duration::from_micros(12_345)),
                ..report(None, None, None)
            }],
            ..Report::default()
        };
        let json = serde_json::to_value(&report).unwrap();
        let region = serde_json::json!({
            "region": 7, "code": "fra", "stun_v4_ms": 12.345, "stun_v6_ms": null, "https_ms": null, "https_failure": null,
        });
        let expected = serde_json::json!({
            "udp_v4": true, "udp_v6": null, "global_v4": "203.0.113.7:41641", "global_v6": null,
            "mapping_varies": null, "hairpin": null, "captive_portal": null, "regions": [region],
        });
        assert_eq!(json, expected);
    }
}
