//! How a list of steps is run and told: one line for each with its time, and the table at the end.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use xshell::Cmd;

use crate::Outcome;
use crate::cargo;

/// Runs steps in order and remembers how each ended.
#[derive(Debug)]
pub(crate) struct Steps {
    keep_going: bool,
    done: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ok,
    Skipped,
    Failed,
}

impl Steps {
    /// With `keep_going` a failure does not end the list.
    pub(crate) fn new(keep_going: bool) -> Self {
        Self { keep_going, done: Vec::new() }
    }

    /// Runs one step and prints its line; an error is returned only where the list ends with it.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        let start = now();
        let result = step();
        let end = match &result {
            Ok(Outcome::Done) => End::Ok,
            Ok(Outcome::Skipped) => End::Skipped,
            Err(error) => {
                println!("error: {error:#}");
                End::Failed
            }
        };
        let step = Step { name: name.to_owned(), took: start.elapsed(), end };
        println!("{step}");
        self.done.push(step);
        if end == End::Failed && !self.keep_going {
            bail!("step `{name}` failed; docs/ci.md says what it protects and what to do");
        }
        Ok(())
    }

    /// Prints the table.
    pub(crate) fn summary(&self) {
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        println!("\nsteps ({} in {:.1} s):", self.done.len(), total.as_secs_f64());
        for step in &self.done {
            println!("  {step}");
        }
    }

    /// An error that names the failed steps, if any failed.
    pub(crate) fn verdict(&self) -> Result<()> {
        let failed: Vec<&str> =
            self.done.iter().filter(|step| step.end == End::Failed).map(|step| step.name.as_str()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}; docs/ci.md says what each protects and what to do", failed.join(", "));
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Ok => "ok",
            End::Skipped => "skipped",
            End::Failed => "FAILED",
        };
        write!(f, "{end:<8}{:<44}{:>8.1} s", self.name, self.took.as_secs_f64())
    }
}

/// Runs a program whose output is of interest only if it fails.
pub(crate) fn quietly(cmd: Cmd<'_>) -> Result<()> {
    let shown = cmd.to_string();
    let output = cargo::clean(cmd).quiet().ignore_status().output()?;
    if output.status.success() {
        return Ok(());
    }
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    bail!("`{shown}` ended with {}", output.status);
}

/// One line that says what did not run, and why.
pub(crate) fn skipped(what: &str, why: impl fmt::Display) -> Outcome {
    println!("skipped: {what}: {why}");
    Outcome::Skipped
}

/// The time, for measuring how long things take and for deadlines on real programs.
#[allow(clippy::disallowed_methods, reason = "xtask watches real programs; no protocol runs on this clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_ends_with_the_first_failure() {
        let mut steps = Steps::new(false);
        steps.run("a", || Ok(Outcome::Done)).unwrap();
        assert!(steps.run("b", || bail!("no")).unwrap_err().to_string().contains("`b`"));
        assert!(steps.verdict().unwrap_err().to_string().starts_with("failed: b;"));
    }

    #[test]
    fn keep_going_runs_on_and_fails_at_the_end() {
        let mut steps = Steps::new(true);
        steps.run("a", || bail!("no")).unwrap();
        steps.run("b", || Ok(Outcome::Skipped)).unwrap();
        steps.run("c", || bail!("no")).unwrap();
        assert!(steps.verdict().unwrap_err().to_string().starts_with("failed: a, c;"));
    }

    #[test]
    fn a_skipped_step_is_no_failure() {
        let mut steps = Steps::new(false);
        steps.run("a", || Ok(Outcome::Skipped)).unwrap();
        steps.verdict().unwrap();
    }
}
