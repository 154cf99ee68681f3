//! How a node's secret keys are kept: two lines of text in a file that only its owner may read.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

use tidewire_keys::{DiscoSecret, Drbg, NodeSecret};
use zeroize::Zeroizing;

use crate::config::{Keys, fresh_seed};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file, or the system's randomness, cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line that is not `node = "privkey:…"` or `disco = "privkey:…"`. The line itself is not repeated: it may be a secret.
    #[error("line {line}: {problem}; `tidewire keygen` makes such a file")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// No node key in it.
    #[error("has no line `node = \"privkey:…\"`; `tidewire keygen` makes such a file")]
    NoNodeKey,
}

/// The text of a key file.
#[must_use]
pub(crate) fn to_text(keys: &Keys) -> Zeroizing<String> {
    let (node, disco) = (keys.node.to_text(), keys.disco.to_text());
    Zeroizing::new(format!("node = \"{}\"\ndisco = \"{}\"\n", node.as_str(), disco.as_str()))
}

/// Reads the keys out of the text of a key file. A text with the node key alone gets a new disco key, which its peers must then learn.
///
/// # Errors
/// [`KeyFileError`] says which line is wrong, and never repeats it.
pub(crate) fn parse(text: &str) -> Result<Keys, KeyFileError> {
    let mut node: Option<NodeSecret> = None;
    let mut disco: Option<DiscoSecret> = None;
    for (number, line) in text.lines().enumerate() {
        let line_error = |problem: String| KeyFileError::Line { line: number + 1, problem };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| line_error("no `=` in it".to_owned()))?;
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .ok_or_else(|| line_error("the key is not in double quotes".to_owned()))?;
        let taken = match name.trim() {
            "node" => node.replace(value.parse().map_err(|e| line_error(format!("{e}")))?).is_some(),
            "disco" => disco.replace(value.parse().map_err(|e| line_error(format!("{e}")))?).is_some(),
            _ => return Err(line_error("neither `node` nor `disco`".to_owned())),
        };
        if taken {
            return Err(line_error("the same key a second time".to_owned()));
        }
    }
    let node = node.ok_or(KeyFileError::NoNodeKey)?;
    let disco = match disco {
        Some(disco) => disco,
        None => DiscoSecret::generate(&mut Drbg::new(&fresh_seed()?, "disco key")),
    };
    Ok(Keys { node, disco })
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`] says which line is wrong, and never repeats it.
pub fn read_keys(path: &Path) -> Result<Keys, KeyFileError> {
    parse(&Zeroizing::new(std::fs::read_to_string(path)?))
}

/// Writes a key file with mode 0600. Never over a file that exists.
///
/// # Errors
/// The system's error; `AlreadyExists` if there is such a file.
pub fn write_keys(path: &Path, keys: &Keys) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(to_text(keys).as_bytes())?;
    file.sync_all()
}

impl Keys {
    /// The text of a key file: two lines, `node = "privkey:…"` and `disco = "privkey:…"`.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        to_text(self)
    }

    /// Reads the text of a key file. With the node line alone the disco key is new each time.
    ///
    /// # Errors
    /// [`KeyFileError`] says which line is wrong, and never repeats it.
    pub fn from_text(text: &str) -> Result<Self, KeyFileError> {
        parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_file_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let keys = Keys::generate().unwrap();
        write_keys(&path, &keys).unwrap();
        let read = read_keys(&path).unwrap();
        assert_eq!(read.node.public(), keys.node.public());
        assert_eq!(read.disco.public(), keys.disco.public());
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(write_keys(&path, &keys).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_without_a_disco_line_gets_a_new_disco_key_each_time() {
        let text = Keys::generate().unwrap().to_text();
        let node_line = text.lines().next().unwrap();
        let (a, b) = (parse(node_line).unwrap(), parse(node_line).unwrap());
        assert_eq!(a.node.public(), b.node.public());
        assert_ne!(a.disco.public(), b.disco.public());
    }

    #[test]
    fn errors_name_the_line_and_never_the_secret() {
        let secret = "privkey:0123456789abcdef";
        for text in [
            format!("node = \"{secret}\""),
            format!("# comment\n\nnode = {secret}"),
            format!("other = \"{secret}\""),
            secret.to_owned(),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(!error.contains("0123456789"), "{error}");
            assert!(error.contains("line "), "{error}");
        }
        assert!(matches!(parse("# nothing\n"), Err(KeyFileError::NoNodeKey)));
    }

    #[test]
    fn the_same_key_twice_is_refused() {
        let text = Keys::generate().unwrap().to_text();
        let twice = format!("{}{}", text.as_str(), text.as_str());
        assert!(matches!(parse(&twice), Err(KeyFileError::Line { line: 3, .. })));
    }
}
