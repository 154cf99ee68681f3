//! How the tests are run: their output is passed on as it comes, and their closing lines are added up.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::Outcome;
use crate::cargo;

/// What the test runner said so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tests {
    /// How many test programs closed, doc tests included.
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tests {
    /// Runs `cargo test` of the whole workspace, to its end even if a test fails.
    pub(super) fn run(&mut self, targets: &[&str]) -> Result<Outcome> {
        let mut command = Command::new("cargo");
        cargo::own_variables().for_each(|name| _ = command.env_remove(name));
        let mut child = command
            .args(["test", "--workspace", "--locked", "--no-fail-fast"])
            .args(targets)
            .current_dir(cargo::root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cargo test")?;
        let output = child.stdout.take().context("cargo test has no output")?;
        let mut terminal = io::stdout().lock();
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            terminal.write_all(&line)?;
            terminal.write_all(b"\n")?;
            self.add(&String::from_utf8_lossy(&line));
        }
        drop(terminal);
        let status = child.wait()?;
        self.judge(status.success())
    }

    /// Adds a line `test result: ok. 5 passed; 0 failed; 0 ignored; ...`; others say nothing.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        let count = |word: &str| {
            let found = counts
                .split(';')
                .filter_map(|part| part.trim().split_once(' '))
                .find(|(_, name)| *name == word);
            found.and_then(|(number, _)| number.parse::<u64>().ok()).unwrap_or(0)
        };
        self.programs += 1;
        self.passed += count("passed");
        self.failed += count("failed");
        self.ignored += count("ignored");
    }

    fn judge(&self, succeeded: bool) -> Result<Outcome> {
        if self.failed > 0 {
            bail!("{} test(s) failed", self.failed);
        }
        if !succeeded {
            bail!("a test program did not build, or ended before its closing line");
        }
        if self.ignored > 0 {
            bail!("{} test(s) ignored: one that does not run proves nothing", self.ignored);
        }
        if self.passed == 0 {
            bail!("no test ran");
        }
        Ok(Outcome::Done)
    }

    /// The sum of all closing lines, if any test program closed.
    pub(super) fn closing_line(&self) -> Option<String> {
        (self.programs > 0).then(|| format!("{} passed, {} failed", self.passed, self.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Tests {
        let mut tests = Tests::default();
        lines.lines().for_each(|line| tests.add(line));
        tests
    }

    #[test]
    fn closing_lines_are_added_up() {
        let tests = read(
            "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test a::test_result ... ok\n\
             test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
        );
        assert_eq!(tests, Tests { programs: 2, passed: 4, failed: 2, ignored: 4 });
        assert_eq!(tests.closing_line().as_deref(), Some("4 passed, 2 failed"));
    }

    #[test]
    fn no_test_program_has_no_closing_line() {
        assert_eq!(read("error: could not compile").closing_line(), None);
    }

    #[test]
    fn only_tests_that_ran_and_passed_count_as_passed() {
        let passed = read("test result: ok. 3 passed; 0 failed; 0 ignored;");
        assert!(passed.judge(true).is_ok());
        assert!(passed.judge(false).is_err(), "a test program that crashed has no closing line");
        assert!(read("test result: ok. 3 passed; 0 failed; 1 ignored;").judge(true).is_err());
        assert!(read("test result: ok. 0 passed; 0 failed; 0 ignored;").judge(true).is_err());
    }
}
