//! Programs from outside: how each is found, and how it is installed where it is missing.

use std::env;
use std::path::PathBuf;
use std::sync::Once;

use anyhow::{Context as _, Result, bail};
use xshell::{Shell, cmd};

/// Where a program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A package of Debian or a relative.
    Apt(&'static str),
    /// `cargo install --locked NAME --version VERSION`.
    Cargo(&'static str, &'static str),
    /// `go install PACKAGE@VERSION`.
    Go(&'static str, &'static str),
    /// Nothing here installs it; where people get it.
    ByHand(&'static str),
}

/// A program and its source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) source: Source,
}

pub(crate) const CARGO_DENY: Program =
    Program { name: "cargo-deny", source: Source::Cargo("cargo-deny", "0.20.2") };
pub(crate) const CARGO_FUZZ: Program =
    Program { name: "cargo-fuzz", source: Source::Cargo("cargo-fuzz", "0.13.2") };

/// Debian's is too old for the modules that the scenarios use.
pub(crate) const GO: Program = Program { name: "go", source: Source::ByHand("https://go.dev/dl") };
/// Tailscale's own relay.
pub(crate) const DERPER: Program =
    Program { name: "derper", source: Source::Go("tailscale.com/cmd/derper", "v1.98.9") };

/// A proxy that is asked to CONNECT, and a web server to stand before a relay.
pub(crate) const TINYPROXY: Program = Program { name: "tinyproxy", source: Source::Apt("tinyproxy") };
pub(crate) const NGINX: Program = Program { name: "nginx", source: Source::Apt("nginx") };

pub(crate) const IPERF: Program = Program { name: "iperf3", source: Source::Apt("iperf3") };
pub(crate) const PING: Program = Program { name: "ping", source: Source::Apt("iputils-ping") };
pub(crate) const WG: Program = Program { name: "wg", source: Source::Apt("wireguard-tools") };
pub(crate) const TSHARK: Program = Program { name: "tshark", source: Source::Apt("tshark") };
pub(crate) const ETHTOOL: Program = Program { name: "ethtool", source: Source::Apt("ethtool") };
/// Debian's, under another name, is of 2022 and without offload.
pub(crate) const WIREGUARD_GO: Program = Program {
    name: "wireguard",
    source: Source::Go("golang.zx2c4.com/wireguard", "v0.0.0-20260522210424-ecfc5a8d5446"),
};
pub(crate) const BORINGTUN: Program =
    Program { name: "boringtun-cli", source: Source::Cargo("boringtun-cli", "0.7.1") };
pub(crate) const GOTATUN: Program =
    Program { name: "gotatun", source: Source::Cargo("gotatun-cli", "0.10.2") };

impl Program {
    /// The program's path, installing it if that is possible here; the error is one line that says why not.
    pub(crate) fn ensure(&self, sh: &Shell) -> Result<PathBuf> {
        if let Some(path) = find(self.name) {
            return Ok(path);
        }
        println!("installing {}", self.name);
        self.install(sh).with_context(|| format!("{} is missing", self.name))?;
        find(self.name)
            .with_context(|| format!("{} was installed but is in no folder that is searched", self.name))
    }

    fn install(&self, sh: &Shell) -> Result<()> {
        let install = match self.source {
            Source::Apt(_) if !is_root(sh) => bail!("apt-get needs root"),
            Source::Apt(_) if find("apt-get").is_none() => bail!("there is no apt-get"),
            Source::Apt(package) => {
                // The lists may be missing or old; a failure shows in the install.
                static UPDATED: Once = Once::new();
                UPDATED.call_once(|| _ = apt(cmd!(sh, "apt-get update")).run());
                apt(cmd!(sh, "apt-get install --yes --no-install-recommends {package}"))
            }
            Source::Cargo(name, version) => cmd!(sh, "cargo install --locked {name} --version {version}"),
            Source::Go(package, version) => {
                let go = GO.ensure(sh)?;
                cmd!(sh, "{go} install {package}@{version}")
            }
            Source::ByHand(place) => bail!("install it from {place}"),
        };
        let shown = install.to_string();
        let output = install.quiet().ignore_status().output()?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}", errors.lines().last().unwrap_or("it says nothing"));
    }
}

/// Packages with a daemon start it once installed, in some run levels: not in this one.
fn apt(cmd: xshell::Cmd<'_>) -> xshell::Cmd<'_> {
    cmd.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").quiet().ignore_stdout()
}

/// Searches PATH and the folders that installers use without being in it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let home = |folder: &str| env::home_dir().map(|home| home.join(folder));
    env::split_paths(&path)
        .chain(env::var_os("GOPATH").map(|folder| PathBuf::from(folder).join("bin")))
        .chain([home(".cargo/bin"), home("go/bin")].into_iter().flatten())
        .chain(["/usr/local/go/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

pub(crate) fn is_root(sh: &Shell) -> bool {
    cmd!(sh, "id --user").quiet().read().is_ok_and(|id| id == "0")
}

/// The name of a nightly toolchain that is installed.
pub(crate) fn nightly(sh: &Shell) -> Option<String> {
    let list = cmd!(sh, "rustup toolchain list").quiet().ignore_stderr().read().ok()?;
    nightly_in(&list)
}

fn nightly_in(list: &str) -> Option<String> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|name| name.starts_with("nightly"))
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nightly_is_found_by_name() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-x86_64-unknown-linux-gnu\n";
        assert_eq!(nightly_in(list).as_deref(), Some("nightly-x86_64-unknown-linux-gnu"));
        assert_eq!(nightly_in("stable-x86_64-unknown-linux-gnu\n"), None);
    }

    #[test]
    fn a_program_that_is_nowhere_is_not_found() {
        assert_eq!(find("no-program-has-this-name"), None);
        assert!(find("cargo").is_some());
    }
}
