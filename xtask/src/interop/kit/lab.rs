//! A small network of one's own: hosts in namespaces on one switch, gone without a trace when the lab is dropped.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::process::Process;

/// All namespaces of all labs begin so; then comes the process that made them.
const PREFIX: &str = "tw-";
/// The interface of each host.
const PORT: &str = "eth0";
/// All hosts of a lab share one network of this size.
const PREFIX_LENGTH: u8 = 24;
/// How much of a log is told when a scenario fails.
const TOLD_LINES: usize = 25;

/// A switch, and the folder that the programs of its hosts log to.
#[derive(Debug)]
pub(crate) struct Lab {
    folder: PathBuf,
    switch: Namespace,
}

impl Lab {
    /// Whether this machine lets us make namespaces and firewalls, by making one.
    pub(crate) fn possible() -> Result<()> {
        let probe = Namespace::create("probe").context("no network namespaces here")?;
        probe.ip(&["link", "add", "probe", "type", "bridge"]).context("no bridges here")?;
        probe
            .ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"])
            .context("no veth pairs here")?;
        probe.run("nft", &["add", "table", "inet", "probe"]).context("no nftables here")?;
        Ok(())
    }

    /// A lab with nobody in it. What earlier labs left behind because their process was killed is removed.
    pub(crate) fn new(scenario: &str) -> Result<Self> {
        remove_orphans()?;
        let switch = Namespace::create("switch")?;
        switch.ip(&["link", "add", "switch", "type", "bridge"])?;
        switch.ip(&["link", "set", "switch", "up"])?;
        let folder = std::env::temp_dir().join(format!("tidewire-interop-{scenario}-{}", process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, switch })
    }

    /// Puts a host on the switch. `name` is unique in the lab and at most 12 letters.
    pub(crate) fn host(&self, name: &str, address: Ipv4Addr) -> Result<Host> {
        let namespace = Namespace::create(name)?;
        self.switch.ip(&[
            "link",
            "add",
            "name",
            name,
            "type",
            "veth",
            "peer",
            "name",
            PORT,
            "netns",
            &namespace.0,
        ])?;
        self.switch.ip(&["link", "set", "dev", name, "master", "switch", "up"])?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.ip(&["address", "add", &format!("{address}/{PREFIX_LENGTH}"), "dev", PORT])?;
        namespace.ip(&["link", "set", PORT, "up"])?;
        Ok(Host { name: name.to_owned(), folder: self.folder.clone(), namespace })
    }

    /// Writes a file that programs of the lab read.
    pub(crate) fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The scenario went well: nobody will read its logs.
    pub(crate) fn forget_logs(&self) {
        // What stays is a temporary file, no reason to fail.
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// The scenario failed: prints the end of each log and where the whole stands.
    pub(crate) fn tell_logs(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        for log in &logs {
            let content = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = content.lines().collect();
            println!("--- {} ({} lines)", log.display(), lines.len());
            lines.iter().skip(lines.len().saturating_sub(TOLD_LINES)).for_each(|line| println!("{line}"));
        }
        println!("--- all files are kept in {}", self.folder.display());
    }
}

/// A machine of the lab.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    folder: PathBuf,
    namespace: Namespace,
}

impl Host {
    /// Runs a program to its end and gives what it printed.
    pub(crate) fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
        self.namespace.run(program, arguments)
    }

    /// Starts a program; what it prints goes to `NAME.out` and `NAME.log`.
    pub(crate) fn spawn(&self, name: &str, program: &Path, arguments: &[&str]) -> Result<Process> {
        let mut command = self.namespace.command(program);
        command.args(arguments);
        Process::spawn(&format!("{}-{name}", self.name), command, &self.folder)
    }

    /// Hands rules to the host's own firewall.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        let path = self.folder.join(format!("{}.nft", self.name));
        fs::write(&path, rules)?;
        self.run("nft", &["--file", &path.to_string_lossy()])?;
        Ok(())
    }

    /// The bytes of a named counter of the firewall, IP headers included.
    pub(crate) fn counted_bytes(&self, table: &str, counter: &str) -> Result<u64> {
        let json = self.run("nft", &["--json", "list", "counter", "inet", table, counter])?;
        bytes_in(&json).with_context(|| format!("counter {counter} of {}", self.name))
    }
}

fn bytes_in(json: &str) -> Result<u64> {
    let value: Value = serde_json::from_str(json)?;
    let objects = value["nftables"].as_array().context("no list")?;
    objects.iter().find_map(|object| object["counter"]["bytes"].as_u64()).context("no bytes")
}

/// A network namespace that ends with this value, and all processes in it.
#[derive(Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn create(name: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{name}", process::id());
        finish(Command::new("ip").args(["netns", "add", &name]))?;
        Ok(Self(name))
    }

    /// As `ip` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        // It replaces itself by the program, so signals reach the program.
        command.args(["netns", "exec", &self.0]).arg(program.as_ref());
        command
    }

    pub(crate) fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
        finish(self.command(program).args(arguments))
    }

    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<()> {
        finish(Command::new("ip").args(["-netns", &self.0]).args(arguments))?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("namespace {} stays: {error:#}", self.0);
        }
    }
}

/// Ends what runs in a namespace of ours, and removes it.
fn remove(namespace: &str) -> Result<()> {
    for pid in finish(Command::new("ip").args(["netns", "pids", namespace]))?.lines() {
        // It may have ended by itself meanwhile.
        let _ = finish(Command::new("kill").args(["-KILL", pid]));
    }
    finish(Command::new("ip").args(["netns", "delete", namespace]))?;
    Ok(())
}

/// Removes the namespaces of labs whose process is no more.
pub(crate) fn remove_orphans() -> Result<()> {
    let listed = finish(Command::new("ip").args(["netns", "list"]))?;
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        // A process that was killed and not yet waited for has no program any more.
        if maker(name).is_some_and(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_err()) {
            remove(name)?;
        }
    }
    Ok(())
}

/// The process that made a namespace, if a lab did.
fn maker(namespace: &str) -> Option<u32> {
    namespace.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Runs a command to its end; the error holds what it said.
fn finish(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_labs_have_a_maker() {
        assert_eq!(maker("tw-123-switch"), Some(123));
        for name in ["tw-x-switch", "other", "tw-", "xtw-1-a"] {
            assert_eq!(maker(name), None, "{name}");
        }
    }

    #[test]
    fn counters_are_read() {
        let json = r#"{"nftables": [{"metainfo": {"version": "1"}}, {"counter": {"name": "a", "packets": 2, "bytes": 84}}]}"#;
        assert_eq!(bytes_in(json).unwrap(), 84);
        assert!(bytes_in(r#"{"nftables": []}"#).is_err());
        assert!(bytes_in("").is_err());
    }
}
