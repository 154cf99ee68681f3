//! The house rules that neither rustfmt nor clippy knows: which files are looked at, and by which rules.

mod manifest;
mod source;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use xshell::Shell;

use crate::Outcome;
use crate::cargo;

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the root, with `/`.
    path: String,
    /// From 1; 0 = the file as a whole.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Looks at every file of the project; an error after all findings are printed.
pub(crate) fn run(sh: &Shell) -> Result<Outcome> {
    let root = cargo::root();
    let files = read_all(&root)?;
    let sources = || files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let only_tests: BTreeSet<String> =
        sources().flat_map(|(path, content)| source::test_modules(path, content)).collect();
    let mut findings = Vec::new();
    for (path, content) in &files {
        findings.extend(text::check(path, content));
    }
    for (path, content) in sources() {
        findings.extend(source::check(path, content, only_tests.contains(path)));
    }
    for workspace in cargo::workspaces(sh) {
        for package in cargo::metadata(sh, workspace)?.packages {
            findings.extend(manifest::check(&root, &package, &files));
        }
    }
    findings.sort();
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("{} finding(s); docs/ci.md has the rules", findings.len());
    }
    ensure!(files.keys().any(|path| path.starts_with("crates/")), "no crates in {}", root.display());
    println!("tidy: {} files", files.len());
    Ok(Outcome::Done)
}

/// All text files of the project by path.
type Files = BTreeMap<String, String>;

/// Folders that hold nothing a person wrote. Corpora are arbitrary bytes.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", "corpus", "artifacts", "coverage"];

fn read_all(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&entry.file_name().to_string_lossy().as_ref()) {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.extend(read_text(root, entry.path())?);
            }
        }
    }
    Ok(files)
}

/// A file, if it is text.
fn read_text(root: &Path, path: PathBuf) -> Result<Option<(String, String)>> {
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
    Ok(String::from_utf8(bytes).ok().map(|content| (relative, content)))
}
