//! Where the list of keys that may log in comes from: one key a line, read again when the file changes.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tidewire_keys::{KeyError, NodePublic};

use crate::Admission;

/// Who may log in, as a configuration says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Allow {
    /// Whoever holds a key, whichever.
    #[default]
    Everyone,
    /// These keys alone.
    Keys(BTreeSet<NodePublic>),
    /// The keys in this file alone: one `nodekey:` a line, empty lines and what follows a `#` left out. A change is
    /// noticed within seconds; a file that cannot be read then leaves all as it was.
    File(PathBuf),
}

/// Why a list of keys cannot be used. Whoever wrote it is to blame.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no key.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: KeyError,
    },
}

/// A file whose changes are noticed.
#[derive(Debug)]
pub(crate) struct AllowFile {
    path: PathBuf,
    /// When it was written, and its length, as they were at the last look; inside, `None`: it was not there.
    known: Option<Option<(SystemTime, u64)>>,
}

impl AllowFile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, known: None }
    }

    /// Reads the file if it is not the one that was read last. An error is reported once for each change.
    pub(crate) fn read_if_changed(&mut self) -> Result<Option<Admission>, AllowError> {
        let problem = |source| AllowError::File { path: self.path.clone(), source };
        let metadata = fs::metadata(&self.path);
        let found = metadata.and_then(|metadata| Ok((metadata.modified()?, metadata.len())));
        if self.known.as_ref().is_some_and(|known| known.as_ref() == found.as_ref().ok()) {
            return Ok(None);
        }
        // Before the reading: what changes meanwhile is read again.
        self.known = Some(found.as_ref().ok().copied());
        found.map_err(problem)?;
        let text = fs::read_to_string(&self.path).map_err(problem)?;
        parse(&self.path, &text).map(|keys| Some(Admission::Keys(keys)))
    }
}

fn parse(path: &Path, text: &str) -> Result<BTreeSet<NodePublic>, AllowError> {
    let mut keys = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let problem = |problem| AllowError::Line { path: path.to_owned(), line: number, problem };
        keys.insert(entry.parse().map_err(problem)?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodePublic {
        NodePublic::from_bytes([byte; 32])
    }

    #[test]
    fn a_list_is_read_without_its_comments() {
        let text = format!("# my nodes\n\n{}   # laptop\n  {}\r\n#{}\n", key(1), key(2), key(3));
        assert_eq!(parse(Path::new("allow"), &text).unwrap(), BTreeSet::from([key(1), key(2)]));
        assert!(parse(Path::new("allow"), "").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let text = format!("{}\nnodekey:abc\n", key(1));
        let error = parse(Path::new("dir/allow"), &text).unwrap_err();
        assert!(error.to_string().starts_with("dir/allow:2: "), "{error}");
    }

    #[test]
    fn a_file_is_read_when_it_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allow");
        let mut file = AllowFile::new(path.clone());
        assert!(matches!(file.read_if_changed(), Err(AllowError::File { .. })));
        fs::write(&path, "").unwrap();
        assert_eq!(file.read_if_changed().unwrap(), Some(Admission::Keys(BTreeSet::new())));
        assert_eq!(file.read_if_changed().unwrap(), None);
        fs::write(&path, key(1).to_string()).unwrap();
        assert_eq!(file.read_if_changed().unwrap(), Some(Admission::Keys(BTreeSet::from([key(1)]))));
        fs::write(&path, "nonsense").unwrap();
        assert!(file.read_if_changed().is_err());
        assert_eq!(file.read_if_changed().unwrap(), None, "a wrong file is reported once");
        fs::remove_file(&path).unwrap();
        assert!(file.read_if_changed().is_err());
        assert_eq!(file.read_if_changed().unwrap(), None, "and so is one that is gone");
    }
}
