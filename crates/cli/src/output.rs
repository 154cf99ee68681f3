//! What reaches standard output, and what happens when nobody reads it.

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::Result;
use serde::Serialize;

/// Prints a line. A reader that went away ends the program in silence, as programs in a pipe do.
pub(crate) fn print(line: fmt::Arguments<'_>) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints one JSON object on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(format_args!("{}", serde_json::to_string(value)?))
}

/// Says on standard error why the program ends.
pub(crate) fn complain(error: &anyhow::Error) {
    // Nobody is left to be told if that fails.
    drop(writeln!(io::stderr().lock(), "tidewire: {error:#}"));
}
