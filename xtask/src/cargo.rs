//! What cargo knows of a workspace of ours: its packages, what they declare and where they stand.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

/// The part of `cargo metadata --no-deps` that the checks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) keywords: Vec<String>,
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    pub(crate) readme: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) rust_version: Option<String>,
    /// `None` = any registry, an empty list = not published.
    pub(crate) publish: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

impl Package {
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Dependency {
    /// The package's name, also where it was renamed.
    pub(crate) name: String,
    /// `None` = normal, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) optional: bool,
    /// Where it stands, for our own packages.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    pub(crate) required_features: Vec<String>,
}

/// Where the workspace stands: where cargo runs us from, since checkouts that share a target directory may share this program.
pub(crate) fn root() -> PathBuf {
    let folder = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    folder.parent().expect("xtask stands in a folder of the workspace").to_path_buf()
}

/// Variables by which `cargo run` tells a program about itself.
pub(crate) fn own_variables() -> impl Iterator<Item = OsString> {
    let is_own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    env::vars_os().map(|(name, _)| name).filter(move |name| name.to_str().is_some_and(is_own))
}

/// A command without them: build scripts that watch them, as that of ring does, would run anew for each caller.
pub(crate) fn clean(cmd: Cmd<'_>) -> Cmd<'_> {
    own_variables().fold(cmd, Cmd::env_remove)
}

/// Reads the workspace of `manifest` (relative to the root).
pub(crate) fn metadata(sh: &Shell, manifest: &str) -> Result<Metadata> {
    let json = clean(cmd!(sh, "cargo metadata --format-version 1 --no-deps --manifest-path {manifest}"))
        .quiet()
        .ignore_stderr()
        .read()
        .with_context(|| format!("cargo metadata of {manifest}"))?;
    serde_json::from_str(&json).with_context(|| format!("the metadata of {manifest}"))
}

/// The workspaces of the project that exist, the main one first, as paths of their manifests.
pub(crate) fn workspaces(sh: &Shell) -> Vec<&'static str> {
    ["Cargo.toml", "fuzz/Cargo.toml", "bench/Cargo.toml"]
        .into_iter()
        .filter(|path| sh.path_exists(path))
        .collect()
}
