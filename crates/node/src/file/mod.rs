//! How a node's configuration is read from files, and what is said when it cannot be.

mod form;
mod keys;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use tidewire_derp::{Regions, region::DerpMapError};

pub use keys::{KeyFileError, read_keys, write_keys};

use crate::Config;

/// A configuration that cannot be used. Says where, what, and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileError {
    /// Which file.
    pub file: PathBuf,
    /// Which line, counted from 1; 0 where it is about the file itself.
    pub line: usize,
    /// Which key of the file, such as `peer.addresses`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for FileError {}

impl Config {
    /// Reads a configuration, and the key file and preshared keys that it names (relative to it).
    ///
    /// # Errors
    /// [`FileError`] names the file, the line and the key, and says what to write.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        form::parse(path, &read(path)?)
    }
}

/// Reads the relays that a file names: one with `[[region]]` entries (TOML; a node's configuration will do), or Tailscale's
/// `DERPMap` (JSON).
///
/// # Errors
/// [`FileError`], also if there is no relay in it.
pub fn read_regions(path: &Path) -> Result<Regions, FileError> {
    let text = read(path)?;
    let error = |line, problem| FileError { file: path.to_path_buf(), line, key: String::new(), problem };
    let regions = if text.trim_start().starts_with('{') {
        Regions::from_derp_map(&text).map_err(|problem| match problem {
            DerpMapError::Json { line, what, .. } => error(line, what),
            problem => error(0, problem.to_string()),
        })?
    } else {
        form::regions(path, &text)?
    };
    if regions.is_empty() {
        let advice =
            "names no relay: paste the [[region]] that `tidewire relay` prints, or use a DERPMap (JSON)";
        return Err(error(0, advice.to_owned()));
    }
    Ok(regions)
}

fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|error| FileError {
        file: path.to_path_buf(),
        line: 0,
        key: String::new(),
        problem: format!("cannot be read: {error}"),
    })
}
