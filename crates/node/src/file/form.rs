//! The TOML form of a node's configuration, and how its values become types.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use tidewire_dataplane::Filter;
use tidewire_derp::{Region, RegionId, Regions};
use tidewire_keys::PresharedKey;
use toml::Spanned;
use zeroize::Zeroizing;

use super::{FileError, read_keys};
use crate::config::{Config, Map, Peer};

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key_file: Spanned<PathBuf>,
    #[serde(default)]
    addresses: Vec<Text>,
    #[serde(default)]
    listen: u16,
    mtu: Option<Spanned<usize>>,
    home: Option<Spanned<u16>>,
    filter: Text,
    #[serde(default)]
    region: Vec<Spanned<Region>>,
    #[serde(default)]
    peer: Vec<PeerForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerForm {
    key: Text,
    disco: Option<Text>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    addresses: Vec<Text>,
    #[serde(default)]
    allowed_ips: Vec<Text>,
    home: Option<Spanned<u16>>,
    #[serde(default)]
    endpoints: Vec<Text>,
    psk_file: Option<Spanned<PathBuf>>,
    keepalive: Option<u16>,
}

/// Turns the text of the file at `path` into a configuration.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, FileError> {
    let place = Place { path, text };
    let file: File = toml::from_str(text).map_err(|error| place.syntax(&error))?;
    let regions = place.regions(file.region)?;
    let mut owners = Owners::default();
    let addresses = place.prefixes(&mut owners, "addresses", None, &file.addresses)?;
    let mut peers: Vec<Peer> = Vec::new();
    for form in file.peer {
        let at = form.key.span();
        let peer = place.peer(&mut owners, &regions, form)?;
        if peers.iter().any(|other| other.key == peer.key) {
            let problem = format!("{} is listed twice: merge the two [[peer]] entries", peer.key);
            return Err(place.error(at, "peer.key", problem));
        }
        peers.push(peer);
    }
    let keys = place.keys(&file.key_file)?;
    if let Some(peer) = peers.iter().find(|peer| peer.key == keys.node.public()) {
        let problem = format!("peer `{}` has this node's own key: remove that [[peer]] entry", peer.name);
        return Err(place.error(file.key_file.span(), "key_file", problem));
    }
    let mut config = Config::new(keys, place.filter(&file.filter)?)
        .listen(file.listen)
        .stamp_file(place.relative(file.key_file.get_ref()).with_extension("stamp"));
    config.addresses = addresses;
    if let Some(mtu) = file.mtu {
        config = config.mtu(place.mtu(&mtu)?);
    }
    if let Some(home) = &file.home {
        config = config.home(place.home("home", &regions, home)?);
    }
    Ok(config.map(Map { regions, peers }))
}

/// A file of which only the relays matter: whatever else is in it is somebody else's.
#[derive(Deserialize)]
struct MapFile {
    #[serde(default)]
    region: Vec<Spanned<Region>>,
}

/// Turns the text of the file at `path` into the relays that it names.
pub(super) fn regions(path: &Path, text: &str) -> Result<Regions, FileError> {
    let place = Place { path, text };
    let file: MapFile = toml::from_str(text).map_err(|error| place.syntax(&error))?;
    let regions = place.regions(file.region)?;
    Regions::try_from(regions).map_err(|error| place.error(0..0, "region", error.to_string()))
}

/// Which file is being read: turns places in it into lines.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Whose each prefix is, so that no two have the same.
type Owners = BTreeMap<IpNet, String>;

impl Place<'_> {
    fn error(&self, span: Range<usize>, key: &str, problem: impl Into<String>) -> FileError {
        FileError {
            file: self.path.to_path_buf(),
            line: self.line(span.start),
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    fn syntax(&self, error: &toml::de::Error) -> FileError {
        let line = error.span().map_or(0, |span| self.line(span.start));
        FileError {
            file: self.path.to_path_buf(),
            line,
            key: String::new(),
            problem: error.message().trim().replace('\n', " "),
        }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn parsed<T: FromStr>(&self, key: &str, text: &Text, expected: &str) -> Result<T, FileError> {
        let value = text.get_ref();
        value.parse().map_err(|_| self.error(text.span(), key, format!("`{value}` is no {expected}")))
    }

    fn key<T: FromStr>(&self, key: &str, text: &Text) -> Result<T, FileError>
    where
        T::Err: std::fmt::Display,
    {
        text.get_ref().parse().map_err(|error: T::Err| self.error(text.span(), key, error.to_string()))
    }

    fn filter(&self, text: &Text) -> Result<Filter, FileError> {
        match text.get_ref().as_str() {
            "allow-all" => Ok(Filter::AllowAll),
            "deny-all" => Ok(Filter::DenyAll),
            other => {
                let problem = format!("`{other}` is no filter: write \"allow-all\" or \"deny-all\"");
                Err(self.error(text.span(), "filter", problem))
            }
        }
    }

    fn mtu(&self, mtu: &Spanned<usize>) -> Result<usize, FileError> {
        match *mtu.get_ref() {
            value @ 576..=65_503 => Ok(value),
            value => {
                let problem =
                    format!("{value} is no usable MTU: write a number from 576 to 65503, such as 1280");
                Err(self.error(mtu.span(), "mtu", problem))
            }
        }
    }

    fn regions(&self, forms: Vec<Spanned<Region>>) -> Result<Vec<Region>, FileError> {
        let mut regions = Regions::new();
        for form in forms {
            let span = form.span();
            regions
                .insert(form.into_inner())
                .map_err(|error| self.error(span, "region", error.to_string()))?;
        }
        Ok(regions.into())
    }

    fn home(&self, key: &str, regions: &[Region], home: &Spanned<u16>) -> Result<RegionId, FileError> {
        let id = RegionId(*home.get_ref());
        if regions.iter().any(|region| region.id == id) {
            return Ok(id);
        }
        let known: Vec<String> = regions.iter().map(|region| region.id.to_string()).collect();
        let advice = match known.as_slice() {
            [] => "there is no [[region]]: paste the one that `tidewire relay` prints".to_owned(),
            known => format!("write the id of a [[region]] ({})", known.join(", ")),
        };
        Err(self.error(home.span(), key, format!("region {id} is not in this file: {advice}")))
    }

    fn keys(&self, key_file: &Spanned<PathBuf>) -> Result<crate::Keys, FileError> {
        let path = self.relative(key_file.get_ref());
        read_keys(&path)
            .map_err(|error| self.error(key_file.span(), "key_file", format!("{}: {error}", path.display())))
    }

    fn prefixes(
        &self,
        owners: &mut Owners,
        key: &str,
        owner: Option<&str>,
        texts: &[Text],
    ) -> Result<Vec<IpNet>, FileError> {
        let name = owner.map_or_else(|| "this node".to_owned(), |owner| format!("peer {owner}"));
        let mut prefixes = Vec::new();
        for text in texts {
            let prefix = self.prefix(key, text)?;
            if owner.is_some() && prefix.trunc() != prefix {
                let problem = format!("`{prefix}` has bits behind its length: write `{}`", prefix.trunc());
                return Err(self.error(text.span(), key, problem));
            }
            if let Some(first) = owners.insert(prefix.trunc(), name.clone()) {
                let problem = format!("{prefix} belongs to {first} already: give it to one of the two");
                return Err(self.error(text.span(), key, problem));
            }
            prefixes.push(prefix);
        }
        Ok(prefixes)
    }

    /// An address alone counts as a prefix of its whole length.
    fn prefix(&self, key: &str, text: &Text) -> Result<IpNet, FileError> {
        if let Ok(address) = text.get_ref().parse::<IpAddr>() {
            return Ok(address.into());
        }
        self.parsed(key, text, "address or prefix: write it as `100.64.0.1/32` or `fd7a::1/128`")
    }

    fn peer(&self, owners: &mut Owners, regions: &[Region], form: PeerForm) -> Result<Peer, FileError> {
        let mut peer = Peer::wireguard(self.key("peer.key", &form.key)?);
        let name = if form.name.is_empty() { form.key.get_ref().clone() } else { form.name.clone() };
        peer.disco = form.disco.as_ref().map(|disco| self.key("peer.disco", disco)).transpose()?;
        peer.addresses = self.prefixes(owners, "peer.addresses", Some(&name), &form.addresses)?;
        peer.allowed_ips = self.prefixes(owners, "peer.allowed_ips", Some(&name), &form.allowed_ips)?;
        peer.home = form.home.as_ref().map(|home| self.home("peer.home", regions, home)).transpose()?;
        for text in &form.endpoints {
            peer.candidates.push(self.candidate(text)?);
        }
        peer.psk = form.psk_file.as_ref().map(|path| self.psk(path)).transpose()?;
        peer.keepalive = form.keepalive.filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
        peer.name = form.name;
        Ok(peer)
    }

    fn candidate(&self, text: &Text) -> Result<SocketAddr, FileError> {
        let expected = "address with port: write it as `198.51.100.4:41641` or `[2001:db8::4]:41641`";
        let address: SocketAddr = self.parsed("peer.endpoints", text, expected)?;
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            let problem =
                format!("nothing can be sent to `{address}`: write the peer's own address and port");
            return Err(self.error(text.span(), "peer.endpoints", problem));
        }
        Ok(address)
    }

    fn psk(&self, path: &Spanned<PathBuf>) -> Result<PresharedKey, FileError> {
        let file = self.relative(path.get_ref());
        let refuse = |problem: String| {
            self.error(path.span(), "peer.psk_file", format!("{}: {problem}", file.display()))
        };
        let text = Zeroizing::new(
            std::fs::read_to_string(&file).map_err(|e| refuse(format!("cannot be read: {e}")))?,
        );
        text.trim().parse().map_err(|error| refuse(format!("{error}; `wg genpsk` makes such a file")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::write_keys;

    const RELAY: &str =
        "[[region]]\nid = 900\ncode = \"lab\"\n[[region.node]]\nname = \"900a\"\nhost_name = \"127.0.0.1\"\n";

    fn nodekey(n: u8) -> String {
        format!("nodekey:{}", format!("{n:02x}").repeat(32))
    }

    fn peer(n: u8, rest: &str) -> String {
        format!("[[peer]]\nkey = \"{}\"\n{rest}\n", nodekey(n))
    }

    fn read(body: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        write_keys(&dir.path().join("node.key"), &crate::Keys::generate().unwrap()).unwrap();
        std::fs::write(dir.path().join("laptop.psk"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\n")
            .unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, format!("key_file = \"node.key\"\n{body}")).unwrap();
        Config::read(&path).map_err(|error| {
            let text = error.to_string();
            text.rsplit_once("node.toml").map(|(_, rest)| rest.to_owned()).unwrap_or(text)
        })
    }

    #[test]
    fn everything_that_may_be_said_is_understood() {
        let config = read(&format!(
            "addresses = [\"100.64.0.1/32\", \"fd7a:115c:a1e0::1\"]\nlisten = 41641\nmtu = 1400\nhome = 900\nfilter = \"deny-all\"\n{RELAY}{}",
            peer(2, "disco = \"discokey:0303030303030303030303030303030303030303030303030303030303030303\"\nname = \"laptop\"\n\
                addresses = [\"100.64.0.2/32\"]\nallowed_ips = [\"10.0.0.0/8\"]\nhome = 900\nendpoints = [\"198.51.100.4:41641\"]\n\
                psk_file = \"laptop.psk\"\nkeepalive = 25"),
        ))
        .unwrap();
        assert_eq!((config.listen, config.mtu, config.home), (41641, 1400, Some(RegionId(900))));
        assert_eq!(config.filter, Filter::DenyAll);
        assert_eq!(config.addresses.len(), 2);
        let peer = &config.map.peers[0];
        assert_eq!(
            (peer.name.as_str(), peer.home, peer.keepalive),
            ("laptop", Some(RegionId(900)), Some(Duration::from_secs(25)))
        );
        assert!(peer.psk.is_some() && peer.disco.is_some());
        assert_eq!(peer.candidates, ["198.51.100.4:41641".parse().unwrap()]);
        assert_eq!(config.stamp_file.unwrap().file_name().unwrap(), "node.stamp");
    }

    #[test]
    fn each_mistake_is_named_with_line_key_and_advice() {
        let allow = "filter = \"allow-all\"\n";
        let two = |a: &str, b: &str| format!("{allow}{}{}", peer(2, a), peer(3, b));
        for (body, expected) in [
            (String::new(), ":1: missing field `filter`"),
            (
                "filter = \"open\"".to_owned(),
                ":2: filter: `open` is no filter: write \"allow-all\" or \"deny-all\"",
            ),
            (format!("{allow}lisen = 1"), ":3: unknown field `lisen`, expected one of"),
            (
                format!("{allow}mtu = 70000"),
                ":3: mtu: 70000 is no usable MTU: write a number from 576 to 65503",
            ),
            (
                format!("{allow}addresses = [\"100.64.0\"]"),
                ":3: addresses: `100.64.0` is no address or prefix: write it as",
            ),
            (
                format!("{allow}home = 900"),
                ":3: home: region 900 is not in this file: there is no [[region]]",
            ),
            (
                format!("{allow}{RELAY}{}", peer(2, "home = 901")),
                ": peer.home: region 901 is not in this file: write the id of a [[region]] (900)",
            ),
            (format!("{allow}{RELAY}{RELAY}"), ": region: two regions have id 900"),
            (two("", "key = 1"), ":8: duplicate key"),
            (
                format!("{allow}{}{}", peer(2, ""), peer(2, "")),
                ": peer.key: nodekey:0202020202020202020202020202020202020202020202020202020202020202 is listed twice",
            ),
            (
                two("name = \"a\"\naddresses = [\"10.0.0.1\"]", "addresses = [\"10.0.0.1/32\"]"),
                ":9: peer.addresses: 10.0.0.1/32 belongs to peer a already",
            ),
            (
                two("addresses = [\"10.0.0.1/8\"]", ""),
                ":5: peer.addresses: `10.0.0.1/8` has bits behind its length: write `10.0.0.0/8`",
            ),
            (
                two("endpoints = [\"10.0.0.1\"]", ""),
                ":5: peer.endpoints: `10.0.0.1` is no address with port: write it as",
            ),
            (
                two("endpoints = [\"10.0.0.1:0\"]", ""),
                ":5: peer.endpoints: nothing can be sent to `10.0.0.1:0`",
            ),
            (two("disco = \"nodekey:00\"", ""), ":5: peer.disco: expected"),
            (two("psk_file = \"missing.psk\"", ""), ":5: peer.psk_file: "),
            (format!("{allow}[[peer]]\nkey = \"privkey:00\""), ":4: peer.key: expected"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.starts_with(expected) || error.contains(expected), "{error}\n  wanted {expected}");
        }
    }

    #[test]
    fn an_own_address_may_not_be_a_peers() {
        let body = format!(
            "addresses = [\"10.0.0.1/32\"]\nfilter = \"allow-all\"\n{}",
            peer(2, "addresses = [\"10.0.0.1\"]")
        );
        assert!(read(&body).unwrap_err().contains("belongs to this node already"));
    }

    #[test]
    fn a_missing_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(&path, "key_file = \"gone.key\"\nfilter = \"allow-all\"\n").unwrap();
        let error = Config::read(&path).unwrap_err();
        assert_eq!((error.line, error.key.as_str()), (1, "key_file"));
        assert!(error.problem.contains("gone.key"), "{error}");
    }
}
