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
    /// The keys in this file alone: one `nodekey:` a line, empty lines and what follows a `#` left out. A change holds
    /// within seconds, when the file has stayed the same between two looks; one that cannot be read leaves all as it was.
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
    /// What it was when it was read last.
    known: Option<Seen>,
    /// What it was at the last look.
    last: Option<Seen>,
}

/// When a file was written, and its length; `None`: it is not there.
type Seen = Option<(SystemTime, u64)>;

impl AllowFile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, known: None, last: None }
    }

    /// Reads the file, as it is.
    pub(crate) fn read(&mut self) -> Result<Admission, AllowError> {
        let seen = self.look().ok();
        // Before the reading: what changes meanwhile is read again.
        (self.known, self.last) = (Some(seen), Some(seen));
        let problem = |source| AllowError::File { path: self.path.clone(), source };
        let text = fs::read_to_string(&self.path).map_err(problem)?;
        parse(&self.path, &text).map(Admission::Keys)
    }

    /// Reads the file if it is not the one that was read last, once two looks have found it the same: whoever writes it may
    /// be in the middle of that. An error is reported once for each change.
    pub(crate) fn read_if_changed(&mut self) -> Option<Result<Admission, AllowError>> {
        let seen = Some(self.look().ok());
        let is_settled = self.last == seen;
        self.last = seen;
        if !is_settled || self.known == seen {
            return None;
        }
        let result = self.read();
        // Written while it was read: the next looks will tell.
        (Some(self.look().ok()) == seen).then_some(result)
    }

    fn look(&self) -> io::Result<(SystemTime, u64)> {
        let metadata = fs::metadata(&self.path)?;
        Ok((metadata.modified()?, metadata.len()))
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

    fn admission(bytes: &[u8]) -> Admission {
        Admission::Keys(bytes.iter().map(|byte| key(*byte)).collect())
    }

    /// A file, and what the looks at it find.
    fn looks(file: &mut AllowFile, count: usize) -> Vec<Result<Admission, AllowError>> {
        (0..count).filter_map(|_| file.read_if_changed()).collect()
    }

    #[test]
    fn a_file_is_read_when_it_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allow");
        let mut file = AllowFile::new(path.clone());
        assert!(matches!(file.read(), Err(AllowError::File { .. })));
        fs::write(&path, "").unwrap();
        assert_eq!(looks(&mut file, 4).pop().unwrap().unwrap(), admission(&[]));
        assert!(looks(&mut file, 4).is_empty());
        fs::write(&path, key(1).to_string()).unwrap();
        assert_eq!(looks(&mut file, 4).pop().unwrap().unwrap(), admission(&[1]));
        fs::write(&path, "nonsense").unwrap();
        assert!(
            matches!(looks(&mut file, 4)[..], [Err(AllowError::Line { .. })]),
            "a wrong file is reported once"
        );
        fs::remove_file(&path).unwrap();
        assert!(
            matches!(looks(&mut file, 4)[..], [Err(AllowError::File { .. })]),
            "and so is one that is gone"
        );
    }

    /// Copied over, and looked at while it is empty, and while it is half there: clients that are on the list stay.
    #[test]
    fn a_file_that_is_being_written_is_left_alone_until_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("allow");
        fs::write(&path, format!("{}\n", key(1))).unwrap();
        let mut file = AllowFile::new(path.clone());
        assert_eq!(file.read().unwrap(), admission(&[1]));
        fs::write(&path, "").unwrap();
        assert!(file.read_if_changed().is_none());
        fs::write(&path, format!("{}\n", key(2))).unwrap();
        assert!(file.read_if_changed().is_none());
        fs::write(&path, format!("{}\n{}\n", key(2), key(1))).unwrap();
        assert!(file.read_if_changed().is_none());
        assert_eq!(file.read_if_changed().unwrap().unwrap(), admission(&[1, 2]));
        assert!(looks(&mut file, 3).is_empty());
    }
}
