//! A program that runs beside the scenario: where it logs, how it is ended, and that it does not outlive its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::eventually;

/// How long a program may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running program; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Process {
    pub(crate) fn spawn(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let out = folder.join(format!("{name}.out"));
        let log = folder.join(format!("{name}.log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name: name.to_owned(), child, out, log })
    }

    /// What it has printed on stdout so far.
    pub(crate) fn printed(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.out)?)
    }

    /// What it has printed on stderr so far.
    pub(crate) fn logged(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Its number; a program that was started in a namespace has replaced the one that put it there.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself with {status}", self.name),
        }
    }

    /// Asks it to end, as a service manager would, and waits until it has.
    pub(crate) fn terminate(mut self) -> Result<()> {
        self.check()?;
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !asked.success() {
            bail!("{} cannot be asked to end", self.name);
        }
        let what = format!("{} to end after SIGTERM", self.name);
        eventually(PATIENCE, &what, || Ok(self.child.try_wait()?.context("it still runs")))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
