//! Two nodes as a user starts them, A fetching by HTTP from B through the mesh, and the relay that they need for it.

use std::env;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::eventually;
use super::http::Fetched;
use super::lab::{Host, Lab};
use super::process::Process;
use crate::interop::Stage;

/// Where relays serve, and where A and B are.
pub(crate) const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 3443);
pub(crate) const RELAY_STUN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 3478);
pub(crate) const A: Member =
    Member { name: "a", underlay: Ipv4Addr::new(10, 77, 0, 2), overlay: Ipv4Addr::new(100, 64, 0, 1) };
pub(crate) const B: Member =
    Member { name: "b", underlay: Ipv4Addr::new(10, 77, 0, 3), overlay: Ipv4Addr::new(100, 64, 0, 2) };
/// The UDP port of both.
pub(crate) const UDP_PORT: u16 = 41641;
/// Where the client in the namespace of A connects to, and where the server in that of B listens.
const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
/// The port of B in the overlay.
const SERVED: u16 = 80;

/// How long a program may take until it does what it is there for, on a machine that has much else to do.
pub(crate) const START: Duration = Duration::from_secs(60);

pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) underlay: Ipv4Addr,
    pub(crate) overlay: Ipv4Addr,
}

/// A and B, and the server behind B.
pub(crate) struct Pair<'a> {
    this: PathBuf,
    a_host: &'a Host,
    a: Process,
    b: Process,
    server: Process,
}

impl<'a> Pair<'a> {
    /// Starts all. Each knows the region and the other's keys, and nothing of where the other is; `a_env` is for A alone.
    pub(crate) fn start(
        stage: &Stage<'_>,
        (a_host, b_host): (&'a Host, &'a Host),
        region: &str,
        a_env: &[&str],
    ) -> Result<Self> {
        let Stage { tidewire, .. } = stage;
        let this = env::current_exe()?;
        let [a_config, b_config] = configs(stage, (a_host, b_host), region)?;
        let server = b_host.spawn("http", &this, &["http-serve", "--listen", &LOCAL.to_string()])?;
        let serve = format!("{SERVED}={LOCAL}");
        let b = b_host.spawn("up", tidewire, &["up", "--config", text(&b_config)?, "--serve", &serve])?;
        let forward = format!("{LOCAL}={}:{SERVED}", B.overlay);
        let up = [text(tidewire)?, "up", "--config", text(&a_config)?, "--forward", &forward];
        let a = a_host.spawn("up", Path::new("env"), &[a_env, &up].concat())?;
        Ok(Self { this, a_host, a, b, server })
    }

    /// Waits until A has got something from B.
    pub(crate) fn wait(&mut self) -> Result<()> {
        eventually(START, "the first answer", || {
            self.check()?;
            Ok(self.fetch(1024))
        })?;
        Ok(())
    }

    /// That many bytes from B, their hash verified.
    pub(crate) fn fetch(&self, bytes: u64) -> Result<Fetched> {
        let (from, size) = (LOCAL.to_string(), bytes.to_string());
        let json = self
            .a_host
            .run(&self.this, &["http-fetch", "--from", &from, "--bytes", &size, "--seed", &size])?;
        Ok(serde_json::from_str(&json)?)
    }

    /// What A has logged so far.
    pub(crate) fn a_log(&self) -> Result<String> {
        self.a.logged()
    }

    /// Waits until A has logged a line with all of these words, and gives it.
    pub(crate) fn a_says(&mut self, words: &[&str]) -> Result<String> {
        says(&mut self.a, words)
    }

    /// The same of B.
    pub(crate) fn b_says(&mut self, words: &[&str]) -> Result<String> {
        says(&mut self.b, words)
    }

    /// An error if one of them has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        [&mut self.a, &mut self.b, &mut self.server].into_iter().try_for_each(Process::check)
    }

    /// Ends both nodes as a service manager does, and the server.
    pub(crate) fn stop(self) -> Result<()> {
        [self.a, self.b].into_iter().try_for_each(Process::terminate)
    }
}

fn says(node: &mut Process, words: &[&str]) -> Result<String> {
    eventually(START, &format!("a log line with {words:?}"), || {
        node.check()?;
        let log = node.logged()?;
        let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        Ok(line.map(str::to_owned).context("there is none"))
    })
}

/// The files of A and B. Each knows the region and the other's keys, and nothing of where the other is.
pub(crate) fn configs(stage: &Stage<'_>, (a, b): (&Host, &Host), region: &str) -> Result<[PathBuf; 2]> {
    let Stage { lab, tidewire } = stage;
    let a_keys = Keys::make(lab, a, tidewire, &A)?;
    let b_keys = Keys::make(lab, b, tidewire, &B)?;
    Ok([
        lab.file("a.toml", &config(&A, &a_keys, &B, &b_keys, region)?)?,
        lab.file("b.toml", &config(&B, &b_keys, &A, &a_keys, region)?)?,
    ])
}

/// The keys of a node as `tidewire keygen` and `tidewire pubkey` made them.
struct Keys {
    file: PathBuf,
    node: String,
    disco: String,
}

impl Keys {
    fn make(lab: &Lab, host: &Host, tidewire: &Path, node: &Member) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = lab.file(&format!("{}.key", node.name), &host.run(tidewire, &["keygen"])?)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        let public = host.run("sh", &["-c", "exec \"$0\" pubkey < \"$1\"", text(tidewire)?, text(&file)?])?;
        let line = |prefix: &str| public.lines().find(|line| line.starts_with(prefix)).map(str::to_owned);
        Ok(Self {
            node: line("nodekey:").context("`tidewire pubkey` printed no nodekey")?,
            disco: line("discokey:").context("`tidewire pubkey` printed no discokey")?,
            file,
        })
    }
}

/// The file of one node.
fn config(own: &Member, keys: &Keys, peer: &Member, peer_keys: &Keys, region: &str) -> Result<String> {
    let home = value(region, "id").context("the region has no id")?;
    Ok(format!(
        "key_file = \"{}\"\naddresses = [\"{}/32\"]\nlisten = {UDP_PORT}\nmtu = 1280\nhome = {home}\nfilter = \"allow-all\"\n\n\
         {region}\n\
         [[peer]]\nkey = \"{}\"\ndisco = \"{}\"\nname = \"{}\"\naddresses = [\"{}/32\"]\nhome = {home}\n",
        text(&keys.file)?,
        own.overlay,
        peer_keys.node,
        peer_keys.disco,
        peer.name,
        peer.overlay,
    ))
}

/// Starts our relay and waits for the region that it prints. Its state is in the lab's folder `relay`.
pub(crate) fn start_relay(stage: &Stage<'_>, host: &Host, further: &[&str]) -> Result<(Process, String)> {
    let state = state_folder(stage.lab);
    let (listen, stun) = (RELAY.to_string(), RELAY_STUN.to_string());
    let arguments = ["relay", "--listen", &listen, "--stun", &stun, "--state", text(&state)?];
    let mut relay = host.spawn("relay", stage.tidewire, &[&arguments, further].concat())?;
    let region = eventually(START, "the region that the relay prints", || {
        relay.check()?;
        let printed = relay.printed()?;
        let block = printed.find("[[region]]").map(|from| printed[from..].to_owned());
        let whole = |block: &String| {
            (block.contains("cert_name") || block.contains("plain")) && block.ends_with('\n')
        };
        Ok(block.filter(whole).with_context(|| format!("it printed `{}`", printed.trim())))
    })?;
    Ok((relay, region))
}

/// Where our relay keeps key and certificate.
pub(crate) fn state_folder(lab: &Lab) -> PathBuf {
    lab.folder().join("relay")
}

/// Cuts UDP between the nodes, so that all they say goes through a relay. STUN with the relay stays.
pub(crate) fn cut_udp(hosts: &[&Host]) -> Result<()> {
    let relay = RELAY.ip();
    let rules = format!(
        "table inet cut {{
            chain cut {{
                type filter hook input priority 0;
                ip saddr {relay} accept
                iifname \"eth0\" meta l4proto udp drop
            }}
        }}\n"
    );
    hosts.iter().try_for_each(|host| host.nft(&rules))
}

/// The value of a key in TOML where each key stands once, quotes and all.
pub(crate) fn value<'a>(toml: &'a str, key: &str) -> Option<&'a str> {
    let lines = toml.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(found, _)| *found == key)
        .map(|(_, value)| value)
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_the_whole_key() {
        let toml = "[[region]]\nid = 900\n\n[[region.node]]\nsub_id = 1\nhost_name=\"x\"\n";
        assert_eq!(value(toml, "id"), Some("900"));
        assert_eq!(value(toml, "host_name"), Some("\"x\""));
        assert_eq!(value(toml, "host"), None);
    }
}
